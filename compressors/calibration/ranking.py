"""Measures how well scores find the sentences that support an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from compressors.selection import Limits, Units

if TYPE_CHECKING:
    from numpy.typing import NDArray


def auc(scores: NDArray[np.floating], supports: Sequence[bool]) -> float:
    """The probability that a supporting sentence scores above another one, in [0, 1]. A tie counts half.

    Raises ValueError if there are no sentences of one kind.
    """
    from scipy.stats import rankdata

    is_right = np.asarray(supports, bool)
    n_right, n_wrong = int(is_right.sum()), int((~is_right).sum())
    if not n_right or not n_wrong:
        raise ValueError("auc needs sentences of both kinds")
    ranks = rankdata(scores)[is_right].sum()
    return float((ranks - n_right * (n_right + 1) / 2) / (n_right * n_wrong))


def recall_at(scores: NDArray[np.floating], supports: Sequence[bool], costs: Sequence[int], keep_ratio: float) -> float:
    """The share of supporting sentences that are kept when the best sentences up to this share of the cost are."""
    kept = Limits(keep_ratio=keep_ratio).choose(scores.tolist(), lambda: costs)
    return sum(supports[n] for n in kept) / sum(supports)


def costs_of(units: Units) -> list[int]:
    """Each unit's cost in characters, for use without a reader that counts tokens."""
    return [len(units.with_gap(n)) for n in range(len(units))]
