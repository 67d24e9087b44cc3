"""XLSX, read by openpyxl: a heading for each sheet, a line for each row, which names its columns."""

from __future__ import annotations

import datetime
import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.documents.delimited import cell_range
from pipeline.documents.limits import check_unpacked_data
from pipeline.documents.tables import Grid, is_value, table_lines
from pipeline.documents.text import readable_name
from pipeline.documents.writer import Writer
from pipeline.errors import DocumentError
from pipeline.types import Document

if TYPE_CHECKING:
    from openpyxl.worksheet.worksheet import Worksheet

Row = dict[int, str]
"""The cells of a row that hold something, by column, counted from 1."""
_MAX_MERGED = 10_000  # cells: a larger merged range is not repeated
_MAX_ALL_MERGED = 3_000_000  # openpyxl makes an object of each: 100,000 take some seconds
_FORMULA = re.compile(rb"<(?:\w+:)?f[ >]")
_MERGED = re.compile(rb"<(?:\w+:)?mergeCell\b[^>]*?\bref=[\"']([A-Za-z]+\d+:[A-Za-z]+\d+)[\"']")
_DEFAULT_NAME = re.compile(r"(sheet|tabelle|feuil|hoja|sayfa|foglio|blad|ark|лист)\s?\d*", re.IGNORECASE)


def load_xlsx(path: Path, data: bytes) -> Document:
    """The sheets in order, hidden ones and rows included and noted. The labels are ranges: `Budget!A3:E3`.

    Cells hold the results that formulas had when the file was saved, and the formula where none was saved. Raises
    DocumentError for a file that is broken.
    """
    import openpyxl

    try:
        check_unpacked_data(str(path), data)
        has_formulas = _look_at_sheets(path, data)
        workbook = openpyxl.load_workbook(io.BytesIO(data), data_only=True)
        formulas = openpyxl.load_workbook(io.BytesIO(data)) if has_formulas else None
    except DocumentError:
        raise
    except Exception as error:
        # openpyxl raises whatever its XML reader, zipfile or a dictionary raises: any of them means a broken file.
        raise DocumentError(f"{path}: a broken XLSX ({error}): open it in a spreadsheet and save it again") from None
    writer = Writer()
    notes: list[str] = []
    n_bare = 0
    for sheet in workbook.worksheets:
        if sheet.sheet_state != "visible":
            notes.append(f"the sheet {sheet.title!r} is hidden, and was read")
        rows, comments = _read(sheet)
        if formulas is not None:
            n_bare += _fill_in(rows, formulas[sheet.title])
        if rows:
            write_sheet(writer, sheet.title, _listed(rows), has_siblings=len(workbook.worksheets) > 1)
        for cell, comment in comments:
            writer.block(f"Comment on {sheet.title}!{cell}: {comment}", f"{sheet.title}!{cell}")
        hidden = sum(bool(dimension.hidden) for dimension in sheet.row_dimensions.values())
        notes += [f"{hidden} hidden row{'s' if hidden > 1 else ''} of {sheet.title!r} read"] if hidden else []
        columns = [letters for letters, dimension in sheet.column_dimensions.items() if dimension.hidden]
        notes += [f"hidden columns of {sheet.title!r} read: {', '.join(columns)}"] if columns else []
    notes += [f"the chart sheet {sheet.title!r} is not read" for sheet in workbook.chartsheets]
    if n_bare:
        notes.append(f"{n_bare} formulas without a result: open the file in a spreadsheet and save it")
    title = str(workbook.properties.title or "") or readable_name(path)
    return writer.document(path, "xlsx", title, notes)


def write_sheet(writer: Writer, name: str, rows: Sequence[tuple[int, Sequence[str]]], has_siblings: bool) -> None:
    """Writes a sheet: its name as a heading and in front of each row, unless it is a default name and the only one."""
    shown = name if has_siblings or not _DEFAULT_NAME.fullmatch(name) else ""
    writer.heading(shown, 1, f"{name}!A1" if shown else None)
    for table in _tables(rows):
        grid = Grid([tuple(cells) for _, cells in table], [number for number, _ in table])
        lengths = {number: _extent(cells) for number, cells in table}
        for row in table_lines(grid, shown, assume_header=True):
            first, last = lengths[row.place]
            writer.block(row.text, f"{name}!{cell_range(row.place, first, last)}", is_tight=True)


def _tables(rows: Sequence[tuple[int, Sequence[str]]]) -> Iterator[list[tuple[int, Sequence[str]]]]:
    """The rows between empty ones: each run is a table of its own, unless it goes on with the columns above it.

    A run goes on where its first row holds a number or a date, as no header does.
    """
    table: list[tuple[int, Sequence[str]]] = []
    previous = 0
    for number, cells in rows:
        if not any(cells):
            continue
        is_apart = table and number != previous + 1
        if is_apart and not any(is_value(cell) for cell in cells):
            yield table
            table = []
        table.append((number, cells))
        previous = number
    if table:
        yield table


def _extent(cells: Sequence[str]) -> tuple[int, int]:
    """The first and the last column that hold something, counted from 1."""
    filled = [n for n, cell in enumerate(cells, 1) if cell]
    return (filled[0], filled[-1]) if filled else (1, 1)


def _read(sheet: Worksheet) -> tuple[dict[int, Row], list[tuple[str, str]]]:
    """The rows by number, merged cells repeated; and the comments by cell."""
    rows: dict[int, Row] = {}
    comments: list[tuple[str, str]] = []
    for (number, column), cell in _cells(sheet):
        if shown := _shown(cell):
            rows.setdefault(number, {})[column] = shown
        comment = getattr(cell, "comment", None)
        if comment is not None:
            comments.append((cell.coordinate, " ".join(str(comment.text).split())))
    width = sheet.max_column
    for merged in sheet.merged_cells.ranges:
        value = rows.get(merged.min_row, {}).get(merged.min_col, "")
        is_caption = merged.min_row == merged.max_row and merged.max_col - merged.min_col + 1 >= width
        if value and not is_caption and merged.size["rows"] * merged.size["columns"] <= _MAX_MERGED:
            for number in range(merged.min_row, merged.max_row + 1):
                rows.setdefault(number, {}).update(dict.fromkeys(range(merged.min_col, merged.max_col + 1), value))
    return rows, comments


def _cells(sheet: Any) -> list[tuple[tuple[int, int], Any]]:
    """((row, column), cell) of each cell that the file has, row by row.

    Not `iter_rows`, which makes a cell for every place up to the last one: with one stray cell in T300000 that took
    three minutes and 1.6 GB.
    """
    return sorted(sheet._cells.items(), key=lambda item: item[0])


def _fill_in(rows: dict[int, Row], sheet: Any) -> int:
    """Puts formulas into the cells without a result; how many there are."""
    n = 0
    for (number, column), cell in _cells(sheet):
        if cell.data_type == "f" and column not in rows.get(number, {}):
            formula = cell.value
            rows.setdefault(number, {})[column] = str(getattr(formula, "text", formula) or "")
            n += 1
    return n


def _listed(rows: dict[int, Row]) -> list[tuple[int, list[str]]]:
    """(row number, its cells up to the last that holds something), in order."""
    return [(number, [row.get(n, "") for n in range(1, max(row) + 1)]) for number, row in sorted(rows.items())]


def _shown(cell: Any) -> str:
    """A cell as its sheet shows it: dates as ISO 8601, shares in percent, no zeros that are not in the number."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, datetime.datetime):
        return value.date().isoformat() if value.time() == datetime.time() else value.isoformat(" ", "minutes")
    if isinstance(value, datetime.date | datetime.time | datetime.timedelta):
        return str(value)
    if isinstance(value, int | float):
        if "%" in (cell.number_format or ""):
            return f"{value * 100:.10g}%"
        return f"{value:.15g}"
    return str(value).strip()


def _look_at_sheets(path: Path, data: bytes) -> bool:
    """Whether a cell holds a formula. Raises DocumentError for merged cells of which openpyxl would make too many."""
    has_formulas, n_merged = False, 0
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            if name.startswith("xl/worksheets/"):
                sheet = archive.read(name)
                has_formulas = has_formulas or bool(_FORMULA.search(sheet))
                n_merged += sum(_n_cells(match[1].decode()) for match in _MERGED.finditer(sheet))
    if n_merged > _MAX_ALL_MERGED:
        raise DocumentError(f"{path}: merges {n_merged} cells, whole columns or rows perhaps: take the merging back")
    return has_formulas


def _n_cells(reference: str) -> int:
    """The cells of a range such as `A1:C9`."""
    from openpyxl.worksheet.cell_range import CellRange

    size = CellRange(reference).size
    return int(size["rows"] * size["columns"])
