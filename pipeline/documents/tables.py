"""Tables as text: each row is a line that names its columns, `Berths · name: Zephyrus; draught_m: 10.2`.

So every chunk of a table carries its header, and a quoted cell stands beside the names of its column and of its row. A
table without a header keeps its rows as `| a | b |`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise, repeat

Cells = tuple[str, ...]
_NUMBER = re.compile(r"[-+−(]?\s*[^\w\s]?\s*\d[\d.,'\s]*\s*(?:%|[^\W\d]{1,3}|[^\w\s])?\)?|[-–—]|n/?a", re.IGNORECASE)
_DATE = re.compile(r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}(?:[T ].*)?")
_DIGIT = re.compile(r"\d")
_YEAR = re.compile(r"(?:19|20)\d\d")
_HEADER_CHARS = 80  # a longer cell is no name of a column
_HEADER_ROWS = 3  # a header has at most so many rows
_LOOKED_AT = 50  # rows of the body that say what kind a column is of


@dataclass(frozen=True, slots=True)
class Grid:
    """A table's rows from top to bottom, each with its place in the file.

    `rows` may differ in length. `places` are whatever the reader finds a row by: a line or a row's number.
    `is_marked` says that the file itself marks the first `n_marked` rows as the header.
    """

    rows: Sequence[Cells]
    places: Sequence[int]
    n_marked: int = 0


@dataclass(frozen=True, slots=True)
class TableLine:
    """A line of text for one row, and the row's place."""

    text: str
    place: int


def table_lines(grid: Grid, context: str = "", assume_header: bool = False) -> list[TableLine]:
    """The rows as lines. `context`, such as a sheet or a caption, stands at the front of each row with a header.

    `assume_header` takes the first row that can be a header for one, where nothing else speaks for or against it.
    """
    rows = [tuple(_clean(cell) for cell in row) for row in grid.rows]
    above, header, below = split_header(rows, grid.n_marked, assume_header)
    lines = [TableLine(_bare(rows[n]), grid.places[n]) for n in range(above) if any(rows[n])]
    body = [n for n in range(below, len(rows)) if any(rows[n])]
    filled = {n for row in (rows[n] for n in body) for n, cell in enumerate(row) if cell}
    if not header or not body or any(name and n not in filled for n, name in enumerate(header)):
        # Names that no row repeats stand in a line of their own, so that nothing is lost.
        lines += [TableLine(_bare(rows[n]), grid.places[n]) for n in range(above, below) if any(rows[n])]
    for n in body:
        text = record(header, rows[n], context) if header else _bare(rows[n])
        lines.append(TableLine(text, grid.places[n]))
    return lines


def record(header: Cells, row: Cells, context: str = "") -> str:
    """A row as `context · name: value; name: value`, without its empty cells."""
    named = zip(row, chain(header, repeat("")), strict=False)  # a row may be longer than its header
    pairs = [f"{name}: {value}" if name else value for value, name in named if value]
    return (f"{context} · " if context else "") + "; ".join(pairs)


def split_header(rows: Sequence[Cells], n_marked: int = 0, assume: bool = False) -> tuple[int, Cells, int]:
    """The number of rows above the header, the names of the columns (() for none), and where the body begins."""
    if n_marked:
        return 0, _names(rows[:n_marked]), n_marked
    width = max((sum(map(bool, row)) for row in rows[:_LOOKED_AT]), default=0)
    if width < 2:
        return 0, (), 0
    first = next((n for n, row in enumerate(rows) if sum(map(bool, row)) > max(width // 2, 1)), len(rows))
    if first >= len(rows) - 1 or not _can_be_names(rows[first]):
        return 0, (), 0
    n_rows = _n_header_rows(rows, first)
    body = rows[first + n_rows : first + n_rows + _LOOKED_AT]
    if not (assume or width > 2 or _differs(rows[first + n_rows - 1], body)):
        return 0, (), 0
    return first, _names(rows[first : first + n_rows]), first + n_rows


def count_of(written: str | None, maximum: int) -> int:
    """A count as an attribute of a file states it, at least 1 and at most `maximum`; 1 for what is no number."""
    digits = (written or "").strip()
    if not (digits.isascii() and digits.isdigit()):
        return 1
    return max(1, min(int(digits), maximum)) if len(digits) < 10 else maximum


def is_value(cell: str) -> bool:
    """Whether a cell holds a number, an amount or a date."""
    return bool(_NUMBER.fullmatch(cell) or _DATE.fullmatch(cell))


def _can_be_names(row: Cells) -> bool:
    filled = [cell for cell in row if cell]
    years = [cell for cell in filled if _YEAR.fullmatch(cell)]
    names = [cell for cell in filled if not is_value(cell)]
    return bool(names) and len(names) + len(years) == len(filled) and max(map(len, filled)) <= _HEADER_CHARS


def _n_header_rows(rows: Sequence[Cells], first: int) -> int:
    """One, or more where the first row groups columns: it names some of them alike, and the next names each."""
    n = 1
    while (
        n < _HEADER_ROWS
        and first + n + 1 < len(rows)
        and _has_groups(rows[first + n - 1])
        and _can_be_names(rows[first + n])
        and any(map(is_value, rows[first + n + 1]))
    ):
        n += 1
    return n


def _has_groups(row: Cells) -> bool:
    return any(cell and cell == after for cell, after in pairwise(row))


def _differs(header: Cells, body: Sequence[Cells]) -> bool:
    """Whether some column holds numbers below a name without one."""
    return any(
        name and not _DIGIT.search(name) and sum(bool(_DIGIT.search(_cell(row, n))) for row in body) * 2 > len(body) > 0
        for n, name in enumerate(header)
    )


def _names(rows: Sequence[Cells]) -> Cells:
    """The names of the columns: of several rows the distinct parts, from top to bottom."""
    width = max(map(len, rows), default=0)
    columns = ([_cell(row, n) for row in rows] for n in range(width))
    return tuple(" ".join(dict.fromkeys(filter(None, column))) for column in columns)


def _cell(row: Cells, n: int) -> str:
    return row[n] if n < len(row) else ""


def _clean(cell: str) -> str:
    if cell.isalnum():
        return cell  # most cells, of which a wide table has a million
    return " / ".join(" ".join(line.split()) for line in cell.splitlines() if line.strip())


def _bare(row: Cells) -> str:
    filled = [cell for cell in row if cell]
    return filled[0] if len(filled) == 1 else f"| {' | '.join(row)} |"
