"""The lines of a page, each with its box, as text: columns one after the other, tables as rows that name their columns.

Pieces of text at one height are a row. A gap at one place through five rows or more parts two columns where the text
beside it is prose, and two columns of a table where it is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from pipeline.documents.tables import Grid, table_lines

_SAME_CELL = 0.9  # of the height of a line: a wider gap between two pieces parts two cells
_SPACE = 0.12  # of the height of a line: a wider gap between two pieces is a space
_COLUMN_ROWS = 5
_PROSE_CHARS = 20
_PROSE_WORDS = 3.5


@dataclass(frozen=True, slots=True)
class Line:
    """A piece of text on one line and its box: x to the right, y down, in any unit."""

    text: str
    left: float
    top: float
    right: float
    bottom: float

    @property
    def height(self) -> float:
        return self.bottom - self.top


Row = list[Line]


def has_cells(lines: Sequence[Line]) -> bool:
    """Whether two rows of the page or more have several cells, so that their order matters."""
    return sum(len(row) > 1 for row in _rows(lines)) > 1


def lay_out_page(lines: Sequence[Line]) -> str:
    """The text of a page: a line for each row of prose, a record for each row of a table."""
    return "\n".join(_lay_out(_rows(lines)))


def _rows(lines: Sequence[Line]) -> list[Row]:
    """The pieces from top to bottom in rows, those of one cell joined, from left to right."""
    rows: list[Row] = []
    for line in sorted(lines, key=lambda line: (line.top + line.bottom, line.left)):
        middle = (line.top + line.bottom) / 2
        row = rows[-1] if rows else None
        if row and max(piece.top for piece in row[-3:]) < middle < min(piece.bottom for piece in row[-3:]):
            row.append(line)
        else:
            rows.append([line])
    return [_cells(row) for row in rows]


def _cells(row: Row) -> Row:
    cells: Row = []
    for piece in sorted(row, key=lambda piece: piece.left):
        if cells and piece.left - cells[-1].right < _SAME_CELL * max(piece.height, cells[-1].height):
            last = cells[-1]
            gap = " " if piece.left - last.right > _SPACE * piece.height else ""
            cells[-1] = Line(
                last.text + gap + piece.text,
                last.left,
                min(last.top, piece.top),
                max(last.right, piece.right),
                max(last.bottom, piece.bottom),
            )
        else:
            cells.append(piece)
    return cells


def _lay_out(rows: list[Row]) -> list[str]:
    gutter = _gutter(rows)
    if gutter is None:
        return _with_tables(rows)
    text: list[str] = []
    zone: list[Row] = []
    for row in [*rows, None]:
        if row is None or any(cell.left < gutter < cell.right for cell in row):
            for is_right in (False, True):
                side = [[cell for cell in r if (cell.left > gutter) == is_right] for r in zone]
                text += _lay_out([r for r in side if r])
            zone = []
            if row is not None:
                text.append(" ".join(cell.text for cell in row))
        else:
            zone.append(row)
    return text


def _gutter(rows: Sequence[Row]) -> float | None:
    """Where the gap between two columns of prose lies; None for a page of one column."""
    gaps = [(a, b) for row in rows for a, b in pairwise(row)]
    best: float | None = None
    n_best = _COLUMN_ROWS - 1
    for a, b in gaps:
        middle = (a.right + b.left) / 2
        beside = [(left, right) for left, right in gaps if left.right < middle < right.left]
        if len(beside) > n_best and all(_is_prose([pair[side] for pair in beside]) for side in (0, 1)):
            best, n_best = middle, len(beside)
    return best


def _is_prose(cells: Sequence[Line]) -> bool:
    return (
        fmean(len(cell.text) for cell in cells) >= _PROSE_CHARS
        and fmean(len(cell.text.split()) for cell in cells) >= _PROSE_WORDS
    )


def _with_tables(rows: Sequence[Row]) -> list[str]:
    """The rows of one column, those of its tables as records."""
    text: list[str] = []
    table: list[Row] = []
    for row in [*rows, None]:
        if row is not None and len(row) > 1 and (not table or _is_near(table[-1], row)):
            table.append(row)
            continue
        text += _table(table) if len(table) > 1 else [" ".join(c.text for c in r) for r in table]
        table = [row] if row is not None and len(row) > 1 else []
        if row is not None and len(row) == 1:
            text.append(row[0].text)
    return text


def _is_near(above: Row, below: Row) -> bool:
    height = max(cell.height for cell in below)
    return below[0].top - above[0].bottom < 3 * height


def _table(rows: Sequence[Row]) -> list[str]:
    """A table's rows: cells that stand below one another are a column's."""
    columns: list[list[float]] = []
    for row in sorted(rows, key=len, reverse=True):
        for cell in row:
            near = [c for c in columns if c[0] < cell.right and cell.left < c[1]]
            if not near:
                columns.append([cell.left, cell.right])
            elif len(near) == 1 and len(row) == max(map(len, rows)):
                near[0][:] = [min(near[0][0], cell.left), max(near[0][1], cell.right)]
    columns.sort()
    grid: list[tuple[str, ...]] = []
    for row in rows:
        cells = [""] * len(columns)
        for cell in row:
            overlaps = [min(c[1], cell.right) - max(c[0], cell.left) for c in columns]
            n = overlaps.index(max(overlaps))
            cells[n] = f"{cells[n]} {cell.text}".strip()
        grid.append(tuple(cells))
    return [line.text for line in table_lines(Grid(grid, range(len(grid))))]
