"""A hit's section in the place of the hit: small chunks are found precisely, and read with what stands around them.

A hit grows by its neighbours in the document, nearest first, as long as these are of its section and the whole fits. So
a section that fits is given whole, and of a longer one what stands around the hit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.contracts import Index, Runtime
from pipeline.documents.places import Places
from pipeline.errors import SettingError
from pipeline.types import Document, Passage


def with_parents(passages: Sequence[Passage], max_tokens: int | None, runtime: Runtime) -> list[Passage]:
    """The passages, each grown up to `max_tokens` of the reader; None leaves them as they are.

    A hit that a better one has grown over is left out: its text is there. Grown passages do not overlap.
    """
    if max_tokens is None:
        return list(passages)
    sources: dict[str, _Source] = {}
    results: list[Passage] = []
    for hit in passages:
        if hit.source not in sources:
            sources[hit.source] = _Source.of(hit.source, runtime.index)
        grown = sources[hit.source].grow(hit, max_tokens, runtime.reader.count_text)
        if grown is not None:
            results.append(grown)
    return results


def check_parents(parents: int | None) -> None:
    """Raises ValueError for a limit below 1."""
    if parents is not None and parents < 1:
        raise SettingError("parents", f"must be at least 1, was: {parents}")


@dataclass
class _Source:
    """One document with its chunks in order, and the positions of those that were given already."""

    document: Document
    chunks: list[Passage]
    given: set[int]

    @classmethod
    def of(cls, source: str, index: Index) -> _Source:
        return cls(index.document(source), index.passages(source), set())

    def grow(self, hit: Passage, max_tokens: int, count: Callable[[str], int]) -> Passage | None:
        """The hit with its neighbours; None where it was given with another."""
        n_hit = next(n for n, chunk in enumerate(self.chunks) if chunk.span == hit.span)
        if n_hit in self.given:
            return None
        first = last = n_hit
        has_room = True
        while has_room:
            has_room = False
            for left, right in ((first, last + 1), (first - 1, last)):
                new = right if right > last else left
                if self.is_beside(new, n_hit) and count(self.text(left, right)) <= max_tokens:
                    first, last, has_room = left, right, True
        self.given.update(range(first, last + 1))
        if first == last:
            return hit
        start, end = self.chunks[first].start, self.chunks[last].end
        place = Places(self.document).at(start, end)
        return Passage(hit.source, start, end, self.text(first, last), hit.score, place, hit.title)

    def is_beside(self, n: int, n_hit: int) -> bool:
        """Whether chunk n may be put together with chunk `n_hit`: of the same section, or of one below it."""
        if not 0 <= n < len(self.chunks) or n in self.given:
            return False
        section = self.chunks[n_hit].place.heading
        return self.chunks[n].place.heading[: len(section)] == section

    def text(self, first: int, last: int) -> str:
        return self.document.text[self.chunks[first].start : self.chunks[last].end]
