"""Sessions by name: one folder each under the cache folder's `sessions`, and one process at a time in each."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cache import cache_folder
from pipeline.errors import StoreError
from pipeline.storage.whole import write_whole
from pipeline.transcript import NAME, told

if TYPE_CHECKING:
    from filelock import FileLock

_LOCK = ".longthread.lock"
_HOLDER = ".longthread.holder"
_NAME = re.compile(r"[\w][\w .-]{0,63}")


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session as a list shows it. `time` is that of its last turn, or of its beginning."""

    name: str
    folder: Path
    n_turns: int
    time: str


def sessions_folder() -> Path:
    return cache_folder() / "sessions"


def session_folder(name: str) -> Path:
    """The folder of a session, there or not. Raises StoreError for a name that cannot be one."""
    if not _NAME.fullmatch(name) or name.endswith((" ", ".")):
        raise StoreError(
            f"'{name}' cannot name a session: use up to 64 letters, digits, spaces, dots, dashes and underscores"
        )
    return sessions_folder() / name


def list_sessions() -> tuple[SessionInfo, ...]:
    """All sessions, the last used first. One that cannot be read is listed with -1 turns."""
    folder = sessions_folder()
    found = [_info(path) for path in folder.iterdir() if (path / NAME).is_file()] if folder.is_dir() else []
    return tuple(sorted(found, key=lambda info: info.time, reverse=True))


def rename_session(name: str, new: str) -> Path:
    """Raises StoreError where one is missing or in use, or the other is there already."""
    source, target = _existing(name), _free(new)
    lock = lock_session(source)
    try:
        with told(source):
            source.rename(target)
    finally:
        lock.release()
    return target


def fork_session(name: str, new: str) -> Path:
    """A copy of a session under another name. The session may be open; the copy's vectors are made again."""
    source, target = _existing(name), _free(new)
    with told(target):
        target.mkdir(parents=True)
        reading, writing = sqlite3.connect(source / NAME), sqlite3.connect(target / NAME)
        try:
            reading.backup(writing)
        finally:
            reading.close()
            writing.close()
    return target


def delete_session(name: str) -> None:
    """Deletes a session and all that it remembers. Raises StoreError where it is missing or in use."""
    folder = _existing(name)
    lock = lock_session(folder)
    try:
        with told(folder):
            shutil.rmtree(folder)
    finally:
        lock.release()


def lock_session(folder: Path) -> FileLock:
    """Holds a session for this process. It falls with the process, however that ends.

    Raises StoreError where another holds it.
    """
    from filelock import FileLock, Timeout

    with told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / _LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise StoreError(
                f"{folder.name}: another chat has this session{_holder(folder)}: close it, or name another with "
                "--session"
            ) from None
        note = {"pid": os.getpid(), "since": datetime.now().astimezone().isoformat(" ", "seconds")}
        write_whole(folder / _HOLDER, json.dumps(note))
    return lock


def _holder(folder: Path) -> str:
    try:
        note = json.loads((folder / _HOLDER).read_text(encoding="utf-8"))
        return f" (pid {note['pid']}, since {note['since']})"
    except (OSError, ValueError, KeyError):  # it has only just begun
        return ""


def _existing(name: str) -> Path:
    folder = session_folder(name)
    if not (folder / NAME).is_file():
        known = ", ".join(info.name for info in list_sessions()[:8])
        raise StoreError(f"there is no session '{name}'" + (f"; there are: {known}" if known else ""))
    return folder


def _free(name: str) -> Path:
    folder = session_folder(name)
    if folder.exists():
        raise StoreError(f"there is a session '{name}' already: choose another name")
    return folder


def _info(folder: Path) -> SessionInfo:
    try:
        db = sqlite3.connect(f"file:{folder / NAME}?mode=ro", uri=True)
        try:
            n, last = db.execute("SELECT count(*), max(time) FROM turns").fetchone()
            (begun,) = db.execute("SELECT value FROM meta WHERE key = 'begun'").fetchone()
        finally:
            db.close()
    except (sqlite3.Error, TypeError):
        return SessionInfo(folder.name, folder, -1, "")
    return SessionInfo(folder.name, folder, n, last or json.loads(begun))
