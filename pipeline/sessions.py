"""Sessions by name: one folder each under the data folder's `sessions`, and one process at a time in each."""

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

from pipeline.cache import cache_folder, data_folder, make_private, size_of
from pipeline.errors import StoreError
from pipeline.forgetting import is_pending
from pipeline.storage.folders import delete_folder, temporary_name
from pipeline.storage.whole import is_left_over, write_whole
from pipeline.transcript import NAME, check_unchanged, read_turns, told

if TYPE_CHECKING:
    from filelock import FileLock

_LOCK = ".longthread.lock"
_HOLDER = ".longthread.holder"
_NAME = re.compile(r"[\w][\w .-]{0,63}")


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session as a list shows it. `time` is that of its last turn, or of its beginning; `size` is in bytes."""

    name: str
    folder: Path
    n_turns: int
    time: str
    size: int = 0


def sessions_folder() -> Path:
    return data_folder() / "sessions"


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
    if not folder.is_dir():
        return ()
    sweep_sessions()
    infos = [_info(path) for path in folder.iterdir() if _NAME.match(path.name) and (path / NAME).is_file()]
    return tuple(sorted(infos, key=lambda info: info.time, reverse=True))


def other_sessions(folder: Path) -> list[Path]:
    """The folders of all sessions but this one, by name."""
    root = sessions_folder()
    folders = sorted(path for path in root.iterdir() if (path / NAME).is_file()) if root.is_dir() else []
    return [path for path in folders if path.resolve() != folder.resolve() and not path.name.startswith(".")]


def move_from_cache() -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Moves the sessions that an older version kept in the cache folder.

    Returns the names of those that came, and of those that stayed, each with the reason: another process has it open,
    or it is damaged. Where the name is taken, the session gets another. Killed on the way, it goes on the next time.
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
    with told(target), _changing_folders():
        if target.exists():
            if (target / NAME).is_file() and read_turns(target) == read_turns(folder):
                return target  # a move that was killed before it deleted its source
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
    """Raises StoreError where one is missing or in use, or the other is there already."""
    source, target = existing_session(name), _free(new)
    lock = lock_session(source)
    try:
        with told(source):
            source.rename(target)
    finally:
        lock.release()
    return target


def fork_session(name: str, new: str) -> Path:
    """A copy of a session under another name, whole or not at all. The session may be open; vectors are made again.

    Raises StoreError where one is missing, the other is there already, or the session is to forget something first.
    """
    source, target = existing_session(name), _free(new)
    if is_pending(source):
        raise StoreError(
            f"{name}: what was to be forgotten is not forgotten yet: open it once with longthread chat --session "
            f"'{name}', and then copy it"
        )
    with told(target), _changing_folders():
        check_unchanged(source)
        half = make_private(temporary_name(target))
        try:
            os.close(os.open(half / NAME, os.O_RDWR | os.O_CREAT, 0o600))
            reading, writing = sqlite3.connect(source / NAME), sqlite3.connect(half / NAME)
            try:
                reading.backup(writing)
            finally:
                reading.close()
                writing.close()
            half.rename(target)
        except BaseException:
            shutil.rmtree(half, ignore_errors=True)
            raise
    return target


def delete_session(name: str) -> None:
    """Deletes a session and all that it remembers. Raises StoreError where it is missing or in use."""
    folder = existing_session(name)
    lock = lock_session(folder)
    try:
        with told(folder), _changing_folders():
            _delete_snapshots(folder)
            delete_folder(folder)
    finally:
        lock.release()


def _delete_snapshots(folder: Path) -> None:
    """Deletes the snapshots that may hold the session's turns: those written or used since its first."""
    from pipeline.models.kept_cells import forget_since

    since = datetime.fromtimestamp(0, UTC)
    with suppress(StoreError):
        turns = read_turns(folder)
        since = datetime.fromisoformat(turns[0].time) if turns else datetime.now(UTC)
    forget_since(since, ("snapshots",))


@contextmanager
def _changing_folders() -> Iterator[None]:
    """Held while the folder of a session comes or goes. Deletes what a killed process left of that."""
    from filelock import FileLock

    root = make_private(sessions_folder())
    with FileLock(root / _LOCK, mode=0o600):
        for path in root.iterdir():
            if path.is_dir() and is_left_over(path):
                shutil.rmtree(path)
        yield


def sweep_sessions() -> None:
    """Deletes what a process that was killed while it copied or deleted a session left of it."""
    root = sessions_folder()
    if root.is_dir() and any(map(is_left_over, root.iterdir())):
        with told(root), _changing_folders():
            pass


def lock_session(folder: Path) -> FileLock:
    """Holds a session for this process. It falls with the process, however that ends.

    Raises StoreError where another holds it.
    """
    from filelock import FileLock, Timeout

    with told(folder):
        if folder.parent == sessions_folder():
            make_private(folder.parent)
        make_private(folder)
        lock = FileLock(folder / _LOCK, timeout=0, mode=0o600)
        try:
            lock.acquire()
        except Timeout:
            raise StoreError(
                f"{folder.name}: another chat has this session{_holder(folder)}: close it, or name another (`session`)"
            ) from None
        note = {"pid": os.getpid(), "since": datetime.now().astimezone().isoformat(" ", "seconds")}
        write_whole(folder / _HOLDER, json.dumps(note), private=True)
    return lock


def _holder(folder: Path) -> str:
    try:
        note = json.loads((folder / _HOLDER).read_text(encoding="utf-8"))
        return f" (pid {note['pid']}, since {note['since']})"
    except (OSError, ValueError, KeyError):  # it has only just begun
        return ""


def existing_session(name: str) -> Path:
    """The folder of a session that is there. Raises StoreError, with the names of others, for one that is not."""
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
        db = sqlite3.connect(f"{(folder / NAME).absolute().as_uri()}?mode=ro", uri=True)
        try:
            n, last = db.execute("SELECT count(*), max(time) FROM turns").fetchone()
            (begun,) = db.execute("SELECT value FROM meta WHERE key = 'begun'").fetchone()
        finally:
            db.close()
        time = str(last or json.loads(begun))
    except (sqlite3.Error, TypeError, ValueError):
        return SessionInfo(folder.name, folder, -1, "", size_of(folder))
    return SessionInfo(folder.name, folder, n, time, size_of(folder))
