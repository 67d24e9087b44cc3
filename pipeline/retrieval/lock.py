"""One process at a time writes to an index; another waits for it as long as it makes progress.

The lock falls with its process, however that ends. Readers do not need it: see generations.py.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.contracts import Progress
from pipeline.errors import StoreError

if TYPE_CHECKING:
    from filelock import FileLock

_LOCK_NAME = ".longthread.writing"
_NOTE_NAME = ".longthread.writer"
_NOTE_PART = ".longthread.writer.part"
FILES = {_LOCK_NAME, _NOTE_NAME, _NOTE_PART}
PATIENCE_S = 600.0
"""How long a writer may make no progress before the others give up. Building the words of 1M chunks takes minutes."""
_POLL_S = 0.1
_BEAT_S = 1.0


@dataclass
class WriteLock:
    """Held by the process that writes. `beat` tells the waiting ones how far it is."""

    folder: Path
    lock: FileLock
    since: str = field(default_factory=lambda: datetime.now().astimezone().isoformat(" ", "seconds"))
    last_beat: float = 0.0

    def beat(self, what: str, done: int, total: int) -> None:
        """Notes the progress in the folder, once a second."""
        now = time.monotonic()
        if not self.last_beat or now - self.last_beat >= _BEAT_S:
            self.last_beat = now
            note = {"pid": os.getpid(), "since": self.since, "what": what, "done": done, "total": total}
            (self.folder / _NOTE_PART).write_text(json.dumps(note), encoding="utf-8")
            (self.folder / _NOTE_PART).replace(self.folder / _NOTE_NAME)

    def release(self) -> None:
        self.lock.release()


def lock_for_writing(folder: Path, progress: Progress) -> WriteLock:
    """Waits for another writer. Raises StoreError where that one has made no progress for PATIENCE_S seconds."""
    lock = _lock(folder)
    _wait(folder, lock, progress)
    write_lock = WriteLock(folder, lock)
    write_lock.beat("open the index", 0, 0)
    return write_lock


def wait_for_writer(folder: Path, progress: Progress) -> bool:
    """Waits until no process writes; whether one did. Raises StoreError like `lock_for_writing`."""
    if not folder.is_dir():
        return False
    lock = _lock(folder)
    had_to_wait = _wait(folder, lock, progress)
    lock.release()
    return had_to_wait


def lock_unless_written(folder: Path) -> FileLock:
    """Locks an index that no process writes now. Raises StoreError, with who does, for one that is being written."""
    from filelock import Timeout

    lock = _lock(folder)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise StoreError(f"{folder}: {_writer(_note(folder))}: wait for it, or end that process") from None
    return lock


def _lock(folder: Path) -> FileLock:
    from filelock import FileLock

    return FileLock(folder / _LOCK_NAME, is_singleton=False)


def _wait(folder: Path, lock: FileLock, progress: Progress) -> bool:
    """Acquires the lock; whether another process had it at first."""
    from filelock import Timeout

    before: Any = None
    moved = time.monotonic()
    had_to_wait = False
    while True:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            had_to_wait = True
        else:
            return had_to_wait
        note = _note(folder)
        if note != before:
            before, moved = note, time.monotonic()
        elif time.monotonic() - moved > PATIENCE_S:
            raise StoreError(
                f"{folder}: {_writer(note)}, and has made no progress for {PATIENCE_S:.0f} s: end that process, or "
                "name another folder (`index`)"
            )
        pid = f" (pid {note['pid']})" if note else ""
        progress(f"wait for another process{pid} that writes this index", note.get("done", 0), note.get("total", 0))
        time.sleep(_POLL_S)


def _writer(note: dict[str, Any]) -> str:
    if not note:
        return "another process is writing to this index"
    return f"another process (pid {note['pid']}) is writing to this index since {note['since']}"


def _note(folder: Path) -> dict[str, Any]:
    """What the writer noted last; empty where it has only just begun, or the file is damaged."""
    try:
        note = json.loads((folder / _NOTE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    wanted = {"pid": int, "since": str, "done": int, "total": int}
    is_whole = isinstance(note, dict) and all(isinstance(note.get(name), kind) for name, kind in wanted.items())
    return note if is_whole else {}
