"""Files of questions, read in one way for `run`, `eval` and `calibrate`: JSON lines, a JSON list, or a table.

Each question stands alone: what is wrong with one is said of that one, and the others are read. A line ends at a
newline and not at U+2028, which JSON allows within a text. UTF-16 and UTF-32 are read by their mark, or by their NULs.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.documents.limits import read_file
from pipeline.errors import DataError

JSON_LINES = (".jsonl", ".ndjson", ".jsonlines", ".json")
TABLES = (".csv", ".tsv")
_MARKS = (  # the longest first: UTF-32's mark begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DELIMITERS = ",;\t"


@dataclass(frozen=True)
class Row:
    """One question as it stands in a file: an object, or what is wrong with it.

    `where` is its place for messages (`q.jsonl:3`, `q.json: [2]`), `name` the line or number in that.
    """

    where: str
    name: str
    value: Any = None
    fault: str = ""


def read_rows(path: Path) -> list[Row]:
    """The rows of a file, in its order. Raises DataError for a file that cannot be read, or is of another kind."""
    data = read_utf8(path)
    suffix = path.suffix.lower()
    if suffix in TABLES:
        return list(_table_rows(path, data))
    if suffix in JSON_LINES:
        return list(json_rows(path, data))
    raise DataError(f"{path}: must be JSON lines (.jsonl), a JSON list (.json) or a table (.csv, .tsv), by its name")


def read_utf8(path: Path) -> bytes:
    """The file's bytes as UTF-8 without a mark; other bytes than text are left as they are. Raises DataError."""
    try:
        data = read_file(path, DataError)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    encoding = next((encoding for mark, encoding in _MARKS if data.startswith(mark)), None) or _without_mark(data)
    if encoding is None:
        return data.removeprefix(codecs.BOM_UTF8)
    try:
        return data.decode(encoding).encode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: byte {error.start} is no {encoding.upper()}: save it as UTF-8") from None


def _without_mark(data: bytes) -> str | None:
    """UTF-16 as it looks without its mark: the first characters of such a file are of ASCII."""
    head = data[:64]
    if len(head) < 4 or b"\0" not in head:
        return None
    even, odd = head[::2].count(0), head[1::2].count(0)
    if not even and odd > len(head) // 4:
        return "utf-16-le"
    return "utf-16-be" if not odd and even > len(head) // 4 else None


def json_rows(path: Path, data: bytes) -> Iterator[Row]:
    """Each value of a JSON list, else of each line."""
    if path.suffix.lower() == ".json" or data.lstrip()[:1] == b"[":
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            pass
        else:
            for n, item in enumerate(value if isinstance(value, list) else [value]):
                yield Row(f"{path}: [{n}]", str(n), item)
            return
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip():
            yield _json_row(path, number, line)


def _json_row(path: Path, number: int, line: bytes) -> Row:
    where = f"{path}:{number}"
    try:
        return Row(where, str(number), json.loads(line.decode("utf-8")))
    except UnicodeDecodeError:
        return Row(where, str(number), fault="is not UTF-8")
    except RecursionError:
        return Row(where, str(number), fault="is nested too deeply")
    except json.JSONDecodeError as error:
        return Row(where, str(number), fault=f"is no JSON: {error.msg} at column {error.colno}")
    except ValueError as error:  # a number of too many digits
        return Row(where, str(number), fault=str(error))


def _table_rows(path: Path, data: bytes) -> Iterator[Row]:
    """The rows of a table by the names of its first line; `Question` is `question`, and a semicolon may part cells."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: the table is not UTF-8: save it as UTF-8") from None
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(path, text))
    header: list[str] | None = None
    last = 0
    while True:
        number = last + 1
        try:
            row = next(rows, None)
        except csv.Error as error:
            last = rows.line_num
            yield Row(f"{path}:{number}", str(number), fault=f"cannot be read: {error}")
            continue
        last = rows.line_num
        if row is None:
            return
        if not any(cell.strip() for cell in row):
            continue
        if header is None:
            header = [_column(cell) or f"{_NAMELESS}{n}" for n, cell in enumerate(row, 1)]
            if len(set(header)) < len(header):
                twice = next(name for name in header if header.count(name) > 1)
                raise DataError(f"{path}:{number}: two columns are called {twice!r}: give each its own name")
            if "question" not in header:
                raise DataError(f"{path}:{number}: the first line must name the columns, one of them 'question'")
        elif len(row) != len(header):
            fault = f"has {len(row)} cells, and the first line names {len(header)} columns"
            yield Row(f"{path}:{number}", str(number), fault=fault)
        else:
            cells = dict(zip(header, row, strict=True))
            value = {name: cell for name, cell in cells.items() if cell or not _is_left_out(name)}
            yield Row(f"{path}:{number}", str(number), value)


_NAMELESS = "column "
_MEANINGS = ("id", "question", "glob", "filter", "documents", "answer", "answers")
_LEFT_OUT_WHEN_EMPTY = ("id", "question", "glob", "filter", "documents")


def _is_left_out(name: str) -> bool:
    """Whether an empty cell of the column says nothing."""
    return name in _LEFT_OUT_WHEN_EMPTY or name.startswith(_NAMELESS)


def _delimiter(path: Path, text: str) -> str:
    """What parts the cells of the first line: that which has a column `question` come of it."""
    first = next((line for line in text.split("\n") if line.strip()), "")
    usual = "\t" if path.suffix.lower() == ".tsv" else ","
    for delimiter in usual + _DELIMITERS:
        names = next(csv.reader([first], delimiter=delimiter), [])
        if "question" in map(_column, names) and (len(names) > 1 or delimiter == _DELIMITERS[-1]):
            return delimiter
    return usual


def _column(cell: str) -> str:
    """The column's name as it is; those that have a meaning in small letters."""
    name = cell.strip()
    return name.lower() if name.lower() in _MEANINGS else name


def name_of(value: dict[str, Any], default: str) -> str:
    """A question's id as text. Raises ValueError for one that is neither text nor a whole number."""
    found = value.get("id", default)
    if not isinstance(found, str | int) or isinstance(found, bool) or found == "":
        raise ValueError(f"has an 'id' that is no text: {json.dumps(found)[:60]}")
    return str(found)


def default_names(rows: list[Row]) -> list[str]:
    """For each row the id that it has where it gives none: its number, unless another row has that."""
    given = {str(row.value["id"]) for row in rows if isinstance(row.value, dict) and row.value.get("id") is not None}
    return [f"line {row.name}" if row.name in given else row.name for row in rows]


def check_text(text: str) -> None:
    """Raises ValueError for a text that cannot be written down."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half a character (a lone surrogate)") from None
