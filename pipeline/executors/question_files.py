"""The one reader of question files for `run`, `eval` and `calibrate`: JSON lines, a JSON list, or a table.

Questions are independent: a fault concerns one question, and the others are read. A line ends at a newline and not at
U+2028, which JSON allows within a text. UTF-16 and UTF-32 are detected by their byte order mark, or by their NULs.
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
from pipeline.retrieval.filters import read_filter

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
    """One entry of a question file: a value, or a fault.

    `where` is its place for messages (`q.jsonl:3`, `q.json: [2]`), `name` the line or number in it.
    """

    where: str
    name: str
    value: Any = None
    fault: str = ""


def read_rows(path: Path) -> list[Row]:
    """Reads a file's rows, in order. Raises DataError for a file that cannot be read or is of another format."""
    data = read_utf8(path)
    suffix = path.suffix.lower()
    if suffix in TABLES:
        return list(_table_rows(path, data))
    if suffix in JSON_LINES:
        return list(json_rows(path, data))
    raise DataError(f"{path}: must be JSON lines (.jsonl), a JSON list (.json) or a table (.csv, .tsv), by its name")


def read_utf8(path: Path) -> bytes:
    """Reads a file as UTF-8 bytes without a byte order mark; leaves undecodable bytes unchanged. Raises DataError."""
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
    """Detects UTF-16 without a mark: the file's first characters are ASCII, so every second byte is NUL."""
    head = data[:64]
    if len(head) < 4 or b"\0" not in head:
        return None
    even, odd = head[::2].count(0), head[1::2].count(0)
    if not even and odd > len(head) // 4:
        return "utf-16-le"
    return "utf-16-be" if not odd and even > len(head) // 4 else None


def json_rows(path: Path, data: bytes) -> Iterator[Row]:
    """Yields the values of a JSON list, or else of each line."""
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
    """Yields a table's rows by the column names of its first line, in any case; detects the delimiter."""
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
    """Whether an empty cell of the column counts as missing."""
    return name in _LEFT_OUT_WHEN_EMPTY or name.startswith(_NAMELESS)


def _delimiter(path: Path, text: str) -> str:
    """Returns the delimiter with which the first line has a column `question`."""
    first = next((line for line in text.split("\n") if line.strip()), "")
    usual = "\t" if path.suffix.lower() == ".tsv" else ","
    for delimiter in usual + _DELIMITERS:
        names = next(csv.reader([first], delimiter=delimiter), [])
        if "question" in map(_column, names) and (len(names) > 1 or delimiter == _DELIMITERS[-1]):
            return delimiter
    return usual


def _column(cell: str) -> str:
    """Returns a column's name; lower-cases the names that have a meaning."""
    name = cell.strip()
    return name.lower() if name.lower() in _MEANINGS else name


def name_of(value: dict[str, object], default: str) -> str:
    """Returns a question's id as text. Raises ValueError if it is neither text nor an integer."""
    name = value.get("id", default)
    if not isinstance(name, str | int) or isinstance(name, bool) or name == "":
        raise ValueError(f"has an 'id' that is no text: {json.dumps(name)[:60]}")
    return str(name)


def glob_of(value: dict[str, object]) -> str | None:
    """Returns a question's glob. Raises ValueError for one that is no text."""
    glob = value.get("glob")
    if glob is not None and not isinstance(glob, str):
        raise ValueError(f"has a 'glob' that is no text: {json.dumps(glob)[:60]}")
    return glob


def filter_of(value: dict[str, object]) -> str:
    """Returns a question's filter, "" for none. Raises ValueError for one that cannot be read."""
    text = value.get("filter")
    if text is None:
        return ""
    if not isinstance(text, str):
        raise ValueError(f"has a 'filter' that is no text: {json.dumps(text)[:60]}")
    if text.strip():
        read_filter(text)  # FilterError is a ValueError
    return text.strip()


def default_names(rows: list[Row]) -> list[str]:
    """Returns each row's default id: its number, unless another row has that id."""
    given = {str(row.value["id"]) for row in rows if isinstance(row.value, dict) and row.value.get("id") is not None}
    return [f"line {row.name}" if row.name in given else row.name for row in rows]


def check_text(text: str) -> None:
    """Raises ValueError for a text that UTF-8 cannot encode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half a character (a lone surrogate)") from None
