"""Tables that are drawn with bars in a text: Markdown's, Org's and the grids of reStructuredText."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipeline.documents.tables import Cells, Grid

_BAR = re.compile(r"(?<!\\)\|")
_RULE = re.compile(r"(?=[^-]*-)[\s:|+=-]+|\s*\+[=+-]+\+\s*")


def read_pipe_table(lines: Sequence[str], first: int) -> Grid | None:
    """The rows of a table whose lines are these; `first` is the number of the first of them. None for no table.

    A rule of dashes below the first rows marks them as the header. Lines of one row of a grid are joined.
    """
    if len(lines) < 2 or not all(line.lstrip().startswith(("|", "+")) for line in lines):
        return None
    is_grid = lines[0].lstrip().startswith("+")
    rows: list[list[str]] = []
    places: list[int] = []
    n_marked = 0
    is_new = True
    for n, line in enumerate(lines):
        if _RULE.fullmatch(line):
            if not n_marked and rows and (not is_grid or "=" in line):
                n_marked = len(rows)
            is_new = True
            continue
        cells = split_bars(line)
        if is_grid and not is_new and len(cells) == len(rows[-1]):
            rows[-1] = [" ".join(filter(None, pair)) for pair in zip(rows[-1], cells, strict=True)]
            continue
        rows.append(list(cells))
        places.append(first + n)
        is_new = False
    return Grid([tuple(row) for row in rows], places, n_marked) if rows else None


def split_bars(line: str) -> Cells:
    """The cells of one line; a bar behind a backslash is a bar of the text."""
    inner = line.strip()
    inner = inner[1:] if inner.startswith("|") else inner
    inner = inner[:-1] if inner.endswith("|") and not inner.endswith("\\|") else inner
    return tuple(cell.strip().replace("\\|", "|") for cell in _BAR.split(inner))
