"""Sequences' cells on disk, so that a document read once is never read again.

A snapshot belongs to one model file (by hash), one set of context parameters, one build of llama.cpp and one row of
cells: it lies in a folder named after the first three, in a file named after the last. Layout: a magic line, the length
of a JSON header, the header, the keys (int64), the state as llama.cpp gives it. The header holds a checksum of both; a
file that is torn, foreign or damaged is named in the log, and not loaded.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.cache import make_private
from pipeline.errors import ModelError
from pipeline.models.cells import Cells
from pipeline.models.filehash import file_sha256
from pipeline.models.scoring import hold
from pipeline.storage.whole import new_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.models.engine import Engine

LOG = logging.getLogger("longthread.snapshots")
_MAGIC = b"longthread-kv-1\n"
_HALF = "*/*.part"
_MOST_HEADER = 1 << 16
DEFAULT_MOST_BYTES = 8 << 30


@dataclass(frozen=True)
class Header:
    """What a snapshot says of itself. `n` cells, whose keys have the digest `cells`."""

    n: int
    cells: str
    n_bytes: int
    checksum: str


class Snapshots:
    """The snapshots of one engine's model and settings in a folder; beyond `most_bytes` the least recently used go."""

    def __init__(self, folder: Path, engine: Engine, most_bytes: int = DEFAULT_MOST_BYTES) -> None:
        self._engine = engine
        self._most_bytes = most_bytes
        self._root = folder
        self.folder = folder / hashlib.sha256(json.dumps(_identity(engine), sort_keys=True).encode()).hexdigest()[:32]

    def save(self, cells: Cells) -> Path:
        """Writes the cells' snapshot, reading them first if need be. A full disk is a ModelError, and nothing stays.

        Of a recurrent model all but the last cell: the same prompt must decode that anew, and cannot trim the state.
        """
        if not self._engine.pool.can_cut and len(cells) > 1:
            cells = cells.upto(len(cells) - 1)
        path = self.folder / f"{cells.digest[:40]}.kv"
        if path.exists() and _header(path) is not None:
            os.utime(path)
            return path
        pool = self._engine.pool
        sequence = hold(pool, cells)
        try:
            state = self._engine.context.save(sequence)
        finally:
            pool.retire(sequence, cells.keys)
        keys = np.ascontiguousarray(cells.keys)
        header = Header(len(cells), cells.digest, state.nbytes, _checksum(keys, state))
        self._write(path, header, keys, state)
        self._evict(keep=path)
        return path

    def load(self, cells: Cells) -> int:
        """Loads the longest whole snapshot that these cells begin with; gives how many of them are there afterwards.

        What the context holds already is not loaded again. Without room for idle sequences nothing stays: 0.
        """
        pool = self._engine.pool
        _, n_here = pool.nearest(cells.keys)
        if pool.n_cached == 0:
            return 0
        for path, header in sorted(self._candidates(cells), key=lambda found: -found[1].n):
            if header.n <= n_here:
                return n_here
            found = _read(path, header)
            if found is None:
                continue
            keys, state = found
            if not pool.make_room(header.n):
                LOG.warning("%s: no room for its %d cells", path, header.n)
                continue
            sequence = pool.take()
            if not self._engine.context.load(sequence, state):
                pool.release(sequence)
                LOG.warning("%s: llama.cpp refuses it; it is left alone", path)
                continue
            pool.book.add(sequence, header.n)
            pool.retire(sequence, keys)
            os.utime(path)
            return pool.nearest(cells.keys)[1]
        return n_here

    def _candidates(self, cells: Cells) -> list[tuple[Path, Header]]:
        found = []
        for path in self.folder.glob("*.kv"):
            header = _header(path)
            if header is not None and header.n <= len(cells) and cells.upto(header.n).digest == header.cells:
                found.append((path, header))
        return found

    def _write(self, path: Path, header: Header, keys: NDArray[np.int64], state: NDArray[np.uint8]) -> None:
        try:
            make_private(self._root)
            path.parent.mkdir(exist_ok=True)
            text = json.dumps(header.__dict__).encode()
            with new_file(path, private=True) as temporary, temporary.open("wb") as file:
                _mark_as_written(file.fileno())
                file.write(_MAGIC + struct.pack("<I", len(text)) + text)
                file.write(keys.data)
                file.write(state.data)
        except OSError as error:
            raise ModelError(f"{path}: the snapshot cannot be written: {error.strerror or error}") from error

    def _evict(self, keep: Path) -> None:
        sweep(self._root)
        files = sorted((p for p in self._root.glob("*/*.kv") if p != keep), key=lambda p: p.stat().st_mtime)
        total = sum(path.stat().st_size for path in (keep, *files, *self._root.glob(_HALF)))
        for path in files:
            if total <= self._most_bytes:
                return
            total -= path.stat().st_size
            path.unlink(missing_ok=True)


def sweep(root: Path) -> None:
    """Deletes half-written snapshots below a folder that no process is writing: a killed one left them."""
    for path in root.glob(_HALF):
        if not _is_being_written(path):
            with suppress(OSError):  # Windows refuses to delete an open file
                path.unlink()


def _mark_as_written(handle: int) -> None:
    """Until the file is closed, `sweep` leaves it alone."""
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_being_written(path: Path) -> bool:
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def delete_since(root: Path, time: datetime) -> int:
    """Deletes all snapshots below a folder that were written or used since a time; gives their number.

    For forgetting: they may hold the tokens of a conversation, and can be made again.
    """
    since = time.timestamp()
    sweep(root)
    files = list(root.glob("*/*.kv"))
    late = [path for path in files if path.stat().st_mtime >= since]
    for path in late:
        path.unlink(missing_ok=True)
    return len(late)


def _identity(engine: Engine) -> dict[str, Any]:
    """All that decides what a cell holds."""
    resolved, settings = engine.resolved, engine.settings
    return {
        "model": file_sha256(engine.weights.path),
        "lora": [(file_sha256(Path(one.path)), one.scale) for one in settings.lora],
        "control": [
            (file_sha256(Path(v.path)), v.scale, v.first_layer, v.last_layer) for v in settings.control_vectors
        ],
        "kv": [resolved.kv_k, resolved.kv_v, resolved.kv_unified, resolved.swa_full],
        "flash": settings.flash_attention,
        "rope": [resolved.rope_scaling, resolved.rope_factor, resolved.rope_freq_base],
        "gpu": resolved.n_gpu_layers,
        "llama": version("llama-cpp-python"),
    }


def _header(path: Path) -> Header | None:
    """A snapshot's header; None, and a line in the log, where the file is none or was not written to its end."""
    try:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise ValueError("it is no snapshot")
            (size,) = struct.unpack("<I", file.read(4))
            if size > _MOST_HEADER:
                raise ValueError("its header is damaged")
            header = Header(**json.loads(file.read(size)))
            expected = len(_MAGIC) + 4 + size + 8 * header.n + header.n_bytes
            if path.stat().st_size != expected:
                raise ValueError(f"it holds {path.stat().st_size} of {expected} bytes")
            return header
    except (OSError, ValueError, TypeError, RecursionError, struct.error) as error:
        LOG.warning("%s: not loaded: %s", path, error)
        return None


def _read(path: Path, header: Header) -> tuple[NDArray[np.int64], NDArray[np.uint8]] | None:
    """A snapshot's keys and state; None, and a line in the log, if they are not what was written."""
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        LOG.warning("%s: not loaded: %s", path, error)
        return None
    state = data[len(data) - header.n_bytes :]
    start = len(data) - header.n_bytes - 8 * header.n
    keys = data[start : start + 8 * header.n].copy().view(np.int64)
    if _checksum(keys, state) != header.checksum:
        LOG.warning("%s: not loaded: its checksum is wrong; the file is deleted", path)
        path.unlink(missing_ok=True)
        return None
    return keys, np.ascontiguousarray(state)


def _checksum(keys: NDArray[np.int64], state: NDArray[np.uint8]) -> str:
    digest = hashlib.sha256(keys.data)
    digest.update(state.data)
    return digest.hexdigest()
