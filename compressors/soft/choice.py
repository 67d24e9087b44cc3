"""Which tokens of a text become soft vectors: whole sentences, those of the rarest words first.

The paper takes every k-th token. A frozen reader makes far more of running text than of a list of words, however rare
(docs/experiments.md has the figures), so the tokens that are taken stand side by side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LONGEST = 64
"""A sentence has at most so many tokens here; what is longer counts as several."""
_ENDS = tuple(mark.encode() for mark in ".!?…。！？")
_CLOSING = b" \"')]"


def ends_sentence(piece: bytes) -> bool:
    """Whether a token with these bytes ends a sentence: a mark at its end, quotes and brackets aside, or a new line."""
    return b"\n" in piece or piece.rstrip(_CLOSING).endswith(_ENDS)


def chosen(
    tokens: NDArray[np.integer], information: NDArray[np.floating], ends: NDArray[np.bool_], n: int
) -> NDArray[np.intp]:
    """Positions of `n` of the tokens, rising; all of them where there are no more.

    A sentence is as rare as its tokens in the mean. The rarest come first, the earlier of equals, each that still fits
    whole; the room that is left when none fits goes to the beginning of the rarest that is left. `information` says how
    rare each token is, `ends` whether a sentence ends with it, both for the whole vocabulary, (n_vocab,).
    """
    if n >= len(tokens):
        return np.arange(len(tokens))
    starts = _starts(ends[tokens])
    lengths = np.diff(starts, append=len(tokens))
    order = np.argsort(-np.add.reduceat(information[tokens], starts) / lengths, kind="stable")
    is_chosen = np.zeros(len(tokens), np.bool_)
    room, left = n, []
    for sentence in order:
        if lengths[sentence] <= room:
            is_chosen[starts[sentence] : starts[sentence] + lengths[sentence]] = True
            room -= int(lengths[sentence])
        else:
            left.append(starts[sentence])
    if room:
        is_chosen[left[0] : left[0] + room] = True
    return np.flatnonzero(is_chosen)


def _starts(is_end: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Where sentences begin; what is longer than LONGEST begins again after so many."""
    first = np.concatenate([[0], np.flatnonzero(is_end[:-1]) + 1])
    last = np.append(first[1:], len(is_end))
    return np.concatenate([np.arange(*span, LONGEST) for span in zip(first, last, strict=True)])
