"""Reads the values of a file, each with its place in words, which errors name.

A faulty question does not affect the others: `read_items` makes an item with a fault of it.
"""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pipeline.errors import DataError
from pipeline.evaluation.data.dataset import DataItem, Gold
from pipeline.executors.question_files import Row, check_text, json_rows, read_utf8
from pipeline.settings import nearest
from pipeline.types import Question

T = TypeVar("T")
Read = Callable[[dict[str, object], str], Iterator[DataItem]]
"""Makes items of an object at a place. Raises DataError if the whole object is wrong."""
_WORDS = {str: "text", list: "a list", dict: "an object", int: "a whole number", bool: "true or false"}
_REQUIRED: object = object()


def text_of(path: Path) -> str:
    """The file's text. Raises DataError if it cannot be read."""
    try:
        return read_utf8(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


def read_items(path: Path, read: Read) -> tuple[DataItem, ...]:
    """The items that `read` makes of each object of a JSON or JSON lines file.

    Raises DataError for an unreadable file, and if no item is usable.
    """
    items: list[DataItem] = []
    for row in object_rows(read_utf8(path), path):
        items += [faulty(path, row.where, f"{row.where}: {row.fault}")] if row.fault else _tried(path, read, row)
    return usable(items)


def each_item(path: Path, value: dict[str, object], key: str, where: str, read: Read) -> Iterator[DataItem]:
    """The items that `read` makes of each object of a key's list."""
    for place, entry in _entries(value, key, where):
        fault = "" if isinstance(entry, dict) else f"must be an object, was: {str(entry)[:60]}"
        if fault:
            yield faulty(path, place, f"{place}: {fault}")
        else:
            yield from _tried(path, read, Row(place, "", entry))


def _tried(path: Path, read: Read, row: Row) -> Iterator[DataItem]:
    """The items before the first fault, and an item with the fault."""
    try:
        yield from read(row.value, row.where)
    except DataError as error:
        yield faulty(path, row.where, str(error))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        yield faulty(path, row.where, f"{row.where}: not as its layout asks: {type(error).__name__}: {error}")


def faulty(path: Path, where: str, fault: str) -> DataItem:
    """An item that cannot be asked, named after its place in the file."""
    return DataItem(Question("", f"item {where.removeprefix(str(path)).lstrip(': ')}"), Gold(), fault)


def usable(items: Iterable[DataItem]) -> tuple[DataItem, ...]:
    """The items, with a fault if they cannot be asked: an empty question, half a character, a repeated id.

    Raises DataError if none can be asked.
    """
    checked: list[DataItem] = []
    seen: set[str] = set()
    for n, item in enumerate(items):
        fault = item.fault or _why_not_asked(item, seen)
        if fault and not item.fault:
            item = replace(item, question=Question("", f"item {n}, {item.question.id}"), gold=Gold(), fault=fault)
        seen.add(item.question.id)
        checked.append(item)
    if checked and all(item.fault for item in checked):
        raise DataError(checked[0].fault)
    return tuple(checked)


def _why_not_asked(item: DataItem, seen: set[str]) -> str:
    id_ = item.question.id
    if id_ in seen:
        return f"the id '{id_}' stands twice: each question needs its own"
    if not item.question.text.strip():
        return f"the question of '{id_}' is empty"
    try:
        check_text(item.question.text)
        check_text(id_)
    except ValueError as error:
        return f"the question of {id_!a} {error}"
    return ""


def left_out(faults: Sequence[str], what: str) -> tuple[str, ...]:
    """A note on what was left out; empty without faults."""
    return (f"{len(faults)} {what} cannot be read, and are left out; the first: {faults[0]}",) if faults else ()


def object_rows(data: bytes, path: Path) -> Iterator[Row]:
    """Each object of a JSON or JSON lines file, with its place: `a.json: [3]`, `a.jsonl:4`.

    `data` is the file as UTF-8. Other values become rows with a fault.
    """
    for row in json_rows(path.with_suffix(".json"), data):
        where = row.where.replace(str(path.with_suffix(".json")), str(path), 1)
        fault = row.fault.replace("is no JSON", "no JSON", 1)
        if not fault and not isinstance(row.value, dict):
            fault = f"must be an object, was: {str(row.value)[:60]}"
        yield replace(row, where=where, fault=fault)


def json_items(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Like `object_rows`, but raises DataError for a row with a fault."""
    for row in object_rows(read_utf8(path), path):
        if row.fault:
            raise DataError(f"{row.where}: {row.fault}")
        yield row.where, row.value


def json_lines(path: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """Each line's object, with its place, read one by one: for files larger than memory."""
    try:
        with path.open("rb") as file:
            for n, line in enumerate(file, 1):
                if line.strip():
                    yield f"{path}:{n}", _object(_loads(line.removeprefix(BOM_UTF8), f"{path}:{n}"), f"{path}:{n}")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def _loads(line: bytes, where: str) -> object:
    try:
        value: object = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: no JSON: {error}") from None
    return value


def _object(item: object, where: str) -> dict[str, object]:
    if not isinstance(item, dict):
        raise DataError(f"{where}: must be an object, was: {str(item)[:60]}")
    return item


def need(item: dict[str, Any], key: str, kind: type[T], where: str, default: Any = _REQUIRED) -> T:
    """The value of a key, of this type. Raises DataError for another type, and for a missing key."""
    if key not in item:
        if default is not _REQUIRED:
            return default  # type: ignore[no-any-return]
        raise DataError(f"{where}: has no '{key}'" + (nearest(key, list(item)) or f"; it has: {', '.join(item)[:120]}"))
    value = item[key]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise DataError(f"{where}: {key} must be {_WORDS[kind]}, was: {str(value)[:60]}")
    return value


def each(item: dict[str, object], key: str, where: str) -> Iterator[tuple[str, dict[str, object]]]:
    """The objects of a key's list, each with its place below `where`."""
    for place, value in _entries(item, key, where):
        yield place, _object(value, place)


def _entries(item: dict[str, Any], key: str, where: str) -> Iterator[tuple[str, object]]:
    for n, value in enumerate(need(item, key, list, where)):
        yield (f"{where}.{key}[{n}]" if where.endswith("]") else f"{where}: {key}[{n}]"), value
