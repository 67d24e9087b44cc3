"""The lines of a page, each with its box, as text: columns one after the other, tables as rows that name their columns.

Pieces of text at one height are a row. A gap at one place through five rows or more parts two columns where the text
beside it is prose, and two columns of a table where it is not. A blank line parts paragraphs: lines in letters of
another size, and lines farther apart than lines of the page are. Otherwise a heading would begin the sentence below it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from statistics import fmean, median

from pipeline.documents.tables import Grid, table_lines

_SAME_CELL = 0.9  # of the height of a line: a wider gap between two pieces parts two cells
_NUMBER_GAP = 2.0  # the same behind a number: `1` and `Introduction` in a heading
_NUMBER = re.compile(r"\d{1,2}(\.\d{1,2})*\.?|[•–▪‣*-]|\(?[a-z0-9]\)")
_SPACE = 0.12  # of the height of a line: a wider gap between two pieces is a space
_COLUMN_ROWS = 5
_PROSE_CHARS = 20
_PROSE_WORDS = 3.5
_OTHER_SIZE = 1.1
_FAR_APART = 1.35  # of the usual distance between two lines
_LEADING = 1.2  # of the size of the letters: the distance where a page has too few lines to tell
_EVEN = 0.1  # of a distance: another one is as good as the same
_MUCH_LARGER = 1.3
_FEW_LETTERS = 3
_FEW_LINES = 3
_TITLE_WORDS = 14
_PAGE_NUMBER = re.compile(r"\w{0,8}[ \t]?\d{1,5}([ \t]\w{1,4}[ \t]\d{1,5}|/\d{1,5})?")
_MOST_TITLES = 3  # one in so many lines
_ENDS_SENTENCE = re.compile(r"[.!?:;…。！？]['\"”’»)\]]*\s*$")


@dataclass(frozen=True, slots=True)
class Line:
    """A piece of text on one line and its box: x to the right, y down, in any unit.

    `size` is the size of its letters, and `base` the line on which they stand; 0: unknown.
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
    usual = _usual_distances(page)
    gaps = [_distance(above, below) for (_, above), (_, below) in pairwise(page)]
    text = [page[0][0]] if page else []
    for n, ((_, above), (line, below)) in enumerate(pairwise(page)):
        beside = [gap for gap in (gaps[n - 1] if n else None, gaps[n + 1] if n + 1 < len(gaps) else None) if gap]
        if above is not None and below is not None and _starts_paragraph(above, below, usual, beside):
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
    running = {text for text, n in n_pages.items() if n > 1 and 2 * n > len(pages)}
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
    is_short = len(text.split()) <= _TITLE_WORDS and any(map(str.isalpha, text))
    return is_short and text.rstrip()[-1:] not in ".,;:" and not _PAGE_NUMBER.fullmatch(text.strip())


def _distance(above: Line | None, below: Line | None) -> float | None:
    """How far a line stands below another in letters of the same size; None for what does not."""
    if above is None or below is None or not above.size or not below.size or _is_other_size(above, below):
        return None
    return below.base - above.base if below.base > above.base else None


def _usual_distances(page: PageLines) -> dict[float, float]:
    """The median distance between two lines, by the size of their letters; none for a size with too few lines."""
    distances: dict[float, list[float]] = {}
    for (_, above), (_, below) in pairwise(page):
        distance = _distance(above, below)
        if below is not None and distance is not None:
            distances.setdefault(_rounded(below.size), []).append(distance)
    return {size: median(found) for size, found in distances.items() if len(found) >= _FEW_LINES}


def _is_other_size(above: Line, below: Line, ratio: float = _OTHER_SIZE) -> bool:
    return max(above.size, below.size) > ratio * min(above.size, below.size)


def _starts_paragraph(above: Line, below: Line, usual: Mapping[float, float], beside: Sequence[float]) -> bool:
    """Whether a line begins a paragraph. `beside` are the distances before and after that between the two.

    A sentence that goes on in small letters is never parted, nor one in an evenly spaced run of lines.
    """
    if not above.size or not below.size:
        return False
    is_ended = bool(_ENDS_SENTENCE.search(above.text))
    goes_on = below.text[:1].islower() and not is_ended
    if _is_other_size(above, below):
        return not goes_on or _is_other_size(above, below, _MUCH_LARGER)
    distance, own = _distance(above, below), usual.get(_rounded(below.size))
    if goes_on or distance is None or distance <= _FAR_APART * (own or _LEADING * below.size):
        return False
    is_run = own is None or any(abs(other - distance) <= _EVEN * distance for other in beside)
    return is_ended or not is_run


def _whole(row: Row) -> Line:
    """A row as one line, with the size of its largest letters."""
    largest = max(row, key=_weight)
    return replace(largest, text=" ".join(cell.text for cell in row))


def _weight(line: Line) -> tuple[bool, float]:
    """For the piece of a row that tells its size: a drop capital or a sign does not."""
    return len(line.text) >= _FEW_LETTERS, line.size


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
        if cells and _is_same_cell(cells, piece):
            last = cells[-1]
            gap = " " if piece.left - last.right > _SPACE * piece.height else ""
            largest = max(last, piece, key=_weight)
            cells[-1] = Line(
                last.text + gap + piece.text,
                last.left,
                min(last.top, piece.top),
                max(last.right, piece.right),
                max(last.bottom, piece.bottom),
                largest.size,
                largest.base,
            )
        else:
            cells.append(piece)
    return cells


def _is_same_cell(cells: Row, piece: Line) -> bool:
    """Whether a piece belongs to the last cell of its row: it is near, or that cell numbers a heading or an item."""
    gap = piece.left - cells[-1].right
    height = max(piece.height, cells[-1].height)
    is_numbered = len(cells) == 1 and bool(_NUMBER.fullmatch(cells[0].text)) and piece.text[:1].isalpha()
    return gap < (_NUMBER_GAP if is_numbered else _SAME_CELL) * height


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
        lone = [_whole(row) for row in table] if len(table) == 1 else []
        text += [(line.text, line) for line in lone] or [(record, None) for record in _table(table)]
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
