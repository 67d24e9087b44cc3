"""The input history of a session, oldest first, in a file of the session's folder.

A line of the file is a JSON object: `text`, `turn` (the number of the turn that the input belongs to), and a checksum.
Older versions wrote no checksum, or only the text, as a JSON string. Damaged and truncated lines are skipped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.errors import StoreError
from pipeline.storage.checked_json import parse_object, with_checksum
from pipeline.storage.whole import write_whole

NAME = "typed.jsonl"


@dataclass(frozen=True, slots=True)
class TypedLine:
    """A line of input. `turn` is the number of its turn, or None if unknown."""

    text: str
    turn: int | None = None


def read_typed(folder: Path) -> list[TypedLine]:
    """Reads the lines of a session, oldest first. Raises StoreError for an unreadable file."""
    return [line for line in _parsed(folder) if line is not None]


def n_damaged(folder: Path) -> int:
    """Counts the lines that `read_typed` skips. Raises StoreError as that does."""
    return _parsed(folder).count(None)


def append_typed(folder: Path, line: TypedLine) -> None:
    """Appends a line. Raises StoreError if the file cannot be written."""
    path = folder / NAME
    try:
        # The newline in front ends a line that a crash cut short.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="ascii") as file:
            file.write(("\n" if _is_torn(path) else "") + _to_json(line))
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from None


def forget_typed(folder: Path, is_meant: Callable[[TypedLine], bool]) -> int:
    """Rewrites the file without matching and torn lines; returns the number of matching ones."""
    path = folder / NAME
    if not path.exists():
        return 0
    lines = read_typed(folder)
    remaining = [line for line in lines if not is_meant(line)]
    write_whole(path, "".join(map(_to_json, remaining)), private=True)
    return len(lines) - len(remaining)


def _to_json(line: TypedLine) -> str:
    return json.dumps(with_checksum(asdict(line))) + "\n"


def _parsed(folder: Path) -> list[TypedLine | None]:
    """Parses each line that is not empty; None for a damaged one."""
    path = folder / NAME
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}: delete it, or make it readable") from None
    return [_parse(line) for line in content.split(b"\n") if line.strip()]


def _parse(line: bytes) -> TypedLine | None:
    try:
        if line.startswith(b'"'):
            return TypedLine(str(json.loads(line)))
        value = parse_object(line)
    except ValueError:
        return None
    if not isinstance(value.get("text"), str):
        return None
    turn = value.get("turn")
    return TypedLine(value["text"], turn if isinstance(turn, int) else None)


def _is_torn(path: Path) -> bool:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if not size:
            return False
        file.seek(size - 1)
        return file.read(1) != b"\n"
