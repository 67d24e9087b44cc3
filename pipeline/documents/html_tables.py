"""Tables of a page: spans repeated, the header found, and a line of text for each row, which names its columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.documents.lines import Lines, take_lines
from pipeline.documents.tables import count_of, split_header

if TYPE_CHECKING:
    from lxml.etree import _Element

_MAX_SPAN = 100  # a span of more rows or columns is a mistake of the page


@dataclass(frozen=True, slots=True)
class Cell:
    """`text` may hold the marks of lines. `is_name`: the page marks the cell as a header, or writes it bold."""

    text: str = ""
    is_name: bool = False
    n_rows: int = 1
    n_columns: int = 1


@dataclass(slots=True)
class Table:
    """A table as it is read, row by row. `caption` stands in front of each row."""

    element: Any
    caption: str = ""
    rows: list[list[Cell]] = field(default_factory=list)

    def lines(self) -> Iterator[tuple[str, Lines]]:
        """Each row as text, and where the lines of the file change in it."""
        grid = _grid(self.rows)
        plain = [tuple(" ".join(take_lines(cell.text)[0].split()) for cell in row) for row in grid]
        if all(len(row) == 2 and row[0].is_name and not row[1].is_name for row in grid):
            for cells, row in zip(plain, grid, strict=True):
                yield _joined([(cells[0], row[1])] if all(cells) else [("", cell) for cell in row], self.caption, "")
            return
        n_names = next((n for n, row in enumerate(grid) if not all(cell.is_name or not cell.text for cell in row)), 0)
        above, header, below = split_header(plain, min(n_names, 4))
        is_repeated = all(
            any(len(row) > n and row[n] for row in plain[below:]) for n, name in enumerate(header) if name
        )
        for n, row in enumerate(grid):
            if header and above <= n < below and is_repeated:
                continue
            if header and n >= below:
                names = [header[i] if i < len(header) else "" for i in range(len(row))]
                pairs = [(name, cell) for name, cell, words in zip(names, row, plain[n], strict=True) if words]
                yield _joined(pairs, self.caption, "")
            elif sum(map(bool, plain[n])) == 1:
                yield _joined([("", cell) for cell, words in zip(row, plain[n], strict=True) if words], "", "")
            else:
                yield _joined([("", cell) for cell in row], "", "|")


def read_cell(element: _Element, text: str) -> Cell:
    n_rows, n_columns = (count_of(element.get(name), _MAX_SPAN) for name in ("rowspan", "colspan"))
    return Cell(text, element.tag == "th" or _is_bold(element), n_rows, n_columns)


def _is_bold(element: _Element) -> bool:
    words = "".join("".join(element.itertext()).split())
    bold = "".join("".join("".join(part.itertext()) for part in element.iter("strong", "b")).split())
    return bool(words) and words == bold


def _grid(rows: list[list[Cell]]) -> list[list[Cell]]:
    """The rows with each cell in all the places that it spans."""
    grid: list[list[Cell]] = []
    above: dict[int, tuple[int, Cell]] = {}  # by column: a cell of a row above, and how many rows it still takes
    for row in rows:
        filled: list[Cell] = []
        waiting = list(row)
        below: dict[int, tuple[int, Cell]] = {}
        while waiting or any(column >= len(filled) for column in above):
            column = len(filled)
            if column in above:
                n, cell = above.pop(column)
                filled.append(cell)
                if n > 1:
                    below[column] = (n - 1, cell)
            elif waiting:
                cell = waiting.pop(0)
                for column in range(len(filled), len(filled) + cell.n_columns):
                    filled.append(cell)
                    if cell.n_rows > 1:
                        below[column] = (cell.n_rows - 1, cell)
            else:
                filled.append(Cell())
        above = below
        grid.append(filled)
    return grid


def _joined(pairs: list[tuple[str, Cell]], caption: str, bar: str) -> tuple[str, Lines]:
    """`name: value; name: value`, or `| value | value |` with a bar; the line of a name is that of its value."""
    text = "| " if bar else f"{caption} · " if caption else ""
    marks: list[tuple[int, int | None]] = []
    for n, (name, cell) in enumerate(pairs):
        text += (" | " if bar else "; ") if n else ""
        value, lines = take_lines(cell.text)
        start = len(text)
        text += f"{name}: " if name else ""
        if lines:
            is_known = "[image: " not in value  # words of an attribute, which has no mark
            marks.append((start if n else 0, lines[0][1] if is_known else None))
            marks += [(len(text) + offset, line) for offset, line in lines[1:] if is_known]
        text += value
    return text + (" |" if bar else ""), tuple(marks)
