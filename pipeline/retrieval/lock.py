"""One process at a time writes to an index; another waits for it as long as it makes progress.

The lock falls with its process, however that ends. Readers do not need it: see generations.py.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.contracts import Progress
from pipeline.errors import StoreError
from pipeline.storage.locks import HeldError, Holder, acquire, note_files, read_holder, write_holder

if TYPE_CHECKING:
    from pipeline.storage.locks import Lock

_LOCK_NAME = ".longthread.writing"
_NOTE_NAME = ".longthread.writer"
FILES = {_LOCK_NAME, *note_files(Path(_NOTE_NAME))}
PATIENCE_S = 600.0
"""How long a writer may make no progress before the others give up. Building the words of 1M chunks takes minutes."""
_POLL_S = 0.1
_BEAT_S = 1.0


@dataclass
class WriteLock:
    """Held by the process that writes. `beat` tells the waiting ones how far it is."""

    folder: Path
    lock: Lock
    holder: Holder = field(default_factory=Holder)
    last_beat: float = 0.0

    def beat(self, what: str, done: int, total: int) -> None:
        """Notes the progress in the folder, once a second."""
        now = time.monotonic()
        if not self.last_beat or now - self.last_beat >= _BEAT_S:
            self.last_beat = now
            write_holder(self.folder / _NOTE_NAME, replace(self.holder, what=what, done=done, total=total))

    def release(self) -> None:
        self.lock.release()


def lock_for_writing(folder: Path, progress: Progress) -> WriteLock:
    """Waits for another writer. Raises StoreError where that one has made no progress for PATIENCE_S seconds."""
    lock, _ = _wait(folder, progress)
    write_lock = WriteLock(folder, lock)
    write_lock.beat("open the index", 0, 0)
    return write_lock


def wait_for_writer(folder: Path, progress: Progress) -> bool:
    """Waits until no process writes; whether one did. Raises StoreError like `lock_for_writing`."""
    if not folder.is_dir():
        return False
    lock, had_to_wait = _wait(folder, progress)
    lock.release()
    return had_to_wait


def lock_unless_written(folder: Path) -> Lock:
    """Locks an index that no process writes now. Raises StoreError, with who does, for one that is being written."""
    try:
        return acquire(folder / _LOCK_NAME)
    except HeldError:
        writer = _format_writer(read_holder(folder / _NOTE_NAME))
        raise StoreError(f"{folder}: {writer}: wait for it, or end that process") from None


def _wait(folder: Path, progress: Progress) -> tuple[Lock, bool]:
    """Acquires the lock; also whether another process had it at first."""
    before: Holder | None = None
    moved = time.monotonic()
    had_to_wait = False
    while True:
        try:
            return acquire(folder / _LOCK_NAME), had_to_wait
        except HeldError:
            had_to_wait = True
        holder = read_holder(folder / _NOTE_NAME)
        if holder != before:
            before, moved = holder, time.monotonic()
        elif time.monotonic() - moved > PATIENCE_S:
            raise StoreError(
                f"{folder}: {_format_writer(holder)}, and has made no progress for {PATIENCE_S:.0f} s: end that "
                "process, or name another folder (`index`)"
            )
        pid, done, total = (f" (pid {holder.pid})", holder.done, holder.total) if holder else ("", 0, 0)
        progress(f"wait for another process{pid} that writes this index", done, total)
        time.sleep(_POLL_S)


def _format_writer(holder: Holder | None) -> str:
    if holder is None:
        return "another process is writing to this index"
    return f"another process (pid {holder.pid}) is writing to this index since {holder.since}"
