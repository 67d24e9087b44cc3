"""A document as one text, and the places of its characters in the original file.

Imports only the errors. Other modules import these values from pipeline/types.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a character in a document, as a person finds it in the file.

    `line` counts from 1 in the file; None for formats without lines (PDF, DOCX), and if the line is unknown. `page`
    counts from 1; None for formats without pages. `heading` is the path of titles above the place, outermost first.
    `paragraph` counts the paragraphs, list items and table rows below the innermost title from 1; None for formats with
    lines or pages, and for a title itself. `label` is the format's own address, as its programs show it:
    `Budget!A3:E3`, `slide 2`, `00:01:04`, `cell 4`, `tide.host`; "" if it has none.

    `marks` are the places of later characters, in order, each with its distance from this one. There is a mark wherever
    more changes than the line at a newline, so that `after` is exact within the passage that they were made for.
    `counts_newlines` is true if each newline of the text is one of the file.
    """

    line: int | None = None
    page: int | None = None
    heading: tuple[str, ...] = ()
    paragraph: int | None = None
    marks: tuple[tuple[int, Place], ...] = field(default=(), compare=False, repr=False)
    counts_newlines: bool = field(default=True, compare=False, repr=False)
    label: str = ""

    def __str__(self) -> str:
        """Formats the place briefly: `p. 2`, `line 12`, `Fares > Dogs, paragraph 3`; "" if nothing is known.

        A label precedes the line: `tide.host, line 3`.
        """
        if self.page is not None:
            return f"p. {self.page}"
        if self.line is not None:
            return f"{self.label}, line {self.line}" if self.label else f"line {self.line}"
        if self.label:
            return self.label
        paragraph = () if self.paragraph is None else (f"paragraph {self.paragraph}",)
        return ", ".join((*filter(None, (" > ".join(self.heading),)), *paragraph))

    def after(self, text: str) -> Place:
        """Returns the place of the character after `text`, which begins at this place."""
        n = len(text)
        passed = bisect_right(self.marks, n, key=lambda mark: mark[0])
        start, place = self.marks[passed - 1] if passed else (0, self)
        line = place.line
        if line is not None and self.counts_newlines:
            line += text.count("\n", start)
        marks = tuple((offset - n, later) for offset, later in self.marks[passed:])
        return replace(place, line=line, marks=marks, counts_newlines=self.counts_newlines)


@dataclass(frozen=True, slots=True)
class Heading:
    """A title. Its section runs from `start` (its own first character) to the next title of its level or above."""

    start: int
    level: int
    title: str


@dataclass(frozen=True, slots=True)
class Document:
    """One source as one text, with the data to locate its characters.

    `source` names it (an absolute path in posix form for files). `sha256` is of the file's bytes. `notes` describes
    what the loader left out. `pages` holds the offset at which each page starts, empty for formats without pages.
    `paragraphs` holds the offset of each paragraph, list item and table row, empty for formats that have lines or
    pages. `lines` holds (offset, line of the file) wherever that line changes, for a text that differs from the file's;
    None is an unknown line. If all three are empty, the lines of the text are those of the file. `labels` holds
    (offset, label) wherever the label of a place changes.

    `author`, `date` (ISO 8601: a day, a month or a year) and `language` (ISO 639 code) come from the file's own
    metadata, or are "" (documents/properties.py). `limits` names the limits that left some of the file's pages out
    (documents/limits.py): an index reads the file again when one of them changes. `format` names the format that the
    file was read as (documents/formats.py), whatever its suffix; "" for what is no file.
    """

    source: str
    text: str
    kind: str = "text"
    sha256: str = ""
    title: str = ""
    pages: tuple[int, ...] = ()
    headings: tuple[Heading, ...] = ()
    notes: tuple[str, ...] = ()
    lines: tuple[tuple[int, int | None], ...] = ()
    paragraphs: tuple[int, ...] = ()
    labels: tuple[tuple[int, str], ...] = ()
    author: str = ""
    date: str = ""
    language: str = ""
    limits: tuple[str, ...] = ()
    format: str = ""

    def place(self, offset: int) -> Place:
        """Returns the place of the character at `offset`, in [0, len(text)], without marks (see documents.places)."""
        if not 0 <= offset <= len(self.text):
            raise ValueError(f"offset must be in [0, {len(self.text)}], was: {offset}")
        page = bisect_right(self.pages, offset) if self.pages else None
        paragraph = self.paragraph(offset)
        heading, label = self._heading_path(offset), self.label(offset)
        return Place(self._line(offset), page, heading, paragraph, (), self.counts_newlines, label)

    @property
    def counts_newlines(self) -> bool:
        """Whether each newline of the text is one of the file."""
        return not (self.pages or self.paragraphs or self.lines)

    def label(self, offset: int) -> str:
        """The label of the character at `offset`."""
        passed = bisect_right(self.labels, offset, key=lambda mark: mark[0])
        return self.labels[passed - 1][1] if passed else ""

    def paragraph(self, offset: int) -> int | None:
        """Counts the paragraphs that begin between the title above and the offset."""
        above = bisect_right(self.headings, offset, key=lambda heading: heading.start)
        start = self.headings[above - 1].start if above else 0
        return (bisect_right(self.paragraphs, offset) - bisect_left(self.paragraphs, start)) or None

    def _line(self, offset: int) -> int | None:
        if self.counts_newlines:
            return self.text.count("\n", 0, offset) + 1
        if not self.lines:
            return None
        passed = bisect_right(self.lines, offset, key=lambda mark: mark[0])
        return self.lines[passed - 1][1] if passed else None

    def _heading_path(self, offset: int) -> tuple[str, ...]:
        path: list[Heading] = []
        for heading in self.headings:
            if heading.start > offset:
                break
            while path and path[-1].level >= heading.level:
                path.pop()
            path.append(heading)
        return tuple(heading.title for heading in path)
