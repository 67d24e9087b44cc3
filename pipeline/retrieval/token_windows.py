"""The token vectors of sentences that are read in their passage, behind its title.

So "it" and "the company" have what they stand for (late chunking: Guenther et al. 2024, arXiv 2409.04701). A passage
that is longer than the embedder reads at once is read in windows. What was read last is kept (remembered.py): a gate
and a compressor that look at the same passages read them once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.contracts import Embedder
from pipeline.retrieval import remembered

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TITLE_SHARE = 4
"""A title may take the fourth part of what the embedder reads at once; a longer one is not put in front."""


@dataclass(frozen=True)
class Block:
    """A passage's text, its title, and where the sentences stand in the text: [start, end) each, in their order."""

    title: str
    text: str
    sentences: tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class TokenStates:
    """What the embedder made of a question and of the sentences of all blocks, which follow one another.

    `question`: its unit vector, (dimension,); `question_tokens`: those of its tokens, (n_tokens, dimension). `windows`:
    the unit vectors of what was read at once, (n_windows, dimension). `sentences`: of each the unit vectors of its
    tokens, (n_tokens, dimension): one array, several where it was read in pieces, none where it has no tokens.
    """

    question: NDArray[np.float32]
    question_tokens: NDArray[np.float32]
    windows: NDArray[np.float32]
    sentences: list[list[NDArray[np.float32]]]


def token_states(question: str, blocks: Sequence[Block], embedder: Embedder) -> TokenStates:
    """Reads a question, and the sentences of blocks in their context."""
    import numpy as np

    windows: list[_Window] = []
    n_before = 0
    for block in blocks:
        windows += _windows(block, n_before, embedder)
        n_before += len(block.sentences)
    texts = [window.text for window in windows]
    vectors, (question_states, *states) = remembered.token_vectors(embedder, [question, *texts], texts)
    pieces: list[list[NDArray[np.float32]]] = [[] for _ in range(n_before)]
    for window, rows, places in zip(windows, states, embedder.token_spans(texts), strict=True):
        starts = [start for start, _ in places]
        for n, low, high in window.sentences:
            first, last = np.searchsorted(starts, (low, high))
            if first < last:
                pieces[n].append(rows[first:last])
    return TokenStates(vectors[0], question_states, vectors[1:], pieces)


@dataclass(frozen=True)
class _Window:
    """What is read at once, and the sentences in it: number, and where in the text they, or pieces of them, lie."""

    text: str
    sentences: tuple[tuple[int, int, int], ...]


def _windows(block: Block, n_before: int, embedder: Embedder) -> Iterator[_Window]:
    """The block behind its title, in as many windows as the embedder needs to read it whole."""
    if not block.sentences:
        return
    title = f"{block.title}: " if block.title else ""
    if embedder.count_tokens([title])[0] > embedder.max_tokens // TITLE_SHARE:
        title = ""
    places = [(n_before + n, start, end) for n, (start, end) in enumerate(block.sentences)]
    yield from _cut(title, block.text, places, embedder)


def _cut(title: str, text: str, places: Sequence[tuple[int, int, int]], embedder: Embedder) -> Iterator[_Window]:
    """One window, or the windows of both halves where it is too long: of the sentences, or of a giant one's text."""
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
