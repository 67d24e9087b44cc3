"""The generations of an index: whole states of it, one folder each. The newest counts.

    index/
        generation-000007/    published: never written again
        unfinished/           the next one, while a writer makes it or after a writer was killed

A writer copies the newest generation, changes the copy, and publishes it by renaming its folder, in one step. A reader
holds a shared lock on the generation that it reads, so it needs no right to write and waits for nobody. Older
generations are deleted once nobody holds them.

An index of an older longthread has the files of a generation in the index's folder itself. It is read like a
generation, and replaced by one when it is next written.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import StoreError
from pipeline.retrieval.lock import FILES as WRITER_FILES
from pipeline.retrieval.lock import lock_unless_written
from pipeline.retrieval.saved_vectors import NAME as VECTORS
from pipeline.retrieval.vectors import copy_vectors
from pipeline.storage.checksums import agrees, save_checksum

MANIFEST = "manifest.sqlite"
CHROMA = "chroma"
BM25 = "bm25"
LOCK_NAME = ".longthread.lock"
UNFINISHED = "unfinished"
_COPYING = ".copying"
FIRST = "generation-000001"
_GENERATION = re.compile(r"generation-(\d+)")
_FLAT = (MANIFEST, f"{MANIFEST}-wal", f"{MANIFEST}-shm", f"{MANIFEST}.crc32", CHROMA, BM25, VECTORS, LOCK_NAME)
"""What an older longthread wrote into the index's folder itself. The manifest first: without it the rest is nothing."""


@dataclass
class Held:
    """A state of an index that this process uses. A published one is not deleted by others until `release`.

    It is released, at the latest, when the last reference to it is dropped.
    """

    path: Path
    fd: int | None = None

    def __del__(self) -> None:
        self.release()

    @property
    def is_unfinished(self) -> bool:
        return self.path.name == UNFINISHED

    def release(self) -> None:
        """Releasing twice does nothing."""
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


def newest(folder: Path) -> Path | None:
    """The folder of the newest generation; None where none was published."""
    return next(iter(published(folder)), None)


def published(folder: Path) -> list[Path]:
    """The folders of all generations that are still there, newest first. Those that nobody holds may vanish."""
    return [path for path in (*reversed(_numbered(folder)), folder) if (path / MANIFEST).is_file()]


def hold_newest(folder: Path) -> Held | None:
    """Holds the newest generation; None where none was published.

    Raises sqlite3.DatabaseError where its manifest is not the one that was published.
    """
    while (path := newest(folder)) is not None:
        held = _hold(path)
        if held is not None:
            if not agrees(path / MANIFEST):
                held.release()
                raise sqlite3.DatabaseError(f"{path / MANIFEST} was changed: its checksum does not agree")
            return held
        time.sleep(0.01)  # it is being deleted, so there is a newer one
    return None


@contextmanager
def holding(folder: Path) -> Iterator[Path]:
    """The folder of the newest generation, held inside; it can be opened like an index. Raises StoreError for none."""
    held = hold_newest(folder)
    if held is None:
        raise missing(folder)
    try:
        yield held.path
    finally:
        held.release()


def missing(folder: Path, is_unfinished: bool = False) -> StoreError:
    """The error for a folder in which no generation was published."""
    if is_unfinished or (folder / UNFINISHED).exists():
        try:
            lock_unless_written(folder).release()
        except StoreError as error:
            return error
        except OSError:  # a folder that may only be read
            pass
        return StoreError(
            f"{folder}: the index is unfinished, as an interrupted run leaves it: run longthread index again "
            "with the same paths, and it goes on from there"
        )
    return StoreError(f"{folder}: there is no index here: make one with longthread index PATH... --index {folder}")


def check_is_ours(folder: Path) -> None:
    """Raises StoreError for a folder with other files: nothing is deleted that we did not make."""
    names = {path.name for path in folder.iterdir()}
    ours = {UNFINISHED, _COPYING, *_FLAT} | WRITER_FILES
    strange = sorted(name for name in names - ours if not _GENERATION.fullmatch(name))
    if newest(folder) is not None or not names or (names & ({LOCK_NAME} | WRITER_FILES) and not strange):
        return
    raise StoreError(
        f"{folder}: holds no index, but other files ({', '.join(strange or sorted(names))[:80]}): name a "
        "folder that is new or empty"
    )


# ------------------------------------------------------------------------------------- for the one process that writes
def begin(folder: Path) -> Held:
    """An empty next generation, in the place of one that was not finished."""
    discard(folder)
    (folder / UNFINISHED).mkdir()
    return Held(folder / UNFINISHED)


def begin_from(folder: Path, path: Path) -> Held:
    """A copy of a generation as the next one, whole or not at all."""
    discard(folder)
    copy_generation(path, folder / _COPYING)
    (folder / _COPYING).rename(folder / UNFINISHED)
    return Held(folder / UNFINISHED)


def discard(folder: Path) -> None:
    """Deletes a generation that was not finished."""
    for name in (_COPYING, UNFINISHED):
        if (folder / name).exists():
            shutil.rmtree(folder / name)


def publish(folder: Path) -> Held:
    """Makes the next generation the newest, in one step, and deletes older ones that nobody reads.

    Its manifest is closed, and is not written again.
    """
    (folder / UNFINISHED / LOCK_NAME).touch()
    save_checksum(folder / UNFINISHED / MANIFEST)
    number = max((_number(path) for path in _numbered(folder)), default=0) + 1
    path = folder / f"generation-{number:06}"
    (folder / UNFINISHED).rename(path)
    _sync(folder)
    sweep(folder)
    held = _hold(path)
    if held is None:
        raise StoreError(f"{path}: was deleted as soon as it was published: is this folder cleaned by something else?")
    return held


def sweep(folder: Path) -> None:
    """Deletes generations that are older than the newest and that no process holds. What cannot be deleted stays."""
    last = newest(folder)
    if last is None or last == folder:
        return
    for path in _numbered(folder):
        if _number(path) < _number(last):
            _delete_unless_held(path, (path,))
    if (folder / MANIFEST).exists():
        _delete_unless_held(folder, tuple(folder / name for name in _FLAT))


def copy_generation(path: Path, target: Path) -> None:
    """Copies the files of a generation, and nothing else that lies in its folder."""
    target.mkdir(parents=True)
    (target / LOCK_NAME).touch()
    for name in _FLAT:
        if name == CHROMA and (path / name).is_dir():
            copy_vectors(path / name, target / name)
        elif (path / name).is_dir():
            shutil.copytree(path / name, target / name)
        elif (path / name).exists():
            shutil.copyfile(path / name, target / name)


# ------------------------------------------------------------------------------------------------------------ the locks
def _hold(path: Path) -> Held | None:
    """None where the generation is being deleted, or is gone.

    Without a lock file, as a copy made by hand may be, and where the file system has no locks it is read all the same:
    a process that deletes it then takes files away that are open.
    """
    try:
        fd = os.open(path / LOCK_NAME, os.O_RDONLY)
    except OSError:
        return Held(path) if (path / MANIFEST).exists() else None
    if not _lock(fd, is_shared=True) or not (path / LOCK_NAME).exists():
        os.close(fd)
        return None
    return Held(path, fd)


def _delete_unless_held(path: Path, parts: tuple[Path, ...]) -> None:
    try:
        fd = os.open(path / LOCK_NAME, os.O_RDWR)
    except FileNotFoundError:
        fd = None
    except OSError:
        return
    try:
        if fd is None or _lock(fd, is_shared=False):
            for part in parts:
                if part.is_dir():
                    shutil.rmtree(part, ignore_errors=True)
                else:
                    part.unlink(missing_ok=True)
    except OSError:
        return
    finally:
        if fd is not None:
            os.close(fd)


def _lock(fd: int, is_shared: bool) -> bool:
    """False where another process holds it. A file system without locks counts as free to read, never to delete."""
    if sys.platform == "win32":
        return True  # the system itself keeps files that are open
    import fcntl

    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return is_shared
    return True


def _numbered(folder: Path) -> list[Path]:
    """The folders of generations, oldest first. One without a manifest was deleted in part."""
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted((folder / name for name in names if _GENERATION.fullmatch(name)), key=_number)


def _number(path: Path) -> int:
    match = _GENERATION.fullmatch(path.name)
    return int(match[1]) if match else 0


def _sync(folder: Path) -> None:
    """Has the system write the folder's names to the disk."""
    if sys.platform == "win32":
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
