"""What can be told of a sentence and a question without a language model: the features of compress.exit_mini."""

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
"""In the order of the columns.

`votes`: the logarithm of the share of votes that the question's tokens give to the sentence (compressors/votes.py).
`overlap`: the share of the question's words that stand in the sentence or in its title, each weighing by how rare it is
among the sentences at hand (Robertson's idf).
"""
_LEAST = 0.1
"""Of the mean share, added before the logarithm: below it, less is hardly worse."""


def features(question: str, units: Units, nearest: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """The columns of FEATURES for each unit, (n_units, 2), as they are: not standardised.

    `nearest` as `nearest_tokens` gives it.
    """
    import numpy as np

    shares = votes(nearest, temperature)
    return np.column_stack([np.log(shares * len(shares) + _LEAST), overlap(question, units)])


def overlap(question: str, units: Units) -> NDArray[np.float64]:
    """That feature, (n_units,), in [0, 1]; all zeros for a question without words."""
    import numpy as np

    asked = content_words(question)
    said = [word_forms(part.text, asked.language) for part in units.parts]
    titles = [word_forms(passage.title, asked.language) for passage in units.passages]
    n_with = {word: sum(word in words for words in said) for word in asked}
    rare = {word: math.log(1 + (len(said) + 0.5) / (n + 0.5)) for word, n in n_with.items()}
    total = sum(rare.values()) or 1.0
    both = [words | titles[owner] for words, owner in zip(said, units.owners, strict=True)]
    return np.array([sum(rare[word] for word in asked if word in words) / total for words in both], np.float64)


def standardised(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Columns with mean 0 and standard deviation 1 over the rows; a column without spread gives zeros."""
    spread = values.std(axis=0)
    result: NDArray[np.float64] = (values - values.mean(axis=0)) / spread.clip(min=1e-9) * (spread > 1e-9)
    return result
