"""Which part of an index a question is searched in: globs on paths, and filters on what is known about documents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from pipeline.contracts import Scoped
from pipeline.errors import DataError
from pipeline.retrieval.filters import FilterError, nothing_left, read_filter
from pipeline.retrieval.globs import check_matches, matching
from pipeline.retrieval.metadata import Metadata
from pipeline.types import Question


@dataclass(frozen=True, slots=True)
class Scope:
    """Sources that match every glob, and passages that match every filter. Without any, all of the index.

    Raises FilterError for a filter that cannot be read.
    """

    globs: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for text in self.filters:
            read_filter(text)

    @property
    def is_everything(self) -> bool:
        return not (self.globs or self.filters)

    @property
    def has_pages(self) -> bool:
        """Whether it keeps to some pages of documents."""
        return any("page" in read_filter(text).fields for text in self.filters)

    def matches(self, about: Metadata, page: int | None = None) -> bool:
        """Whether a document matches the filters, at one of its pages where they ask for pages. Globs are apart."""
        return all(read_filter(text).matches(about, page) for text in self.filters)


class Searched(Protocol):
    """What a scope asks of an index."""

    @property
    def sources(self) -> tuple[str, ...]: ...
    @property
    def n_chunks(self) -> int: ...
    @property
    def counts(self) -> dict[str, int]: ...
    @property
    def metadata(self) -> dict[str, Metadata]: ...
    def pages(self, source: str) -> tuple[int, ...]: ...


def scope_of(component: object, question: Question) -> Scope | None:
    """The scope that a retriever's settings and the question leave together; None for the whole index.

    Raises DataError for a filter that cannot be read.
    """
    glob, text = (component.glob, component.filter) if isinstance(component, Scoped) else (None, None)
    globs = (glob, question.glob)
    filters = (text, question.filter)
    try:
        scope = Scope(tuple(glob for glob in globs if glob), tuple(text for text in filters if text))
    except FilterError as error:
        raise DataError(str(error)) from None
    return None if scope.is_everything else scope


def size_of(index: Searched, scope: Scope | None) -> tuple[int, int]:
    """(passages, documents) of an index in a scope; a document counts whole where a filter takes some of its pages."""
    if scope is None:
        return index.n_chunks, len(index.sources)
    counts, sources = index.counts, matching(index.sources, scope.globs)
    if scope.filters:
        metadata = index.metadata
        sources = [source for source in sources if _is_inside(index, metadata[source], scope)]
    return sum(counts[source] for source in sources), len(sources)


def check_scope(index: Searched, scope: Scope | None) -> None:
    """Raises DataError, with what there is, where a scope leaves nothing of an index that holds something."""
    if scope is None or not index.sources:
        return
    check_matches(index.sources, scope.globs)
    known = index.metadata
    kept = [known[source] for source in matching(index.sources, scope.globs)]
    for text in scope.filters:
        alone = Scope(filters=(text,))
        if not any(_is_inside(index, about, alone) for about in kept):
            raise nothing_left(text, kept, (page for about in kept for page in index.pages(about.source)))
    if not any(_is_inside(index, about, scope) for about in kept):
        raise nothing_left(" and ".join(f"({text})" for text in scope.filters), kept)


def _is_inside(index: Searched, about: Metadata, scope: Scope) -> bool:
    return any(scope.matches(about, page) for page in _pages(index, about, scope))


def _pages(index: Searched, about: Metadata, scope: Scope) -> Iterator[int | None]:
    yield from index.pages(about.source) if scope.has_pages else (None,)
