"""The values of a file, each with its place in words, and its keys looked up with the place in the error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pipeline.errors import DataError
from pipeline.registry import nearest

T = TypeVar("T")
_WORDS = {str: "text", list: "a list", dict: "an object", int: "a whole number", bool: "true or false"}
_REQUIRED: Any = object()


def text_of(path: Path) -> str:
    """The file's text. Raises DataError where it cannot be read."""
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def json_items(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each object of a file that is one JSON value or has one a line, with its place: `a.json: [3]`, `a.jsonl:4`."""
    yield from json_items_of(text_of(path), path)


def json_items_of(text: str, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The same of a text that was read already."""
    try:
        value = json.loads(text)
    except ValueError:
        yield from list(_lines(text.splitlines(), path))
        return
    for n, item in enumerate(value if isinstance(value, list) else [value]):
        yield f"{path}: [{n}]", _object(item, f"{path}: [{n}]")


def json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each line's object, with its place, read as it is asked for: for files that are larger than memory."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from _lines(file, path)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _lines(lines: Any, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for n, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}:{n}: no JSON: {error}") from None
        yield f"{path}:{n}", _object(value, f"{path}:{n}")


def _object(item: Any, where: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise DataError(f"{where}: must be an object, was: {str(item)[:60]}")
    return item


def need(item: dict[str, Any], key: str, kind: type[T], where: str, default: Any = _REQUIRED) -> T:
    """The value of a key, of that type. Raises DataError for another type, and for a key that is not there."""
    if key not in item:
        if default is not _REQUIRED:
            return default  # type: ignore[no-any-return]
        raise DataError(f"{where}: has no '{key}'" + (nearest(key, list(item)) or f"; it has: {', '.join(item)[:120]}"))
    value = item[key]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise DataError(f"{where}: {key} must be {_WORDS[kind]}, was: {str(value)[:60]}")
    return value


def each(item: dict[str, Any], key: str, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a key's list, each with its place below `where`."""
    for n, value in enumerate(need(item, key, list, where)):
        below = f"{where}.{key}[{n}]" if where.endswith("]") else f"{where}: {key}[{n}]"
        yield below, _object(value, below)
