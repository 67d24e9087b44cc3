"""The lines that were typed into a session, oldest first, in a file of the session's folder.

A line of the file is a JSON object: `text`, and `turn`, the number of the turn that the line was typed for. Older
versions wrote the text alone, as a JSON string. A line that a crash cut short is passed over.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.errors import StoreError
from pipeline.storage.whole import write_whole

NAME = "typed.jsonl"


@dataclass(frozen=True, slots=True)
class TypedLine:
    """`turn` is the number of the turn that the line asked for, or None where that is not known."""

    text: str
    turn: int | None = None


def read_typed(folder: Path) -> list[TypedLine]:
    """The lines of a session, oldest first. Raises StoreError for a file that cannot be read."""
    path = folder / NAME
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}: delete it, or make it readable") from None
    lines = [_parse(line) for line in content.split(b"\n")]
    return [line for line in lines if line is not None]


def append_typed(folder: Path, line: TypedLine) -> None:
    """Raises StoreError where it cannot be written."""
    path = folder / NAME
    try:
        # The newline in front ends a line that a crash cut short.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="ascii") as file:
            file.write(("\n" if _is_torn(path) else "") + json.dumps(asdict(line)) + "\n")
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from None


def forget_typed(folder: Path, is_meant: Callable[[TypedLine], bool]) -> int:
    """Writes the file anew without the lines that are meant, and without torn ones; gives the number of the former."""
    path = folder / NAME
    if not path.exists():
        return 0
    lines = read_typed(folder)
    kept = [line for line in lines if not is_meant(line)]
    write_whole(path, "".join(json.dumps(asdict(line)) + "\n" for line in kept), private=True)
    return len(lines) - len(kept)


def _parse(line: bytes) -> TypedLine | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    if isinstance(value, str):
        return TypedLine(value)
    if not isinstance(value, dict) or not isinstance(value.get("text"), str):
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
