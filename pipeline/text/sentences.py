"""Sentences with exact offsets, by sentencex, fed block by block.

sentencex stops splitting behind a "- bullet" line and knows no headings, tables or code, so the text is first cut into
blocks: paragraphs, headings, list items, table rows, lines of code. A sentence never crosses a block's end, and a
line's end inside a paragraph is no boundary, so hard-wrapped prose keeps its sentences whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

_FENCE = re.compile(r"\s{0,3}(`{3,}|~{3,})")
_HEADING = re.compile(r"\s{0,3}#{1,6}\s")
_UNDERLINE = re.compile(r"\s{0,3}(=+|-{2,})\s*$")
_ROW = re.compile(r"\s*\|")
_BULLET = re.compile(r"\s*[-*+•‣◦▪]\s+(?=\S)")
_NUMBER = re.compile(r"\s*(\d{1,3})[.)]\s+(?=\S)")
_COMMA_OF_PROSE = re.compile(r",\s")
_CODE = re.compile(
    r"[{};]\s*$|=>|->|::|\w\([^()]*\)\s*[:;{,.]?\s*$|^\s*[\w.\[\]\"']+\s*[-+*/|&]?=\s*\S"
    r"|^\s*(?:#include|#define|//|/\*|\*/|@\w|import \w|from \S+ import|(?:async )?def \w|class \w+[:({ ]*$|else:|try:)"
)
_PAIR = re.compile(r"\s*[^\s:][^:\n]{0,120}:\s*\S")
_QUOTES = frozenset("\"'“”„«»‹›‘’")
_OPENING = frozenset("\"“„«‹‘'([")
_HIDE_QUOTES = str.maketrans(dict.fromkeys(_QUOTES, " "))
_LONG_SPEECH = 200
_GIANT_BLOCK = 30_000  # sentencex's time grows with the square of the quotations that a text opens and never closes


def sentences(text: str, language: str = "en") -> list[tuple[int, int]]:
    """The (start, end) of each sentence, in order, end excluded.

    Spans do not overlap, are never empty, and begin and end with a character that is not white space; each such
    character of the text lies in exactly one of them. `language` is a code that sentencex knows, such as "de"; it
    takes the nearest one for a code that it does not know.
    """
    return [span for block in _blocks(text) for span in _split(text, block, language)]


@dataclass(frozen=True, slots=True)
class _Block:
    """A stretch of text; its sentences are looked for from `content` on: behind a marker, or nowhere (== end)."""

    start: int
    content: int
    end: int


def _split(text: str, block: _Block, language: str) -> list[tuple[int, int]]:
    """The block's sentences. The library only says where to cut, so that nothing can get lost."""
    is_giant = block.end - block.content > _GIANT_BLOCK
    edges = [block.start, *_cuts(text, block.content, block.end, language, is_giant), block.end]
    spans: list[tuple[int, int]] = []
    for start, end in pairwise(edges):
        piece = text[start:end]
        if not (words := piece.strip()):
            continue
        start += len(piece) - len(piece.lstrip())
        if spans and not any(map(str.isalnum, words)):
            spans[-1] = (spans[-1][0], start + len(words))  # a lone quotation mark or dash closes what stands before it
        else:
            spans.append((start, start + len(words)))
    return spans


def _cuts(text: str, start: int, end: int, language: str, is_speech: bool = False) -> list[int]:
    """Where sentences begin inside (start, end), in order.

    sentencex takes a quotation for one sentence, were it two pages long: a long one is cut inside as well, by hiding
    its quotation marks.
    """
    from sentencex import get_sentence_boundaries

    content = text[start:end]
    boundaries = get_sentence_boundaries(language, content.translate(_HIDE_QUOTES) if is_speech else content)
    cuts = sorted({_before_quote(text, start + sentence["start_index"], start) for sentence in boundaries} - {start})
    if is_speech:
        return cuts
    edges = [start, *cuts, end]
    long = [(a, b) for a, b in pairwise(edges) if b - a > _LONG_SPEECH]
    inner = {cut for a, b in long if _QUOTES & set(text[a:b]) for cut in _cuts(text, a, b, language, is_speech=True)}
    return sorted(inner.union(cuts))


def _before_quote(text: str, cut: int, start: int) -> int:
    """The cut, moved in front of the quotation marks and brackets that open what follows it."""
    place = cut
    while place > max(start, cut - 4) and text[place - 1] in _OPENING:
        place -= 1
    return place if place == start or text[place - 1].isspace() else cut


def _blocks(text: str) -> Iterator[_Block]:
    """Consecutive blocks in order; between them is only white space."""
    lines: list[tuple[int, str]] = []
    fence = ""
    in_list = False
    offset = 0
    for line in text.splitlines(keepends=True):
        start, offset = offset, offset + len(line)
        mark = _FENCE.match(line)
        if fence or mark:
            yield from _paragraph(lines)
            lines = []
            yield _Block(start, offset, offset)
            if mark and not fence:
                fence = mark[1]
            elif mark and mark[1].startswith(fence):
                fence = ""
            continue
        if not line.strip():
            yield from _paragraph(lines)
            lines = []
        elif _HEADING.match(line) or _ROW.match(line):
            yield from _paragraph(lines)
            lines, in_list = [], False
            yield _Block(start, start if _ROW.match(line) else offset, offset)
        elif is_record(line):
            yield from _paragraph(lines)
            lines, in_list = [], False
            yield _Block(start, offset, offset)
        elif _starts_item(line, in_list, not lines):
            yield from _paragraph(lines)
            lines, in_list = [(start, line)], True
        elif len(lines) == 1 and _UNDERLINE.match(line):
            yield _Block(lines[0][0], offset, offset)
            lines = []
        else:
            in_list = in_list and (bool(lines) or line[0].isspace())
            lines.append((start, line))
    yield from _paragraph(lines)


def _starts_item(line: str, in_list: bool, is_first: bool) -> bool:
    """Whether a list item starts here. As in Markdown, only a 1 may start a numbered list inside a paragraph."""
    if _BULLET.match(line):
        return True
    number = _NUMBER.match(line)
    return bool(number) and (in_list or is_first or number[1] == "1")  # type: ignore[index]


def is_record(line: str) -> bool:
    """Whether a line is a row of a table as `documents.tables` writes it: two or more `name: value` with semicolons."""
    return "; " in line and ": " in line and sum(": " in part for part in line.split("; ")) >= 2


def n_cells(row: str) -> tuple[str, int]:
    """The delimiter of a table's row (tab, semicolon, bar or comma) and its number of cells; ("", 1) for prose.

    A comma with a space behind it belongs to prose.
    """
    for delimiter in "\t;|":
        if row.count(delimiter) >= 2:
            return delimiter, row.count(delimiter) + 1
    n_commas = row.count(",")
    return (",", n_commas + 1) if n_commas >= 2 and not _COMMA_OF_PROSE.search(row) else ("", 1)


def is_table(lines: Sequence[str]) -> bool:
    """Whether the lines are rows of one table: two or more, with one delimiter and as many cells in each."""
    cells = {n_cells(line) for line in lines}
    return len(lines) > 1 and len(cells) == 1 and cells != {("", 1)}


def _paragraph(lines: list[tuple[int, str]]) -> Iterator[_Block]:
    """One block of all the lines, or one a line where they are code."""
    if not lines:
        return
    if len(lines) > 1 and sum(bool(_CODE.search(line)) for _, line in lines) * 2 > len(lines):
        for start, line in lines:
            yield _Block(start, start + len(line), start + len(line))
        return
    if is_table([line for _, line in lines]):
        for start, line in lines:
            yield _Block(start, start + len(line), start + len(line))
        return
    if len(lines) > 1 and all(_PAIR.match(line) for _, line in lines):
        for start, line in lines:  # one setting or one speaker a line
            yield _Block(start, start, start + len(line))
        return
    start, first = lines[0]
    marker = _BULLET.match(first) or _NUMBER.match(first)
    last, line = lines[-1]
    yield _Block(start, start + marker.end() if marker else start, last + len(line))
