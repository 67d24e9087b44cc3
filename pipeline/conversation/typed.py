"""The typed lines of a session, oldest first, in a file of its folder.

A line of the file is a JSON object: `text`, `turn` (the number of the turn that it was typed for) and a checksum. Older
versions wrote no checksum, or the text alone, as a JSON string. Damaged and truncated lines are skipped.
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
    """A typed line, and the number of the turn that it was typed for; None if unknown."""

    text: str
    turn: int | None = None


def read_typed(folder: Path) -> list[TypedLine]:
    """The lines of a session, oldest first. Raises StoreError for an unreadable file."""
    return [line for line in _parsed(folder) if line is not None]


def n_damaged(folder: Path) -> int:
    """The number of lines that `read_typed` skips. Raises StoreError for an unreadable file."""
    return _parsed(folder).count(None)


def append_typed(folder: Path, line: TypedLine) -> None:
    """Appends a line. Raises StoreError if the file cannot be written."""
    path = folder / NAME
    try:
        # The leading newline ends a line that a crash truncated.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="ascii") as file:
            file.write(("\n" if _is_torn(path) else "") + _to_json(line))
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from None


def forget_typed(folder: Path, is_match: Callable[[TypedLine], bool]) -> int:
    """Rewrites the file without the matching lines and the truncated ones. Returns the number of the former."""
    path = folder / NAME
    if not path.exists():
        return 0
    lines = read_typed(folder)
    kept = [line for line in lines if not is_match(line)]
    write_whole(path, "".join(map(_to_json, kept)), private=True)
    return len(lines) - len(kept)


def _to_json(line: TypedLine) -> str:
    return json.dumps(with_checksum(asdict(line))) + "\n"


def _parsed(folder: Path) -> list[TypedLine | None]:
    """Each line that is not empty; None for an unusable one."""
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
    text, turn = value.get("text"), value.get("turn")
    return TypedLine(text, turn if isinstance(turn, int) else None) if isinstance(text, str) else None


def _is_torn(path: Path) -> bool:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if not size:
            return False
        file.seek(size - 1)
        return file.read(1) != b"\n"
