"""Sessions by name: each has a folder in the data folder's `sessions`, and is open in one process at a time."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.conversation.forgetting import is_pending
from pipeline.conversation.transcript import NAME, check_unchanged, read_begun, read_turns, session_errors
from pipeline.errors import StoreError
from pipeline.storage.cache import cache_folder, data_folder, make_private, size_of
from pipeline.storage.folders import delete_folder, temporary_name
from pipeline.storage.locks import HeldError, Holder, acquire, locked, read_holder, write_holder
from pipeline.storage.sqlite import copy_database, read_only
from pipeline.storage.whole import is_left_over

if TYPE_CHECKING:
    from pipeline.storage.locks import Lock

_LOCK = ".longthread.lock"
_HOLDER = ".longthread.holder"
_NAME = re.compile(r"[\w][\w .-]{0,63}")


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session in a list. `time` is that of its last turn, or of its begin; `size` is in bytes."""

    name: str
    folder: Path
    n_turns: int
    time: str
    size: int = 0


def sessions_folder() -> Path:
    return data_folder() / "sessions"


def session_folder(name: str) -> Path:
    """The folder of a session, which may not exist. Raises StoreError for an invalid name."""
    if not _NAME.fullmatch(name) or name.endswith((" ", ".")):
        raise StoreError(
            f"'{name}' cannot name a session: use up to 64 letters, digits, spaces, dots, dashes and underscores"
        )
    return sessions_folder() / name


def list_sessions() -> tuple[SessionInfo, ...]:
    """All sessions, the last used first. An unreadable one has -1 turns."""
    folder = sessions_folder()
    if not folder.is_dir():
        return ()
    sweep_sessions()
    infos = [_info(path) for path in folder.iterdir() if _NAME.match(path.name) and (path / NAME).is_file()]
    return tuple(sorted(infos, key=lambda info: info.time, reverse=True))


def all_sessions() -> list[Path]:
    """The folders of all sessions, by name."""
    root = sessions_folder()
    folders = sorted(path for path in root.iterdir() if (path / NAME).is_file()) if root.is_dir() else []
    return [path for path in folders if not path.name.startswith(".")]


def other_sessions(folder: Path) -> list[Path]:
    """The folders of all sessions but this one, by name."""
    return [path for path in all_sessions() if path.resolve() != folder.resolve()]


def move_from_cache() -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Moves the sessions that an older version kept in the cache folder. The next call resumes a killed one.

    Returns the names of the moved sessions, and those of the others with the reason: another process has it open, or it
    is damaged. A session whose name is taken gets another name.
    """
    source = cache_folder() / "sessions"
    if not source.is_dir() or source.resolve() == sessions_folder().resolve():
        return (), ()
    moved, left = [], []
    for folder in sorted(path for path in source.iterdir() if (path / NAME).is_file()):
        try:
            lock = lock_session(folder)
        except StoreError:
            left.append((folder.name, "another chat has it open"))
            continue
        try:
            moved.append(_move(folder).name)
            shutil.rmtree(folder)
        except StoreError as error:
            left.append((folder.name, str(error)))
        finally:
            lock.release()
    if not left:
        shutil.rmtree(source, ignore_errors=True)  # lock files at most
    return tuple(moved), tuple(left)


def _move(folder: Path) -> Path:
    target = session_folder(folder.name)
    with session_errors(target), _changing_folders():
        if target.exists():
            if (target / NAME).is_file() and read_turns(target) == read_turns(folder):
                return target  # an earlier move was killed before it deleted its source
            target = next(
                free
                for n in count(1)
                if not (free := session_folder(f"{folder.name[:44]} from the cache {n}")).exists()
            )
        half = temporary_name(target)
        shutil.copytree(folder, half)
        for path in (half, *half.rglob("*")):
            path.chmod(0o700 if path.is_dir() else 0o600)
        half.rename(target)
    return target


def rename_session(name: str, new: str) -> Path:
    """Raises StoreError if the session is missing or in use, or the new name is taken."""
    source, target = existing_session(name), _free(new)
    lock = lock_session(source)
    try:
        with session_errors(source):
            source.rename(target)
    finally:
        lock.release()
    return target


def fork_session(name: str, new: str) -> Path:
    """Copies a session, completely or not at all. The session may be open. Vectors are made again.

    Raises StoreError if the session is missing or still has something to forget, or the new name is taken.
    """
    source, target = existing_session(name), _free(new)
    if is_pending(source):
        raise StoreError(
            f"{name}: what was to be forgotten is not forgotten yet: open it once with longthread chat --session "
            f"'{name}', and then copy it"
        )
    with session_errors(target), _changing_folders():
        check_unchanged(source)
        half = make_private(temporary_name(target))
        try:
            os.close(os.open(half / NAME, os.O_RDWR | os.O_CREAT, 0o600))
            copy_database(source / NAME, half / NAME)
            half.rename(target)
        except BaseException:
            shutil.rmtree(half, ignore_errors=True)
            raise
    return target


def delete_session(name: str) -> None:
    """Deletes a session with its memory. Raises StoreError if it is missing or in use."""
    folder = existing_session(name)
    lock = lock_session(folder)
    try:
        with session_errors(folder), _changing_folders():
            _delete_snapshots(folder)
            delete_folder(folder)
    finally:
        lock.release()


def _delete_snapshots(folder: Path) -> None:
    """Deletes the snapshots that may hold the session's turns: those written or used since it was begun."""
    from pipeline.storage.kept_cells import forget_since

    since = datetime.fromtimestamp(0, UTC)
    with suppress(StoreError, ValueError, TypeError):
        check_unchanged(folder)
        since = datetime.fromisoformat(read_begun(folder))
    forget_since(since, ("snapshots",))


@contextmanager
def _changing_folders() -> Iterator[None]:
    """A lock for creating and deleting folders of sessions. Deletes what killed processes left of them."""
    root = make_private(sessions_folder())
    with locked(root / _LOCK, wait=True, private=True):
        for path in root.iterdir():
            if path.is_dir() and is_left_over(path):
                shutil.rmtree(path)
        yield


def sweep_sessions() -> None:
    """Deletes what killed processes left of sessions that they copied or deleted."""
    root = sessions_folder()
    if root.is_dir() and any(map(is_left_over, root.iterdir())):
        with session_errors(root), _changing_folders():
            pass


def lock_session(folder: Path) -> Lock:
    """Locks a session for this process. The lock ends with the process, even with a killed one.

    Raises StoreError if another process has it.
    """
    with session_errors(folder):
        if folder.parent == sessions_folder():
            make_private(folder.parent)
        make_private(folder)
        try:
            lock = acquire(folder / _LOCK, private=True)
        except HeldError:
            raise StoreError(
                f"{folder.name}: another chat has this session{_holder(folder)}: close it, or name another (`session`)"
            ) from None
        write_holder(folder / _HOLDER, Holder(), private=True)
    return lock


def _holder(folder: Path) -> str:
    holder = read_holder(folder / _HOLDER)
    return f" (pid {holder.pid}, since {holder.since})" if holder else ""


def existing_session(name: str) -> Path:
    """The folder of an existing session. Raises StoreError, with the names of others, for a missing one."""
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
        with read_only(folder / NAME) as db:
            n, last = db.execute("SELECT count(*), max(time) FROM turns").fetchone()
            (begun,) = db.execute("SELECT value FROM meta WHERE key = 'begun'").fetchone()
        time = str(last or json.loads(begun))
    except (sqlite3.Error, TypeError, ValueError):
        return SessionInfo(folder.name, folder, -1, "", size_of(folder))
    return SessionInfo(folder.name, folder, n, time, size_of(folder))
