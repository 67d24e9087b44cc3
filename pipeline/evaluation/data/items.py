"""Reads JSON objects with their places in the file, and looks up their keys with errors that name the place."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pipeline.errors import DataError
from pipeline.executors.question_files import json_rows, read_utf8
from pipeline.registry import nearest

T = TypeVar("T")
_WORDS = {str: "text", list: "a list", dict: "an object", int: "a whole number", bool: "true or false"}
_REQUIRED: Any = object()


def text_of(path: Path) -> str:
    """The file's text. Raises DataError if it cannot be read."""
    try:
        return read_utf8(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


def json_items(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields each object of a JSON or JSON Lines file with its place: `a.json: [3]`, `a.jsonl:4`.

    Raises DataError for an unreadable file and for a value that is not an object.
    """
    yield from json_items_of(read_utf8(path), path)


def json_items_of(data: bytes, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Like `json_items`, for the UTF-8 bytes of a file."""
    for row in json_rows(path.with_suffix(".json"), data):
        where = row.where.replace(str(path.with_suffix(".json")), str(path), 1)
        if row.fault:
            raise DataError(f"{where}: {row.fault}".replace(": is no JSON", ": no JSON"))
        yield where, _object(row.value, where)


def json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields each line's object with its place. Reads lazily, for files larger than memory."""
    try:
        with path.open("rb") as file:
            for n, line in enumerate(file, 1):
                if line.strip():
                    yield f"{path}:{n}", _object(_loads(line.removeprefix(BOM_UTF8), f"{path}:{n}"), f"{path}:{n}")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def _loads(line: bytes, where: str) -> Any:
    try:
        return json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: no JSON: {error}") from None


def _object(item: object, where: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise DataError(f"{where}: must be an object, was: {str(item)[:60]}")
    return item


def need(item: dict[str, Any], key: str, kind: type[T], where: str, default: Any = _REQUIRED) -> T:
    """The value of a key. Raises DataError for a wrong type, and for a missing key without a default."""
    if key not in item:
        if default is not _REQUIRED:
            return default  # type: ignore[no-any-return]
        raise DataError(f"{where}: has no '{key}'" + (nearest(key, list(item)) or f"; it has: {', '.join(item)[:120]}"))
    value = item[key]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise DataError(f"{where}: {key} must be {_WORDS[kind]}, was: {str(value)[:60]}")
    return value


def each(item: dict[str, Any], key: str, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the objects in a key's list, each with its place below `where`."""
    for n, value in enumerate(need(item, key, list, where)):
        below = f"{where}.{key}[{n}]" if where.endswith("]") else f"{where}: {key}[{n}]"
        yield below, _object(value, below)
