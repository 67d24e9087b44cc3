"""Markdown: the text as it is, its headings found by markdown-it-py, so that `# x` inside a code fence is none."""

from __future__ import annotations

import re
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

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
    found = headings(text, front.end() if front else 0)
    title = named[2] if named else found[0].title if found else readable_name(path)
    return Document(path.as_posix(), text, "markdown", title=title, headings=found, notes=notes)


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
