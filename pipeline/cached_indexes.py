"""The indexes of `--docs` in the cache folder: what there is, what it holds, and deleting it.

Each can be made again from its documents.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline.cache import cache_folder, size_of
from pipeline.errors import StoreError
from pipeline.retrieval.generations import MANIFEST, newest
from pipeline.retrieval.lock import lock_unless_written
from pipeline.storage.folders import delete_folder
from pipeline.storage.sqlite import read_only
from pipeline.storage.whole import is_left_over

_COPY = re.compile(r"\.copy-(\d+)\Z")
"""The end of the name of a half-made copy, with the process that makes it."""


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """An index as a list shows it: the folder that all of its documents lie in, and its size in bytes.

    `n_documents` is -1 for one that cannot be read or is unfinished: the next update goes on with that. `used` is when
    it was last made or opened, ISO 8601 in UTC.
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
    """All indexes, the last used first. Deletes what a killed process left."""
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
    """Deletes an index; gives the bytes that are free again.

    Whoever reads it goes on with what is loaded, and makes it again when it is opened next. Raises StoreError for one
    that is not there, and for one that a process is writing.
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
    """Deletes what a process that was killed while it copied or deleted an index left of it."""
    for path in indexes_folder().iterdir():
        copy = _COPY.search(path.name)
        if is_left_over(path) or (copy and not _is_running(int(copy[1]))):
            shutil.rmtree(path, ignore_errors=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
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
    """The one document, or the folder that all of them lie in."""
    if len(sources) < 2:
        return "".join(sources)
    try:
        return os.path.commonpath(sources)
    except ValueError:  # on two drives
        return os.path.dirname(sources[0])
