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
from pipeline.types import Passage

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
    """The chunks that a scope keeps, by their ids and by their rows."""

    ids: list[str]
    rows: list[int]


def kept(manifest: Manifest, metadata: Callable[[], dict[str, Metadata]], scope: Scope | None) -> Kept | None:
    """The chunks of a scope; None for all of them. A chunk that goes over several pages matches by any of these."""
    if scope is None:
        return None
    sources = matching(manifest.sources(), scope.globs)
    if scope.filters and not scope.has_pages:
        known = metadata()
        sources = [source for source in sources if scope.matches(known[source])]
    if not scope.has_pages:
        return Kept(manifest.ids(sources), manifest.rows(sources))
    known, ids, rows = metadata(), [], []
    for row, id_, source, pages in manifest.chunk_pages(sources):
        if any(scope.matches(known[source], page) for page in pages or (None,)):
            ids.append(id_)
            rows.append(row)
    return Kept(ids, rows)


def by_vectors(
    manifest: Manifest, vectors: Nearest, vector: NDArray[np.float32], k: int, chunks: Kept | None
) -> list[Passage]:
    """The k nearest passages, best first; the score is the cosine. Ties go by source, then by offset."""
    found = vectors.search(vector, k, None if chunks is None else chunks.ids)
    passages = manifest.passages_of_ids([id_ for id_, _ in found])
    scored = [
        replace(passage, score=score)
        for passage, (_, score) in zip(passages, found, strict=True)
        if passage is not None
    ]
    return sorted(scored, key=lambda passage: (-passage.score, passage.source, passage.start))[:k]


def by_words(manifest: Manifest, words: WordIndex, question: str, k: int, chunks: Kept | None) -> list[Passage]:
    """The k best passages by BM25."""
    found = words.search(question, k, None if chunks is None else chunks.rows)
    return [replace(manifest.passage_of_row(row), score=score) for row, score in found]
