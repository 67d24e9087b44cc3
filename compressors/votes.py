"""For which sentences the tokens of a question vote, when sentences are read in their document.

Late interaction (Khattab and Zaharia, ColBERT, arXiv 2004.12832) with two changes. A sentence's tokens are read in its
passage, behind the title, and not alone: so "it" and "the company" have what they stand for (late chunking: Guenther et
al. 2024, arXiv 2409.04701). And each token of the question shares one vote among all sentences, by a softmax over how
near the nearest of each one's tokens is: so a token that is near everywhere decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from compressors import remembered
from compressors.selection import Units
from pipeline.contracts import Embedder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TEMPERATURE = 0.1
"""Where none was fitted: cosines of one token with sentences spread by about so much."""
TITLE_SHARE = 4
"""A title may take the fourth part of what the embedder reads at once; a longer one is not put in front."""


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

    found = list(_windows(units, embedder))
    texts = [window.text for window in found]
    _, (asked, *said) = remembered.token_vectors(embedder, [question, *texts])
    best = np.full((len(units), len(asked)), -1.0)
    for window, states, places in zip(found, said, embedder.token_spans(texts), strict=True):
        near = states @ asked.T
        starts = [start for start, _ in places]
        for n, low, high in window.units:
            first, last = np.searchsorted(starts, (low, high))
            if first < last:
                best[n] = np.maximum(best[n], near[first:last].max(axis=0))
    return best


@dataclass(frozen=True)
class _Window:
    """What is read at once, and the units in it: position, and where in the text they, or pieces of them, lie."""

    text: str
    units: tuple[tuple[int, int, int], ...]


def _windows(units: Units, embedder: Embedder) -> Iterator[_Window]:
    """Each passage behind its title, in as many windows as the embedder needs to read it whole."""
    for owner, group in groupby(range(len(units)), key=units.owners.__getitem__):
        passage = units.passages[owner]
        title = f"{passage.title}: " if passage.title else ""
        if embedder.count_tokens([title])[0] > embedder.max_tokens // TITLE_SHARE:
            title = ""
        places = []
        for n in group:
            low = 0 if passage.spans else units.parts[n].start - passage.start
            places.append((n, low, low + len(units.parts[n].text)))
        yield from _cut(title, passage.text, places, embedder)


def _cut(title: str, text: str, places: Sequence[tuple[int, int, int]], embedder: Embedder) -> Iterator[_Window]:
    """One window, or the windows of both halves where that is too long: of the units, or of a giant one's text."""
    start, end = places[0][1], places[-1][2]
    whole = title + text[start:end]
    if embedder.count_tokens([whole])[0] <= embedder.max_tokens or end - start < 2:
        shift = len(title) - start
        yield _Window(whole, tuple((n, low + shift, high + shift) for n, low, high in places))
        return
    half = len(places) // 2
    if half:
        parts = [places[:half], places[half:]]
    else:
        n, middle = places[0][0], (start + end) // 2
        space = text.rfind(" ", start + 1, middle)
        middle = space if space > start else middle
        parts = [[(n, start, middle)], [(n, middle, end)]]
    for part in parts:
        yield from _cut(title, text, part, embedder)
