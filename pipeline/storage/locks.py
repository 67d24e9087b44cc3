"""Locks between processes, and notes that name their holders.

A lock is a file that the system locks, so it ends with its process, however that ends. Who holds it, and since when,
stands in a note beside it: the lock's own file cannot hold it, because whoever tries the lock truncates that.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import FileLock

    Lock = FileLock

_PART = ".part"


class HeldError(Exception):
    """Another process holds the lock. Callers turn it into an error of the library, and name the holder."""


def acquire(path: Path, private: bool = False) -> Lock:
    """Acquires a lock at once; the caller releases it. A private one is closed to other users (0600).

    Raises HeldError if another has it, this process included, and OSError.
    """
    from filelock import Timeout

    lock = _file_lock(path, private)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise HeldError(f"{path}: another process holds it") from None
    return lock


@contextmanager
def locked(path: Path, wait: bool = False, private: bool = False) -> Iterator[None]:
    """Holds a lock. With `wait` it waits for another holder, otherwise it raises HeldError. Raises OSError."""
    if wait:
        lock = _file_lock(path, private)
        lock.acquire()
    else:
        lock = acquire(path, private)
    try:
        yield
    finally:
        lock.release()


def _file_lock(path: Path, private: bool) -> Lock:
    from filelock import FileLock

    if private:
        return FileLock(path, mode=0o600, is_singleton=False)
    return FileLock(path, is_singleton=False)


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a lock, since when (ISO), and how far it is, if it says so."""

    pid: int = field(default_factory=os.getpid)
    since: str = field(default_factory=lambda: datetime.now().astimezone().isoformat(" ", "seconds"))
    what: str = ""
    done: int = 0
    total: int = 0


def note_files(note: Path) -> set[str]:
    """The names of the files that a note takes in its folder."""
    return {note.name, f"{note.name}{_PART}"}


def write_holder(note: Path, holder: Holder, private: bool = False) -> None:
    """Writes a note at once, and not flushed to the disk: it is worthless after a crash. Raises OSError."""
    part = note.with_name(f"{note.name}{_PART}")
    part.unlink(missing_ok=True)
    part.touch(0o600 if private else 0o666)
    part.write_text(json.dumps(asdict(holder)), encoding="utf-8")
    part.replace(note)


def read_holder(note: Path) -> Holder | None:
    """The holder that noted itself last; None if it has only just begun, or the note is damaged."""
    try:
        value = json.loads(note.read_text(encoding="utf-8"))
        holder = Holder(**value)
    except (OSError, ValueError, TypeError):
        return None
    numbers, texts = (holder.pid, holder.done, holder.total), (holder.since, holder.what)
    is_whole = all(isinstance(number, int) for number in numbers) and all(isinstance(text, str) for text in texts)
    return holder if is_whole and {"pid", "since"} <= value.keys() else None
