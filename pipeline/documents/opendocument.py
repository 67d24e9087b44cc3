"""OpenDocument: texts and presentations (ODT, ODP) and spreadsheets (ODS), from their XML."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.documents.limits import BROKEN_ZIP, check_unpacked
from pipeline.documents.spreadsheet import write_sheet
from pipeline.documents.tables import Cells, Grid, count_of, table_lines
from pipeline.documents.text import readable_name
from pipeline.documents.writer import Writer
from pipeline.documents.xml_element import XmlElement
from pipeline.documents.xml_entities import parse_xml
from pipeline.errors import DocumentError
from pipeline.types import Document

_NAMES = "{urn:oasis:names:tc:opendocument:xmlns:%s:1.0}"
_TEXT, _TABLE, _OFFICE, _DRAW = (_NAMES % part for part in ("text", "table", "office", "drawing"))
_MAX_REPEATS = 1000  # a spreadsheet fills itself up to its last row with one repeated cell
_MAX_COLUMNS = 2000
_MAX_ROWS = 1 << 20  # of a sheet in LibreOffice


def load_odt(path: Path, data: bytes) -> Document:
    """Headings, paragraphs, lists, tables and notes in order; of a presentation the slides, `slide 2`.

    Tracked changes are read as accepted, and noted like comments. Raises DocumentError for a broken file.
    """
    root, title = _open(path, data)
    body = root.find(f".//{_OFFICE}body")
    writer = Writer()
    if body is None:
        writer.block(" ".join(" ".join(root.itertext()).split()))
        return writer.document(path, "odt", readable_name(path), ["no OpenDocument: all its words were read"])
    pages = list(body.iter(f"{_DRAW}page"))
    for number, page in enumerate(pages, 1):
        _write(writer, page, f"slide {number}")
    if not pages:
        _write(writer, body, None)
    named = title or (writer.headings[0].title if writer.headings else readable_name(path))
    return writer.document(path, "odt", named, _notes(root))


def load_ods(path: Path, data: bytes) -> Document:
    """The sheets in order, each row with its columns' names; the labels are ranges: `Budget!A3:E3`."""
    root, title = _open(path, data)
    sheets = list(root.iter(f"{_TABLE}table"))
    writer = Writer()
    for sheet in sheets:
        rows = [(number, list(cells)) for number, cells in _rows(sheet)]
        if any(any(cells) for _, cells in rows):
            write_sheet(writer, sheet.get(f"{_TABLE}name", ""), rows, has_siblings=len(sheets) > 1)
    return writer.document(path, "ods", title or readable_name(path), _notes(root))


def _open(path: Path, data: bytes) -> tuple[XmlElement, str]:
    """The root of content.xml and the title of the properties."""
    from lxml import etree

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            check_unpacked(str(path), (info for info in archive.infolist() if info.filename.endswith(".xml")))
            root, _ = parse_xml(archive.read("content.xml"))
            meta = archive.read("meta.xml") if "meta.xml" in archive.namelist() else b""
    except (*BROKEN_ZIP, KeyError, etree.XMLSyntaxError) as error:
        raise DocumentError(f"{path}: a broken OpenDocument ({error}): open it in LibreOffice, save it again") from None
    try:
        title = parse_xml(meta)[0].findtext(".//{http://purl.org/dc/elements/1.1/}title") if meta else ""
    except etree.XMLSyntaxError:
        title = ""
    return root, " ".join((title or "").split())


def _write(writer: Writer, element: XmlElement, label: str | None, depth: int = 0) -> None:
    """Writes what is inside an element."""
    for child in element:
        tag = child.tag if isinstance(child.tag, str) else ""
        if tag == f"{_TEXT}h":
            writer.heading(_words(child), count_of(child.get(f"{_TEXT}outline-level"), 6), label)
        elif tag == f"{_TEXT}p":
            writer.block(_words(child), label)
            for box in child.iter(f"{_DRAW}text-box"):
                _write(writer, box, label)
        elif tag == f"{_TEXT}list":
            _write_list(writer, child, label, depth)
        elif tag == f"{_TABLE}table":
            grid = [row for row in _rows(child) if any(row[1])]
            n_marked = sum(1 for rows in child.iter(f"{_TABLE}table-header-rows") for _ in rows)
            for row in table_lines(Grid([cells for _, cells in grid], [n for n, _ in grid], min(n_marked, len(grid)))):
                writer.block(row.text, label, is_tight=True)
        elif tag not in (f"{_TEXT}tracked-changes", f"{_OFFICE}forms", f"{_TEXT}sequence-decls"):
            _write(writer, child, label, depth)


def _write_list(writer: Writer, element: XmlElement, label: str | None, depth: int) -> None:
    for item in element:
        for child in item:
            if child.tag == f"{_TEXT}list":
                _write_list(writer, child, label, depth + 1)
            elif words := _words(child):
                writer.block(f"{'  ' * depth}- {words}", label, is_tight=True)


def _words(element: XmlElement) -> str:
    """A paragraph's text; notes and comments in brackets, and no text boxes."""
    return re.sub(r" *\n *", "\n", re.sub(r"[ \t]+", " ", "".join(_pieces(element)))).strip()


def _pieces(element: XmlElement) -> Iterator[str]:
    yield (element.text or "").replace("\n", " ")
    for child in element:
        tag = child.tag if isinstance(child.tag, str) else ""
        if tag == f"{_TEXT}s":
            yield " " * count_of(child.get(f"{_TEXT}c"), 100)
        elif tag == f"{_TEXT}tab":
            yield " "
        elif tag == f"{_TEXT}line-break":
            yield "\n"
        elif tag == f"{_TEXT}note":
            body = child.find(f"{_TEXT}note-body")
            yield f" [note: {' '.join(_words(p) for p in body)}]" if body is not None else ""
        elif tag == f"{_OFFICE}annotation":
            yield f" [comment: {' '.join(' '.join(_words(p) for p in child.iter(f'{_TEXT}p')).split())}]"
        elif tag not in (f"{_DRAW}text-box", f"{_TEXT}ruby-text"):
            yield from _pieces(child)
        yield (child.tail or "").replace("\n", " ")


def _rows(table: XmlElement) -> Iterator[tuple[int, Cells]]:
    """(row number, cells) of a table, spanned cells repeated."""
    number = 1
    spans: dict[int, tuple[int, str]] = {}  # by column: for how many further rows a cell of above goes on, its text
    for row in table.iter(f"{_TABLE}table-row"):
        if next(row.iterancestors(f"{_TABLE}table")) is not table:
            continue
        cells: list[str] = []
        for cell in row:
            if cell.tag not in (f"{_TABLE}table-cell", f"{_TABLE}covered-table-cell"):
                continue
            repeats = count_of(cell.get(f"{_TABLE}number-columns-repeated"), _MAX_COLUMNS)
            words = " / ".join(filter(None, (_words(p) for p in cell.iter(f"{_TEXT}p", f"{_TEXT}h"))))
            for _ in range(min(repeats, _MAX_COLUMNS - len(cells))):
                if not words and cell.tag == f"{_TABLE}covered-table-cell" and len(cells) in spans:
                    cells.append(spans[len(cells)][1])
                else:
                    cells.append(words)
            n_rows = count_of(cell.get(f"{_TABLE}number-rows-spanned"), _MAX_ROWS)
            n_columns = count_of(cell.get(f"{_TABLE}number-columns-spanned"), _MAX_COLUMNS)
            for column in range(len(cells) - 1, min(len(cells) - 1 + n_columns, _MAX_COLUMNS)):
                if n_rows > 1 or n_columns > 1:
                    spans[column] = (n_rows, words)
        spans = {column: (n - 1, words) for column, (n, words) in spans.items() if n > 1}
        while cells and not cells[-1]:
            cells.pop()
        repeats = count_of(row.get(f"{_TABLE}number-rows-repeated"), _MAX_ROWS)
        for offset in range(min(repeats, _MAX_REPEATS) if cells else 0):
            yield number + offset, tuple(cells)
        number += repeats


def _notes(root: XmlElement) -> list[str]:
    notes = []
    if root.find(f".//{_TEXT}tracked-changes") is not None:
        notes.append("tracked changes: read as if all were accepted")
    n_comments = sum(1 for _ in root.iter(f"{_OFFICE}annotation"))
    if n_comments:
        notes.append(f"{n_comments} comment{'s' if n_comments > 1 else ''} read in the places where they stand")
    n_hidden = sum(row.get(f"{_TABLE}visibility") in ("collapse", "filter") for row in root.iter(f"{_TABLE}table-row"))
    if n_hidden:
        notes.append(f"{n_hidden} hidden row{'s' if n_hidden > 1 else ''} read")
    return notes
