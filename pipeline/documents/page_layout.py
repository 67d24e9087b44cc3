"""The lines of a page, each with its box, as text: columns one after the other, tables as rows that name their columns.

Pieces of text at one height are a row. A gap at one place through five rows or more parts two columns where the text
beside it is prose, and two columns of a table where it is not. A blank line parts paragraphs: lines in letters of
another size, and lines farther apart than lines of the page are. Otherwise a heading would begin the sentence below it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from statistics import fmean, median

from pipeline.documents.tables import Grid, table_lines

_SAME_CELL = 0.9  # of the height of a line: a wider gap between two pieces parts two cells
_SPACE = 0.12  # of the height of a line: a wider gap between two pieces is a space
_COLUMN_ROWS = 5
_PROSE_CHARS = 20
_PROSE_WORDS = 3.5
_OTHER_SIZE = 1.1
_FAR_APART = 1.35  # of the usual distance between two lines
_LEADING = 1.2  # of the size of the letters: the distance where a page has too few lines to tell
_FEW_LINES = 3
_TITLE_WORDS = 14
_MOST_TITLES = 3  # one in so many lines
_ENDS_SENTENCE = re.compile(r"[.!?:;…。！？]['\"”’»)\]]*\s*$")


@dataclass(frozen=True, slots=True)
class Line:
    """A piece of text on one line and its box: x to the right, y down, in any unit.

    `size` is the height of its font's letters, and `base` where they end, whatever letters the text has; 0: unknown.
    """

    text: str
    left: float
    top: float
    right: float
    bottom: float
    size: float = 0.0
    base: float = 0.0

    @property
    def height(self) -> float:
        return self.bottom - self.top


Row = list[Line]
PageLines = list[tuple[str, Line | None]]
"""The lines of a page in reading order, each with its box; None for rows of tables and what has no box of its own."""


def has_cells(lines: Sequence[Line]) -> bool:
    """Whether two rows of the page or more have several cells, so that their order matters."""
    return sum(len(row) > 1 for row in _rows(lines)) > 1


def lay_out_page(lines: Sequence[Line]) -> str:
    """The text of a page: a line for each row of prose, a record for each row of a table."""
    return in_paragraphs(lay_out(lines))


def lay_out(lines: Sequence[Line]) -> PageLines:
    """The lines of a page in the order in which they are read."""
    return _lay_out(_rows(lines))


def with_boxes(text: str, lines: Sequence[Line]) -> PageLines:
    """The lines of a text of this page, without columns and tables, each with its box if it is found."""
    found: dict[str, list[Line]] = {}
    for line in map(_whole, _rows(lines)):
        found.setdefault("".join(line.text.split()), []).append(line)
    page: PageLines = []
    for text_line in text.split("\n"):
        same = found.get("".join(text_line.split()))
        page.append((text_line, same.pop(0) if same else None))
    return page


def in_paragraphs(page: PageLines) -> str:
    """Joins the lines of a page, with a blank line before a paragraph. One without a box stays with its neighbours."""
    usual = _usual_distance([(above, below) for (_, above), (_, below) in pairwise(page) if above and below])
    text = [page[0][0]] if page else []
    for (_, above), (line, below) in pairwise(page):
        if above is not None and below is not None and _starts_paragraph(above, below, usual):
            text.append("")
        text.append(line)
    return "\n".join(text)


def titles_of(pages: Sequence[PageLines]) -> list[tuple[int, int, str]]:
    """The titles of a document: short lines in larger letters than most of it, as (page from 0, level from 1, title).

    The largest letters are level 1. None where no size is that of most letters, where much is in large ones, and what
    stands on more than half of several pages.
    """
    lines = [line for page in pages for _, line in page if line is not None and line.size]
    n_letters = Counter[float]()
    for line in lines:
        n_letters[_rounded(line.size)] += len(line.text)
    if not n_letters or 2 * n_letters.most_common(1)[0][1] < n_letters.total():
        return []
    least = _OTHER_SIZE * n_letters.most_common(1)[0][0]
    n_pages = Counter(text for page in pages for text in {one.text for _, one in page if one and one.size > least})
    running = {text for text, n in n_pages.items() if n >= _FEW_LINES and 2 * n > len(pages)}
    found: list[tuple[int, float, str]] = []
    for number, page in enumerate(pages):
        large = [one if one and one.size > least and one.text not in running else None for _, one in page]
        for size, group in groupby(large, key=lambda one: _rounded(one.size) if one else 0.0):
            title = " ".join(one.text for one in group if one)
            if _is_title(title):
                found.append((number, size, title))
    if _MOST_TITLES * len(found) > len(lines):
        return []
    sizes = sorted({size for _, size, _ in found}, reverse=True)
    return [(number, sizes.index(size) + 1, title) for number, size, title in found]


def _rounded(size: float) -> float:
    return round(size * 2) / 2


def _is_title(text: str) -> bool:
    return len(text.split()) <= _TITLE_WORDS and any(map(str.isalpha, text)) and text.rstrip()[-1:] not in ".,;:"


def _usual_distance(pairs: Sequence[tuple[Line, Line]]) -> float:
    """The median distance between two lines of one size, one below the other; 0 if there are too few."""
    distances = [
        b.base - a.base for a, b in pairs if a.size and b.size and not _is_other_size(a, b) and b.base > a.base
    ]
    return median(distances) if len(distances) >= _FEW_LINES else 0.0


def _is_other_size(above: Line, below: Line) -> bool:
    return max(above.size, below.size) > _OTHER_SIZE * min(above.size, below.size)


def _starts_paragraph(above: Line, below: Line, usual: float) -> bool:
    if not above.size or not below.size:
        return False
    if _is_other_size(above, below):
        return True
    goes_on = below.text[:1].islower() and not _ENDS_SENTENCE.search(above.text)
    return not goes_on and below.base - above.base > _FAR_APART * (usual or _LEADING * below.size)


def _whole(row: Row) -> Line:
    """A row as one line, of the size of its longest piece."""
    longest = max(row, key=lambda cell: len(cell.text))
    return replace(longest, text=" ".join(cell.text for cell in row))


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
            longest = max(last, piece, key=lambda one: len(one.text))
            cells[-1] = Line(
                last.text + gap + piece.text,
                last.left,
                min(last.top, piece.top),
                max(last.right, piece.right),
                max(last.bottom, piece.bottom),
                longest.size,
                longest.base,
            )
        else:
            cells.append(piece)
    return cells


def _lay_out(rows: list[Row]) -> PageLines:
    gutter = _gutter(rows)
    if gutter is None:
        return _with_tables(rows)
    text: PageLines = []
    zone: list[Row] = []
    for row in [*rows, None]:
        if row is None or any(cell.left < gutter < cell.right for cell in row):
            for is_right in (False, True):
                side = [[cell for cell in r if (cell.left > gutter) == is_right] for r in zone]
                text += _lay_out([r for r in side if r])
            zone = []
            if row is not None:
                text.append((_whole(row).text, _whole(row)))
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


def _with_tables(rows: Sequence[Row]) -> PageLines:
    """The rows of one column, those of its tables as records."""
    text: PageLines = []
    table: list[Row] = []
    for row in [*rows, None]:
        if row is not None and len(row) > 1 and (not table or _is_near(table[-1], row)):
            table.append(row)
            continue
        text += (
            [(record, None) for record in _table(table)] if len(table) > 1 else [(_whole(r).text, None) for r in table]
        )
        table = [row] if row is not None and len(row) > 1 else []
        if row is not None and len(row) == 1:
            text.append((row[0].text, row[0]))
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
