"""JSON, JSON lines, YAML and TOML, with the path of keys as the place of each value.

JSON is written anew: each value behind its path, `tide > host: fjord-3`, and an object of a list on one line, `ship:
Tern; berth: 4`, so that no chunk holds a value without the keys that say what it is. YAML and TOML stay as they are,
for their comments. A file that cannot be parsed is read as text, with a note.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.documents.text import decode, load_text
from pipeline.documents.writer import Writer
from pipeline.types import Document

_RECORD_CHARS = 2000  # an object that would be longer on one line is written value by value
_JSON_TOKEN = re.compile(r'("(?:[^"\\]|\\.)*")(\s*:)?|[{}\[\],]|[^\s{}\[\],:"]+', re.DOTALL)
_TOML_TABLE = re.compile(r"\s*\[{1,2}\s*([^\]]+?)\s*\]{1,2}")
_TOML_KEY = re.compile(r"\s*((?:[\w-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[\w-]+|\"[^\"]*\"|'[^']*'))*)\s*=")

Keys = tuple[str | int, ...]


def load_json(path: Path, data: bytes) -> Document:
    """The values with their paths; the lines are those of the file. A file of JSON lines is read as one."""
    text, notes = decode(path, data)
    try:
        value = _json(text)
        entries = list(_entries(value, ()))
    except (ValueError, RecursionError) as error:
        if _is_json_lines(text):
            return load_jsonl(path, data)
        return _as_text(path, data, "JSON", error)
    lines = _json_lines(text)
    writer = Writer()
    for keys, entry in entries:
        writer.block(entry, _label(keys), lines.get(keys, 1), is_tight=True)
    return writer.document(path, "json", path.name, notes)


def load_jsonl(path: Path, data: bytes) -> Document:
    """An object a line; a line that is no JSON stays as it is."""
    text, notes = decode(path, data)
    writer = Writer()
    n_broken = 0
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            entries = list(_line_entries(_json(line)))
        except (ValueError, RecursionError):
            entries = [((), line)]
            n_broken += 1
        for keys, entry in entries:
            writer.block(entry, _label(keys), number, is_tight=True)
    if n_broken:
        notes += (f"{n_broken} line{'s are' if n_broken > 1 else ' is'} no JSON: read as text",)
    return writer.document(path, "jsonl", path.name, notes)


def load_yaml(path: Path, data: bytes) -> Document:
    """The text as it is, and the path of keys of each line."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    document = load_text(path, data, "yaml")
    try:
        parser = YAML(typ="safe", pure=True)
        nodes = list(parser.compose_all(document.text))
        labels = {line: _label(keys) for node in nodes for keys, line in _yaml_keys(node, (), set())}
    except (YAMLError, ValueError, RecursionError, TypeError, AttributeError) as error:
        return _as_text(path, data, "YAML", error)
    return replace(document, title=path.name, labels=_line_labels(document.text, labels))


def load_toml(path: Path, data: bytes) -> Document:
    """The text as it is, and the path of keys of each line."""
    document = load_text(path, data, "toml")
    try:
        tomllib.loads(document.text)
    except (ValueError, RecursionError) as error:
        return _as_text(path, data, "TOML", error)
    labels: dict[int, str] = {}
    table = ""
    for number, line in enumerate(document.text.split("\n")):
        if opened := _TOML_TABLE.match(line):
            table = labels[number] = opened[1].replace('"', "")
        elif key := _TOML_KEY.match(line):
            labels[number] = ".".join(filter(None, (table, re.sub(r"[\"'\s]", "", key[1]))))
    return replace(document, title=path.name, labels=_line_labels(document.text, labels))


def _json(text: str) -> Any:
    """The value of a JSON text. Raises ValueError for an object that has a key twice, of which json keeps the last."""

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        value = dict(pairs)
        if len(value) < len(pairs):
            keys = [key for key, _ in pairs]
            raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} stands twice in an object")
        return value

    return json.loads(text, object_pairs_hook=unique)


def _as_text(path: Path, data: bytes, kind: str, error: Exception) -> Document:
    document = load_text(path, data)
    message = " ".join(str(error).split())[:120]
    return replace(document, notes=(*document.notes, f"read as plain text, for it is no {kind}: {message}"))


def _is_json_lines(text: str) -> bool:
    lines = [line for line in text.split("\n", 20)[:20] if line.strip()]
    try:
        return len(lines) > 1 and all(isinstance(json.loads(line), dict | list) for line in lines[:2])
    except (ValueError, RecursionError):
        return False


def _entries(value: Any, keys: Keys) -> Iterator[tuple[Keys, str]]:
    """Lines of text for a value, each with the path of what it holds."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            if isinstance(item, dict | list) and item and not _is_plain_list(item):
                yield from _entries(item, (*keys, str(key)))
            else:
                yield (*keys, str(key)), f"{_shown((*keys, str(key)))}: {_scalar(item)}"
    elif isinstance(value, list) and value:
        name = _shown(keys)
        for n, item in enumerate(value):
            line = "; ".join(f"{_shown(inner)}: {shown}" for inner, shown in _flat(item, ()))
            if isinstance(item, dict | list) and (len(line) > _RECORD_CHARS or not line):
                yield from _entries(item, (*keys, n))
            else:
                yield (*keys, n), (f"{name} · " if name else "") + (line or _scalar(item))
    else:
        yield keys, f"{_shown(keys)}: {_scalar(value)}" if keys else _scalar(value)


def _line_entries(value: object) -> Iterator[tuple[Keys, str]]:
    """The entries of one JSON line: an object on one line of text, unless it is too long."""
    line = "; ".join(f"{_shown(inner)}: {shown}" for inner, shown in _flat(value, ()))
    if line and len(line) <= _RECORD_CHARS:
        yield (), line
    else:
        yield from _entries(value, ())


def _flat(value: object, keys: Keys) -> Iterator[tuple[Keys, str]]:
    """The values inside an object with their paths; nothing for a value that is no object or list."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            if isinstance(item, dict | list) and item and not _is_plain_list(item):
                yield from _flat(item, (*keys, str(key)))
            else:
                yield (*keys, str(key)), _scalar(item)
    elif isinstance(value, list) and value:
        for n, item in enumerate(value):
            if isinstance(item, dict | list) and item and not _is_plain_list(item):
                yield from _flat(item, (*keys, n))
            else:
                yield (*keys, n), _scalar(item)


def _is_plain_list(value: object) -> bool:
    """Whether a value is a short list of plain values, which stays on one line."""
    return isinstance(value, list) and len(value) <= 50 and not any(isinstance(item, dict | list) for item in value)


def _scalar(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_scalar, value)) or "(empty)"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return "(empty)" if value == {} else str(value)


def _label(keys: Keys) -> str:
    """`tide.hosts[0].name`"""
    label = ""
    for key in keys:
        label += f"[{key}]" if isinstance(key, int) else f"{'.' if label else ''}{key}"
    return label


def _shown(keys: Keys) -> str:
    """`tide > hosts > 1 > name`: words that a search can find."""
    return " > ".join(str(key + 1) if isinstance(key, int) else key for key in keys)


def _json_lines(text: str) -> dict[Keys, int]:
    """The line on which each value begins, by its path; empty where all of it stands on one line."""
    lines: dict[Keys, int] = {}
    if "\n" not in text.strip():
        return lines
    keys: list[str | int] = []
    line, offset = 1, 0
    is_value = True  # false behind a key's colon, whose line is the value's
    for token in _JSON_TOKEN.finditer(text):
        line += text.count("\n", offset, token.start())
        offset = token.start()
        mark = token[0]
        if token[2] and keys and isinstance(keys[-1], str):
            keys[-1] = json.loads(token[1])
            lines[tuple(keys)] = line
            is_value = False
        elif mark in "{[":
            if is_value:
                lines.setdefault(tuple(keys), line)
            keys.append("" if mark == "{" else 0)
            is_value = mark == "["
        elif mark in "}]":
            keys = keys[:-1]
            is_value = False
        elif mark == ",":
            if keys and isinstance(keys[-1], int):
                keys[-1] += 1
            is_value = bool(keys) and isinstance(keys[-1], int)
        elif is_value:
            lines.setdefault(tuple(keys), line)
    return lines


def _yaml_keys(node: Any, keys: Keys, seen: set[int]) -> Iterator[tuple[Keys, int]]:
    """(path, line counted from 0) of each key and item below a node.

    `seen` holds the nodes that were entered: an alias is the node that its anchor names, and is not entered again.
    """
    if id(node) in seen:
        return
    seen.add(id(node))
    if node.id == "mapping":
        for key, value in node.value:
            place = (*keys, str(key.value) if key.id == "scalar" else "?")
            yield place, key.start_mark.line
            yield from _yaml_keys(value, place, seen)
    elif node.id == "sequence":
        for n, value in enumerate(node.value):
            if id(value) not in seen:
                yield (*keys, n), value.start_mark.line
                yield from _yaml_keys(value, (*keys, n), seen)


def _line_labels(text: str, labels: dict[int, str]) -> tuple[tuple[int, str], ...]:
    """The labels by offset, of labels by line counted from 0."""
    marks: list[tuple[int, str]] = []
    offset = 0
    for number, line in enumerate(text.split("\n")):
        if number in labels:
            marks.append((offset, labels[number]))
        offset += len(line) + 1
    return tuple(marks)
