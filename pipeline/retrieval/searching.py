"""Which chunks of an index a scope keeps, and what its word index and its vectors then find."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from pipeline.retrieval.globs import matching
from pipeline.retrieval.manifest import Manifest
from pipeline.retrieval.metadata import Metadata
from pipeline.retrieval.scope import Scope
from pipeline.retrieval.word_index import WordIndex
from pipeline.types import Copy, Passage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Nearest(Protocol):
    """Vectors that can be searched: Chroma's, or the plain copy."""

    def search(
        self, vector: NDArray[np.float32], k: int, allowed: Sequence[str] | None = None
    ) -> list[tuple[str, float]]: ...


@dataclass(frozen=True)
class Kept:
    """The chunks that a scope keeps, by their rows, and the ids of their texts."""

    ids: list[str]
    rows: frozenset[int]


def kept(manifest: Manifest, metadata: Callable[[], dict[str, Metadata]], scope: Scope | None) -> Kept | None:
    """The chunks of a scope; None for all of them. A chunk that goes over several pages matches by any of these."""
    if scope is None:
        return None
    sources = matching(manifest.sources(), scope.globs)
    known = metadata() if scope.filters else {}
    if scope.has_pages:
        chunks = [
            (row, id_)
            for row, id_, source, pages in manifest.chunk_pages(sources)
            if any(scope.matches(known[source], page) for page in pages or (None,))
        ]
    else:
        if scope.filters:
            sources = [source for source in sources if scope.matches(known[source])]
        chunks = list(manifest.chunk_rows(sources))
    return Kept(list(dict.fromkeys(id_ for _, id_ in chunks)), frozenset(row for row, _ in chunks))


def by_vectors(
    manifest: Manifest, vectors: Nearest, vector: NDArray[np.float32], k: int, chunks: Kept | None
) -> list[Passage]:
    """The k nearest passages, best first; the score is the cosine. Ties go by source, then by offset."""
    nearest = vectors.search(vector, k, None if chunks is None else chunks.ids)
    scored = [
        replace(passage, score=score)
        for id_, score in nearest
        if (passage := with_copies(manifest, id_, chunks)) is not None
    ]
    return sorted(scored, key=lambda passage: (-passage.score, passage.source, passage.start))[:k]


def by_words(manifest: Manifest, words: WordIndex, question: str, k: int, chunks: Kept | None) -> list[Passage]:
    """The k best passages by BM25."""
    best = words.search(question, k, None if chunks is None else manifest.first_rows(chunks.ids))
    passages = [(with_copies(manifest, manifest.id_of_row(row), chunks), score) for row, score in best]
    return [replace(passage, score=score) for passage, score in passages if passage is not None]


def with_copies(manifest: Manifest, id_: str, chunks: Kept | None) -> Passage | None:
    """The first chunk with a text, among those that are kept, with the others as its copies.

    None for a text that no chunk has, as a killed writer leaves in Chroma.
    """
    places = [passage for row, passage in manifest.passages_of_id(id_) if chunks is None or row in chunks.rows]
    if not places:
        return None
    first, *others = places
    return replace(first, copies=tuple(Copy(other.source, other.start, other.place) for other in others))
