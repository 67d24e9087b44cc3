"""Votes of a question's tokens for sentences that are read in their documents.

Late interaction (Khattab and Zaharia, ColBERT, arXiv 2004.12832) with two changes. The embedder reads a sentence within
its passage, after the title, so that "it" and "the company" have their context (late chunking: Guenther et al. 2024,
arXiv 2409.04701). And each token of the question shares one vote among all sentences, by a softmax over its cosine with
the nearest token of each sentence. So a token that is near to all sentences decides nothing.
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
"""The default, about the spread of a token's cosines over sentences."""


def votes(nearest: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Each unit's share of the votes, (n_units,), with a sum of 1. `nearest` is from `nearest_tokens`.

    With a lower temperature, more of a token's vote goes to the nearest unit.
    """
    import numpy as np

    if not nearest.shape[1]:
        return np.full(len(nearest), 1 / len(nearest))
    shares = np.exp((nearest - nearest.max(axis=0)) / temperature)  # the maximum keeps exp() from overflowing
    return np.asarray((shares / shares.sum(axis=0)).mean(axis=1))


def nearest_tokens(question: str, units: Units, embedder: Embedder) -> NDArray[np.float64]:
    """The best cosine of each question token with a unit's tokens, (n_units, n_question_tokens), in [-1, 1].

    A unit longer than the embedder's limit is read in pieces, and the best piece counts.
    """
    import numpy as np

    states = token_states(question, list(_blocks(units)), embedder)
    best = np.full((len(units), len(states.question_tokens)), -1.0)
    for n, pieces in enumerate(states.sentences):
        for rows in pieces:
            best[n] = np.maximum(best[n], (rows @ states.question_tokens.T).max(axis=0))
    return best


def _blocks(units: Units) -> Iterator[Block]:
    """Yields each passage with the places of its units."""
    for owner, group in groupby(range(len(units)), key=units.owners.__getitem__):
        passage = units.passages[owner]
        places = []
        for n in group:
            start = 0 if passage.spans else units.parts[n].start - passage.start
            places.append((start, start + len(units.parts[n].text)))
        yield Block(passage.title, passage.text, tuple(places))
