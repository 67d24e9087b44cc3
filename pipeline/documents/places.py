"""Where the parts of a document's passages stand: places with marks, and the same as JSON for a store.

A compressor cuts sentences out of a passage without a look at its document, so that a passage's place brings along what
changes inside the passage: the page of a PDF, the line of an HTML file, the heading.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TypeVar

from pipeline.types import Document, Place

_T = TypeVar("_T")


class Places:
    """The places of one document, with what is the same for all of them worked out once."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.paths = heading_paths(document)
        self.line_starts: list[int] = []
        if document.counts_newlines:
            lines = document.text.split("\n")
            self.line_starts = list(accumulate((len(line) + 1 for line in lines[:-1]), initial=0))

    def at(self, start: int, end: int) -> Place:
        """The place of the character at `start`, with marks for what changes before `end`.

        Equal to `document.place(start)`; so is `at(start, end).after(text[start:n])` to `document.place(n)`.
        """
        cuts = sorted(self._cuts(start, end))
        marks = tuple((cut - start, self._place(cut)) for cut in cuts)
        return self._place(start, marks)

    def _place(self, offset: int, marks: tuple[tuple[int, Place], ...] = ()) -> Place:
        document = self.document
        page = bisect_right(document.pages, offset) if document.pages else None
        path = self.paths[bisect_right(document.headings, offset, key=lambda heading: heading.start)]
        paragraph = document.paragraph(offset) if document.paragraphs else None
        label = document.label(offset) if document.labels else ""
        return Place(self._line(offset), page, path, paragraph, marks, document.counts_newlines, label)

    def _line(self, offset: int) -> int | None:
        if self.line_starts:
            return bisect_right(self.line_starts, offset)
        passed = bisect_right(self.document.lines, offset, key=_first)
        return self.document.lines[passed - 1][1] if passed else None

    def _cuts(self, start: int, end: int) -> set[int]:
        document = self.document
        cuts = {heading.start for heading in _between(document.headings, start, end, lambda heading: heading.start)}
        cuts |= {offset for offset, _ in _between(document.lines, start, end, _first)}
        cuts |= {offset for offset, _ in _between(document.labels, start, end, _first)}
        for offsets in (document.pages, document.paragraphs):
            cuts.update(_between(offsets, start, end, int))
        return cuts


def _first(mark: tuple[int, object]) -> int:
    return mark[0]


def _between(items: Sequence[_T], start: int, end: int, offset: Callable[[_T], int]) -> Sequence[_T]:
    """Those behind `start` and before `end`."""
    return items[bisect_right(items, start, key=offset) : bisect_left(items, end, key=offset)]


def heading_paths(document: Document) -> list[tuple[str, ...]]:
    """The path of titles that rules behind the first i headings, for i from 0 to all of them."""
    paths: list[tuple[str, ...]] = [()]
    open_: list[tuple[int, str]] = []
    for heading in document.headings:
        while open_ and open_[-1][0] >= heading.level:
            open_.pop()
        open_.append((heading.level, heading.title))
        paths.append(tuple(title for _, title in open_))
    return paths


def marks_to_json(place: Place) -> str:
    """What a place has beside its line, page, heading and paragraph. Each path of headings is written once.

    Labels are written only where there are any, so that the form of older stores stays readable.
    """
    headings = list(dict.fromkeys(later.heading for _, later in place.marks))
    marks = [
        (offset, later.line, later.page, headings.index(later.heading), later.paragraph)
        for offset, later in place.marks
    ]
    labels = [place.label, *(later.label for _, later in place.marks)]
    parts = [place.counts_newlines, headings, marks, *([labels] if any(labels) else [])]
    return json.dumps(parts, separators=(",", ":"), ensure_ascii=False)


def pages_of_marks(marks: str) -> tuple[int, ...]:
    """The pages that begin inside a passage, out of what `marks_to_json` made of its place."""
    _, _, rows, *_ = json.loads(marks)
    return tuple(page for _, _, page, *_ in rows if page is not None)


def place_from_json(
    line: int | None, page: int | None, heading: Sequence[str], paragraph: int | None, marks: str
) -> Place:
    """The place that `marks_to_json` was made from."""
    counts, headings, rows, *rest = json.loads(marks)
    paths = [tuple(path) for path in headings]
    label, *labels = rest[0] if rest else [""] * (len(rows) + 1)
    later = tuple(
        (offset, Place(row_line, row_page, paths[path], row_paragraph, (), counts, row_label))
        for (offset, row_line, row_page, path, row_paragraph), row_label in zip(rows, labels, strict=True)
    )
    return Place(line, page, tuple(heading), paragraph, later, counts, label)
