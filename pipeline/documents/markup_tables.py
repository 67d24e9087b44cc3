"""Tables that a blank line does not part from other text, or that are not drawn with bars: AsciiDoc, rST, Org."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipeline.documents.pipes import read_pipe_table
from pipeline.documents.tables import Cells, Grid

Tables = dict[int, tuple[int, Grid]]
"""By line, counted from 0: how many lines the table that begins there takes, and its rows."""

_FENCE = re.compile(r"\|={3,}\s*$")
_ATTRIBUTES = re.compile(r"\[.*\]\s*$")
_COLUMNS = re.compile(r"cols\s*=\s*(?:\"([^\"]*)\"|([^,\]]+))")
_HAS_HEADER = re.compile(r"%[\w%]*header|options\s*=\s*\"[^\"]*header|opts\s*=\s*\"?[^\"\]]*header")
_CELL = re.compile(r"(?<!\\)(?:(?<=\s)|^)([\d.+*<^>]*[adehlmsv]?)\|")
_ORG_BLOCK = re.compile(r"\s*#\+(begin|end)_\w+", re.IGNORECASE)
_MAX_LINES = 5000  # of a simple table, so that rules without an end cost little
_RULE = re.compile(r"=+(?: +=+)+\s*$")


def adoc_tables(lines: Sequence[str]) -> Tables:
    """Tables between two `|===`. A table whose cells span others stays text, and so does one without an end."""
    tables: Tables = {}
    n = 0
    while n < len(lines):
        end = next((m for m in range(n + 1, len(lines)) if _FENCE.match(lines[m])), 0) if _FENCE.match(lines[n]) else 0
        if end:
            above = lines[n - 1] if n and _ATTRIBUTES.match(lines[n - 1]) else ""
            grid = _adoc_grid(lines[n + 1 : end], n + 2, above)
            if grid is not None:
                tables[n] = (end + 1 - n, grid)
        n = max(end, n) + 1
    return tables


def rst_tables(lines: Sequence[str]) -> Tables:
    """Simple tables: a rule `====  ===`, the header, a rule, the rows, a rule. A blank line may stand between rows."""
    tables: Tables = {}
    n = 0
    while n < len(lines):
        rules: list[int] = []
        if _RULE.match(lines[n]):
            for m in range(n, min(n + _MAX_LINES, len(lines))):
                if lines[m].strip() == lines[n].strip():
                    rules.append(m)
                    if len(rules) > 1 and (m + 1 == len(lines) or not lines[m + 1].strip()):
                        break
        if len(rules) > 1:
            tables[n] = (rules[-1] + 1 - n, _rst_grid(lines, rules))
        n = rules[-1] + 1 if len(rules) > 1 else n + 1
    return tables


def org_tables(lines: Sequence[str]) -> Tables:
    """Runs of lines that begin with a bar, outside of blocks."""
    tables: Tables = {}
    is_block = False
    n = 0
    while n < len(lines):
        if block := _ORG_BLOCK.match(lines[n]):
            is_block = block[1].lower() == "begin"
        end = n
        while not is_block and end < len(lines) and lines[end].lstrip().startswith("|"):
            end += 1
        grid = read_pipe_table(lines[n:end], n + 1) if end > n else None
        if grid is not None:
            tables[n] = (end - n, grid)
        n = max(end, n + 1)
    return tables


def _adoc_grid(lines: Sequence[str], first: int, attributes: str) -> Grid | None:
    cells: list[str] = []
    places: list[int] = []
    n_first = 0
    for n, line in enumerate(lines):
        marks = list(_CELL.finditer(line))
        if any(re.search(r"[+*]", mark[1]) for mark in marks):
            return None
        before = (line[: marks[0].start()] if marks else line).strip()
        if before and not cells:
            return None
        if before:
            cells[-1] = f"{cells[-1]} {before}".strip()
        ends = [*(mark.start() for mark in marks[1:]), len(line)]
        for mark, end in zip(marks, ends, strict=False):
            cells.append(line[mark.end() : end].strip().replace("\\|", "|"))
            places.append(first + n)
        n_first = n_first or len(marks)
    width = _n_columns(attributes) or n_first
    if not cells or not width or len(cells) % width:
        return None
    rows: list[Cells] = [tuple(cells[n : n + width]) for n in range(0, len(cells), width)]
    is_apart = n_first == width and len(lines) > 1 and bool(lines[0].strip()) and not lines[1].strip()
    n_marked = int(len(rows) > 1 and (bool(_HAS_HEADER.search(attributes)) or is_apart))
    return Grid(rows, places[::width], n_marked)


def _n_columns(attributes: str) -> int:
    """How many columns an attribute such as `cols="1,2*,3"` names; 0 for none."""
    match = _COLUMNS.search(attributes)
    if match is None:
        return 0
    counts = (re.match(r"(\d{1,3})\*", column.strip()) for column in (match[1] or match[2]).split(","))
    return sum(int(count[1]) if count else 1 for count in counts)


def _rst_grid(lines: Sequence[str], rules: Sequence[int]) -> Grid:
    starts = [match.start() for match in re.finditer(r"=+", lines[rules[0]])]
    rows: list[list[str]] = []
    places: list[int] = []
    n_marked = 0
    for n in range(rules[0] + 1, rules[-1]):
        if n in rules:
            n_marked = n_marked or len(rows)
            continue
        ends = [*starts[1:], None]
        cells = [lines[n][start:end].strip() for start, end in zip(starts, ends, strict=True)]
        if not cells[0] and rows and any(cells):  # the row above goes on
            rows[-1] = [" ".join(filter(None, pair)) for pair in zip(rows[-1], cells, strict=True)]
        elif any(cells):
            rows.append(cells)
            places.append(n + 1)
    return Grid([tuple(row) for row in rows], places, n_marked)
