"""The features of compress.exit_mini: how a sentence relates to a question, without a language model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from compressors.selection import Units
from compressors.votes import votes
from pipeline.text.words import content_words, word_forms

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FEATURES = ("votes", "overlap")
"""The columns, in order.

`votes`: the logarithm of the share of votes that the question's tokens give to the sentence (compressors/votes.py).
`overlap`: the share of the question's words in the sentence or its title. Each word weighs by its rarity among the
question's sentences (Robertson's idf).
"""
_LEAST = 0.1
"""Added to the shares (as a multiple of the mean share) before the logarithm, so that tiny shares are all alike."""


def features(question: str, units: Units, nearest: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """The columns of FEATURES for each unit, (n_units, 2), not standardised. `nearest` is from `nearest_tokens`."""
    import numpy as np

    shares = votes(nearest, temperature)
    return np.column_stack([np.log(shares * len(shares) + _LEAST), overlap(question, units)])


def overlap(question: str, units: Units) -> NDArray[np.float64]:
    """The feature `overlap`, (n_units,), in [0, 1]. All zeros for a question without words."""
    import numpy as np

    question_words = content_words(question)
    unit_words = [word_forms(part.text, question_words.language) for part in units.parts]
    titles = [word_forms(passage.title, question_words.language) for passage in units.passages]
    n_with = {word: sum(word in words for words in unit_words) for word in question_words}
    rare = {word: math.log(1 + (len(unit_words) + 0.5) / (n + 0.5)) for word, n in n_with.items()}
    total = sum(rare.values()) or 1.0
    both = [words | titles[owner] for words, owner in zip(unit_words, units.owners, strict=True)]
    return np.array([sum(rare[word] for word in question_words if word in words) / total for words in both], np.float64)


def standardised(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Standardises columns to mean 0 and standard deviation 1 over the rows. A constant column becomes zeros."""
    spread = values.std(axis=0)
    result: NDArray[np.float64] = (values - values.mean(axis=0)) / spread.clip(min=1e-9) * (spread > 1e-9)
    return result
