"""Lists and deletes the `--docs` indexes in the cache folder. Each can be rebuilt from its documents."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline.errors import StoreError
from pipeline.retrieval.generations import MANIFEST, newest
from pipeline.retrieval.lock import lock_unless_written
from pipeline.storage.cache import cache_folder, size_of
from pipeline.storage.folders import delete_folder
from pipeline.storage.sqlite import read_only
from pipeline.storage.whole import is_left_over

_COPY = re.compile(r"\.copy-(\d+)\Z")
"""Suffix of an unfinished copy, with the process id of its writer."""


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """An entry of the list of indexes: the common folder of its documents, and its size in bytes.

    `n_documents` is -1 for an index that is unreadable or unfinished; the next update resumes it. `used` is the time of
    its last update or opening, ISO 8601 in UTC.
    """

    name: str
    documents: str
    n_documents: int
    n_passages: int
    size: int
    used: str
    is_unfinished: bool = False


def indexes_folder() -> Path:
    return cache_folder() / "indexes"


def list_indexes() -> tuple[IndexInfo, ...]:
    """Lists all indexes, most recently used first. Deletes the remains of killed processes."""
    root = indexes_folder()
    if not root.is_dir():
        return ()
    sweep_indexes()
    infos = []
    for path in root.iterdir():
        with suppress(FileNotFoundError):  # another process has deleted it meanwhile
            if path.is_dir() and any(path.rglob(MANIFEST)):
                infos.append(_info(path))
    return tuple(sorted(infos, key=lambda info: info.used, reverse=True))


def delete_index(name: str) -> int:
    """Deletes an index; returns the number of bytes freed.

    Processes that have it open continue with their loaded data; the next opening rebuilds it. Raises StoreError if it
    does not exist, or if a process is writing it.
    """
    folder = indexes_folder() / name
    if Path(name).name != name or name.startswith(".") or not folder.is_dir():
        known = ", ".join(info.name for info in list_indexes()[:4])
        raise StoreError(f"there is no index '{name}'" + (f"; there are: {known}" if known else ""))
    size = size_of(folder)
    lock = lock_unless_written(folder)
    try:
        delete_folder(folder)
    except OSError as error:
        raise StoreError(f"{folder} cannot be deleted: {error.strerror or error}") from None
    finally:
        lock.release()
    return size


def sweep_indexes() -> None:
    """Deletes the remains of processes that were killed while they copied or deleted an index."""
    for path in indexes_folder().iterdir():
        copy = _COPY.search(path.name)
        if is_left_over(path) or (copy and not _is_running(int(copy[1]))):
            shutil.rmtree(path, ignore_errors=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # the process belongs to another user
        return True
    return True


def _info(folder: Path) -> IndexInfo:
    size = size_of(folder)
    used = datetime.fromtimestamp(folder.stat().st_mtime, UTC).isoformat(timespec="seconds")
    try:
        state = newest(folder)
        if state is None:
            return IndexInfo(folder.name, "", -1, 0, size, used, is_unfinished=True)
        with read_only(state / MANIFEST) as db:
            sources = [source for (source,) in db.execute("SELECT source FROM files")]
            (n_passages,) = db.execute("SELECT count(*) FROM chunks").fetchone()
    except sqlite3.Error:
        return IndexInfo(folder.name, "", -1, 0, size, used)
    return IndexInfo(folder.name, _common(sources), len(sources), n_passages, size, used)


def _common(sources: list[str]) -> str:
    """Returns the only document, or the common folder of all."""
    if len(sources) < 2:
        return "".join(sources)
    try:
        return os.path.commonpath(sources)
    except ValueError:  # on two drives
        return os.path.dirname(sources[0])
