"""Who may use an index's folder: any number of readers, or one writer.

Chroma's persistent client is not safe for several processes when one of them writes, so readers and the writer keep
apart. The lock falls with its process, however that ends.
"""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import StoreError
from pipeline.storage.whole import write_whole

if TYPE_CHECKING:
    from filelock import ReadWriteLock

LOCK_NAME = ".longthread.lock"
_WRITER_NAME = ".longthread.writer"
FILES = {LOCK_NAME, _WRITER_NAME}
PATIENCE_S = 2.0


def lock_for_reading(folder: Path) -> ReadWriteLock:
    """Raises StoreError while another process writes."""
    from filelock import Timeout

    lock = _lock(folder)
    try:
        lock.acquire_read(timeout=PATIENCE_S)
    except Timeout:
        lock.close()
        raise StoreError(f"{folder}: {_writer(folder)}: wait until it has finished") from None
    return lock


def lock_for_writing(folder: Path) -> ReadWriteLock:
    """Raises StoreError while another process writes or reads."""
    from filelock import Timeout

    lock = _lock(folder)
    try:
        lock.acquire_write(timeout=PATIENCE_S)
    except Timeout:
        in_use = _is_being_read(lock)
        lock.close()
        why = "another process has this index open to search it" if in_use else _writer(folder)
        way_out = "close that" if in_use else "wait until it has finished"
        raise StoreError(f"{folder}: {why}: {way_out}, or name another folder with --index") from None
    note = {"pid": os.getpid(), "since": datetime.now().astimezone().isoformat(" ", "seconds")}
    write_whole(folder / _WRITER_NAME, json.dumps(note))
    return lock


def _lock(folder: Path) -> ReadWriteLock:
    from filelock import ReadWriteLock

    (folder / LOCK_NAME).touch()  # else it would be made for this user alone
    return ReadWriteLock(folder / LOCK_NAME, is_singleton=False)


def _is_being_read(lock: ReadWriteLock) -> bool:
    """Whether it is readers, not a writer, who keep us out: then one more may read."""
    from filelock import Timeout

    try:
        lock.acquire_read(timeout=0)
    except Timeout:
        return False
    lock.release()
    return True


def _writer(folder: Path) -> str:
    try:
        note = json.loads((folder / _WRITER_NAME).read_text(encoding="utf-8"))
        return f"another process (pid {note['pid']}) is writing to this index since {note['since']}"
    except (OSError, ValueError, KeyError):  # it has only just begun
        return "another process is writing to this index"
