"""The lines of an HTML file that its rendered text comes from.

lxml tells the line of a tag, but not that of a character, which a paragraph over ten lines needs. So before the page is
parsed, a mark goes in front of the text on each line: one private character that stands for the line's number. It
travels through the parser with its text, and is taken out of each block. Between tags the marks change nothing about
the tree, since they never stand in white space alone.

What the marks say is checked: words that do not stand on the line that they were marked with, as those of an image's
alternative text, have no line. So a place is right or it is not said.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence

Lines = tuple[tuple[int, int | None], ...]
"""(offset, line) for each change of the line; None is a line that is not known."""

_FIRST = 0xF0000  # the private use areas of planes 15 and 16: no script, no emoji, no icon font of a web page
_PER_PLANE = 0xFFFD  # the last two of a plane are no characters
MARK = re.compile("[\U000f0000-\U000ffffd\U00100000-\U0010fffd]")
_MARK_AND_SPACE = re.compile(f"{MARK.pattern}(?:{MARK.pattern}|\\s)*")
_MARKUP = re.compile(
    r"<!--.*?(?:-->|\Z)"
    r"|<(script|style)\b.*?(?:</\1\b[^>]*>|\Z)"
    r"""|<[/!]?[a-z](?:=\s*"[^"]*"|=\s*'[^']*'|[^>])*+>"""
    r"|<[!?][^>]*>",
    re.IGNORECASE | re.DOTALL,
)
_WORD = re.compile(r"\w+")


def can_be_marked(source: str) -> bool:
    """Whether the page holds none of the marks itself, as the icons of some fonts are."""
    return not MARK.search(html.unescape(source))


def mark_lines(source: str) -> str:
    """The page with a mark in front of the text on each line."""
    return "".join(_marked(source))


def _marked(source: str) -> Iterator[str]:
    line, offset = 1, 0
    for markup in _MARKUP.finditer(source):
        yield from _marked_text(source[offset : markup.start()], line)
        line += source.count("\n", offset, markup.end())
        offset = markup.end()
        yield markup[0]
    yield from _marked_text(source[offset:], line)


def _marked_text(text: str, line: int) -> Iterator[str]:
    for n, part in enumerate(text.split("\n")):
        if n:
            yield "\n"
        content = part.lstrip()
        yield part[: len(part) - len(content)]
        if content:
            yield _mark(line + n) + content


def _mark(line: int) -> str:
    """The character for a line; from 131068 on it says that the line is not known."""
    if line <= _PER_PLANE:
        return chr(_FIRST + line)
    return chr(0x100000 + line - _PER_PLANE) if line <= 2 * _PER_PLANE else chr(_FIRST)


def _line_of(mark: str) -> int | None:
    number = ord(mark)
    return (number - _FIRST or None) if number < 0x100000 else number - 0x100000 + _PER_PLANE


def settled(text: str) -> str:
    """A text node with each mark in front of a word: behind white space that was an entity, none at its end."""
    return _MARK_AND_SPACE.sub(_settled, text) if MARK.search(text) else text


def _settled(run: re.Match[str]) -> str:
    mark = "" if run.end() == len(run.string) else MARK.findall(run[0])[-1]
    return MARK.sub("", run[0]) + mark


def take_lines(text: str) -> tuple[str, Lines]:
    """The text without its marks, and where each of them stood."""
    parts: list[str] = []
    lines: list[tuple[int, int | None]] = []
    length = offset = 0
    for mark in MARK.finditer(text):
        parts.append(text[offset : mark.start()])
        length += len(parts[-1])
        offset = mark.end()
        lines.append((length, _line_of(mark[0])))
    parts.append(text[offset:])
    return "".join(parts), tuple(lines)


class SourceLines:
    """The words on each line of a page's source, worked out for the lines that are asked for."""

    def __init__(self, source: str) -> None:
        self.lines: Sequence[str] = source.split("\n")
        self.words: dict[int, frozenset[str]] = {}

    def check(self, text: str, lines: Lines) -> Lines:
        """The lines of a block's text, without those on which its words do not stand. It begins at 0."""
        checked: list[tuple[int, int | None]] = [] if lines and lines[0][0] == 0 else [(0, None)]
        for n, (start, line) in enumerate(lines):
            end = lines[n + 1][0] if n + 1 < len(lines) else len(text)
            checked.append((start, line))
            strange = next((w for w in _WORD.finditer(text, start, end) if line and not self.has(line, w[0])), None)
            if strange is not None:
                checked.append((strange.start(), None))
        return tuple(checked)

    def has(self, line: int, word: str) -> bool:
        if line > len(self.lines):
            return False
        if line not in self.words:
            self.words[line] = frozenset(_WORD.findall(html.unescape(self.lines[line - 1])))
        return word in self.words[line]


def without_repeats(lines: Sequence[tuple[int, int | None]]) -> Lines:
    """The changes alone: of several at one offset the last, and none to the line that it is already."""
    latest = dict(lines)
    kept: list[tuple[int, int | None]] = []
    for offset in sorted(latest):
        if not kept or kept[-1][1] != latest[offset]:
            kept.append((offset, latest[offset]))
    return tuple(kept)
