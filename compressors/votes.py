"""For which sentences the tokens of a question vote, when sentences are read in their document.

Late interaction (Khattab and Zaharia, ColBERT, arXiv 2004.12832) with two changes. A sentence's tokens are read in its
passage, behind the title, and not alone: so "it" and "the company" have what they stand for (late chunking: Guenther et
al. 2024, arXiv 2409.04701). And each token of the question shares one vote among all sentences, by a softmax over how
near the nearest of each one's tokens is: so a token that is near everywhere decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from compressors.selection import Units
from pipeline.contracts import Embedder
from pipeline.retrieval.token_windows import Block, token_states

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TEMPERATURE = 0.1
"""Where none was fitted: cosines of one token with sentences spread by about so much."""


def votes(nearest: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """The share of all votes that each unit gets, (n_units,), summing to 1; `nearest` as `nearest_tokens` gives it.

    The lower the temperature, the more of a token's vote goes to the unit that is nearest to it.
    """
    import numpy as np

    if not nearest.shape[1]:
        return np.full(len(nearest), 1 / len(nearest))
    shares = np.exp((nearest - nearest.max(axis=0)) / temperature)
    return np.asarray((shares / shares.sum(axis=0)).mean(axis=1))


def nearest_tokens(question: str, units: Units, embedder: Embedder) -> NDArray[np.float64]:
    """The best cosine of each token of the question among each unit's tokens, (n_units, n_question_tokens), in [-1, 1].

    A unit that is longer than the embedder reads at once is read in pieces, of which the best counts.
    """
    import numpy as np

    states = token_states(question, list(_blocks(units)), embedder)
    best = np.full((len(units), len(states.question_tokens)), -1.0)
    for n, pieces in enumerate(states.sentences):
        for rows in pieces:
            best[n] = np.maximum(best[n], (rows @ states.question_tokens.T).max(axis=0))
    return best


def _blocks(units: Units) -> Iterator[Block]:
    """Each passage with its units as the sentences."""
    for owner, group in groupby(range(len(units)), key=units.owners.__getitem__):
        passage = units.passages[owner]
        places = []
        for n in group:
            start = 0 if passage.spans else units.parts[n].start - passage.start
            places.append((start, start + len(units.parts[n].text)))
        yield Block(passage.title, passage.text, tuple(places))
