"""CSV and TSV: a line of text for each record, which names its columns."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pipeline.documents.tables import Cells, Grid, table_lines
from pipeline.documents.text import decode, load_text, readable_name
from pipeline.documents.writer import Writer
from pipeline.types import Document

_DELIMITERS = ",;\t|"
_SAMPLE_RECORDS = 50
_SAMPLE_CHARS = 100_000
_SAMPLE_LINES = 4  # a table may have thousands of columns, and so lines of any length
_FIELD_CHARS = 10_000_000
_RAGGED = "read as plain text: no delimiter cuts most of its lines into the same number of fields"


def load_delimited(path: Path, data: bytes) -> Document:
    """The records with their lines in the file and, as labels, the cells that a spreadsheet shows them in.

    A file whose records have a single field is read as text; one that no delimiter fits is as well, with a note.
    """
    text, notes = decode(path, data)
    first, _, rest = text.partition("\n")
    declared = first.strip().lower().startswith("sep=") and len(first.strip()) == 5
    delimiter = first.strip()[-1] if declared else find_delimiter(text)
    if not delimiter:
        document = load_text(path, data)
        is_list = not any(character in document.text for character in _DELIMITERS)
        return document if is_list else replace(document, notes=(*document.notes, _RAGGED))
    try:
        records = list(_records(rest if declared else text, delimiter, 2 if declared else 1))
    except csv.Error as error:
        document = load_text(path, data)
        return replace(document, notes=(*document.notes, f"read as plain text, for it is no CSV: {error}"))
    writer = Writer()
    grid = Grid([cells for _, _, cells in records], range(len(records)))
    for row in table_lines(grid, assume_header=True):
        number, line, cells = records[row.place]
        writer.block(row.text, cell_range(number, 1, len(cells)), line, is_tight=True)
    return writer.document(path, "csv", readable_name(path), notes)


def find_delimiter(text: str) -> str:
    """The delimiter that cuts the first records into the same number of fields most often; "" where none cuts."""
    sample = _sample(text)
    best = (0.0, 1, "")
    for delimiter in _DELIMITERS:
        counts: Counter[int] = Counter()
        try:
            for _, _, cells in _records(sample, delimiter, 1):
                counts[len(cells)] += any(cells)
                if counts.total() == _SAMPLE_RECORDS:
                    break
        except csv.Error:
            continue
        n_fields, n = max(((n, c) for n, c in counts.items() if n > 1), key=lambda item: item[1], default=(1, 0))
        best = max(best, (n / max(counts.total(), 1), n_fields, delimiter))
    return best[2] if best[0] > 0.5 else ""


def _sample(text: str) -> str:
    """The first lines of a text: as many as fit into _SAMPLE_CHARS, and a few however long they are."""
    end = -1
    for n in range(_SAMPLE_RECORDS * 4):
        after = text.find("\n", end + 1)
        if after < 0:
            return text
        if n >= _SAMPLE_LINES and after > _SAMPLE_CHARS:
            break
        end = after
    return text[: end + 1]


def cell_range(row: int, first: int, last: int) -> str:
    """`A3:E3`: columns count from 1."""
    left, right = f"{column_letters(first)}{row}", f"{column_letters(max(last, first))}{row}"
    return left if left == right else f"{left}:{right}"


def column_letters(number: int) -> str:
    """`A` for 1, `AA` for 27."""
    letters = ""
    while number:
        number, digit = divmod(number - 1, 26)
        letters = chr(ord("A") + digit) + letters
    return letters


def _records(text: str, delimiter: str, line: int) -> Iterator[tuple[int, int, Cells]]:
    """Of each record its row, its first line in the file, and its fields. The rows of a spreadsheet skip no line."""
    previous = csv.field_size_limit(_FIELD_CHARS)
    try:
        reader = csv.reader(io.StringIO(text, newline="\n"), delimiter=delimiter, skipinitialspace=delimiter != "\t")
        start = 0
        for number, cells in enumerate(reader, line):
            yield number, line + start, tuple(cells)
            start = reader.line_num
    finally:
        csv.field_size_limit(previous)
