"""Markdown: the text as it is, its headings found by markdown-it-py, so that `# x` inside a code fence is none."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.documents.pipes import split_bars
from pipeline.documents.tables import Grid, table_lines
from pipeline.documents.text import decode, readable_name
from pipeline.types import Document, Heading

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

_FRONT_MATTER = re.compile(r"---[ \t]*\n(.*?\n)(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_FRONT_TITLE = re.compile(r"^title:[ \t]*(['\"]?)(\S.*?)\1[ \t]*$", re.MULTILINE)


def load_markdown(path: Path, data: bytes) -> Document:
    """The file's text, front matter included. The title: that of the front matter, else the first heading's."""
    text, notes = decode(path, data)
    front = _FRONT_MATTER.match(text)
    named = _FRONT_TITLE.search(front[1]) if front else None
    found_headings = headings(text, front.end() if front else 0)
    title = named[2] if named else found_headings[0].title if found_headings else readable_name(path)
    document = Document(path.as_posix(), text, "markdown", title=title, headings=found_headings, notes=notes)
    return _with_records(document, front.end() if front else 0)


def _with_records(document: Document, start: int) -> Document:
    """The document with the rows of its tables as records, which name their columns, and with the lines of the file.

    One without tables is its file, character by character.
    """
    from markdown_it import MarkdownIt

    text = document.text
    if "|" not in text:
        return document
    first = text.count("\n", 0, start)
    parser = MarkdownIt("commonmark").enable("table").disable("inline")
    tables = [token.map for token in parser.parse(text[start:]) if token.type == "table_open" and token.map]
    source = text.split("\n")
    rows: dict[int, str | None] = {}  # by line: the record in its place, None for a line that goes
    for top, bottom in tables:
        lines = [line.lstrip(" >") for line in source[first + top : first + bottom]]
        grid = Grid([split_bars(line) for n, line in enumerate(lines) if n != 1],
                    [first + top + n for n in range(len(lines)) if n != 1], 1)  # fmt: skip
        rows.update(dict.fromkeys(range(first + top, first + bottom)))
        rows.update((line.place, line.text) for line in table_lines(grid))
    if not rows:
        return document
    parts: list[str] = []
    lines_of: list[tuple[int, int | None]] = []
    moved: dict[int, int] = {}
    length = offset = 0
    for number, line in enumerate(source):
        shown = rows.get(number, line)
        if shown is not None:
            lines_of.append((length, number + 1))
            moved[offset] = length
            parts.append(shown)
            length += len(shown) + 1
        offset += len(line) + 1
    moved_headings = [replace(heading, start=_moved(moved, text, heading.start)) for heading in document.headings]
    return replace(document, text="\n".join(parts), headings=tuple(moved_headings), lines=tuple(lines_of))


def _moved(moved: dict[int, int], text: str, offset: int) -> int:
    """The offset in the new text of a character of a line that stayed."""
    line_start = text.rfind("\n", 0, offset) + 1
    return moved[line_start] + offset - line_start


def headings(text: str, start: int = 0) -> tuple[Heading, ...]:
    """The ATX and setext headings from `start` on, which is a line's start, in the order of the text."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark").disable("inline")  # the text inside paragraphs is not looked at
    lines = text[start:].split("\n")
    offsets = [start, *accumulate((len(line) + 1 for line in lines), initial=start)][1:]
    tokens = parser.parse(text[start:])
    inline = MarkdownIt("commonmark")
    return tuple(
        Heading(_first_character(text, offsets[token.map[0]]), int(token.tag[1]), title)
        for token, content in pairwise(tokens)
        if token.type == "heading_open" and token.map and (title := _plain(inline, content.content))
    )


def _first_character(text: str, line_start: int) -> int:
    while text[line_start].isspace():
        line_start += 1
    return line_start


def _plain(inline: MarkdownIt, markup: str) -> str:
    """A title without its emphasis, links and backticks."""
    tokens = inline.parseInline(markup)[0].children or []
    parts = (" " if token.type == "softbreak" else token.content for token in tokens if token.type != "html_inline")
    return " ".join("".join(parts).split())
