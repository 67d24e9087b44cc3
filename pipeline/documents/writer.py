"""The text of a document whose format is not text: written block by block, with the places of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.types import Document, Heading


@dataclass
class Writer:
    """Gathers blocks. A blank line parts two of them, and a line's end two rows of a table or two items of a list."""

    parts: list[str] = field(default_factory=list)
    length: int = 0
    headings: list[Heading] = field(default_factory=list)
    labels: list[tuple[int, str]] = field(default_factory=list)
    lines: list[tuple[int, int | None]] = field(default_factory=list)
    pages: list[int] = field(default_factory=list)
    paragraphs: list[int] = field(default_factory=list)
    was_tight: bool = False

    def heading(self, title: str, level: int = 1, label: str | None = None, line: int | None = None) -> None:
        """A title in the text, which rules what follows it. One without a word is left out."""
        title = " ".join(title.split())
        if title:
            start = self._add(f"{'#' * level} {title}", label, line, False)
            self.headings.append(Heading(start, level, title))

    def block(self, text: str, label: str | None = None, line: int | None = None, is_tight: bool = False) -> None:
        """A paragraph, a row or an item. None as a label or line keeps the one before; blank text is left out."""
        text = text.strip("\n").rstrip()
        if text.strip():
            start = self._add(text, label, line, is_tight)
            self.paragraphs.append(start)

    def lined(self, text: str, line: int, label: str | None = None, is_tight: bool = False) -> None:
        """A block whose lines are those of the file from `line` on."""
        n_before = len(text) - len(text.lstrip("\n"))
        text, line = text[n_before:].rstrip(), line + n_before
        self.block(text, label, line, is_tight)
        offset = self.length - len(text)
        for n, part in enumerate(text.split("\n")[:-1], 1):
            offset += len(part) + 1
            self.lines.append((offset, line + n))

    def _add(self, text: str, label: str | None, line: int | None, is_tight: bool) -> int:
        gap = "" if not self.parts else "\n" if is_tight and self.was_tight else "\n\n"
        start = self.length + len(gap)
        self.parts.append(gap + text)
        self.length = start + len(text)
        self.was_tight = is_tight
        if label is not None and (self.labels[-1][1] if self.labels else "") != label:
            self.labels.append((start, label))
        if line is not None and (not self.lines or self.lines[-1][1] != line):
            self.lines.append((start, line))
        return start

    @property
    def start_of_next(self) -> int:
        """The offset of the next block, if it is not tight."""
        return self.length + 2 if self.parts else 0

    def document(self, path: Path, kind: str, title: str, notes: Iterable[str] = ()) -> Document:
        """The blocks as one document. Its paragraphs are counted where it has no lines, pages or labels."""
        has_places = bool(self.pages or self.lines or self.labels)
        unknown: tuple[tuple[int, int | None], ...] = ((0, None),) if self.labels and not self.pages else ()
        return Document(
            source=path.as_posix(),
            text="".join(self.parts),
            kind=kind,
            title=title,
            pages=tuple(self.pages),
            headings=tuple(self.headings),
            notes=tuple(notes),
            lines=tuple(self.lines) or unknown,
            paragraphs=() if has_places else tuple(self.paragraphs),
            labels=tuple(self.labels),
        )
