"""Snapshots of sequences' cells on disk, so that a document is read only once.

A snapshot belongs to one model file (by hash), one set of context parameters, one build of llama.cpp and one row of
cells. Its folder is named after the first three, its file after the last (cell_files.py).
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import ModelError
from pipeline.models.cells import Cells
from pipeline.models.identity import cells_key
from pipeline.models.scoring import hold
from pipeline.storage import cell_files, kept_cells, lru

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.models.engine import Engine

LOG = logging.getLogger("longthread.snapshots")
DEFAULT_MOST_BYTES = 8 << 30
N_TEXTS = kept_cells.N_TEXTS["snapshots"]


class Snapshots:
    """The snapshots of one engine's model and settings in a folder; beyond `most_bytes` the least recently used go."""

    def __init__(self, folder: Path, engine: Engine, most_bytes: int = DEFAULT_MOST_BYTES) -> None:
        self._engine = engine
        self._most_bytes = most_bytes
        self._root = folder
        self.folder = folder / cells_key(engine)[:32]

    def save(self, cells: Cells) -> Path:
        """Writes the cells' snapshot; reads them first if needed. Raises ModelError, without a file, for a full disk.

        For a recurrent model it omits the last cell: the same prompt has to decode that again, and cannot trim a state.
        """
        if not self._engine.pool.can_cut and len(cells) > 1:
            cells = cells.upto(len(cells) - 1)
        path = self.folder / f"{cells.digest[:40]}.kv"
        if path.exists() and cell_files.read_header(path) is not None:
            lru.touch(path)
            return path
        pool = self._engine.pool
        sequence = hold(pool, cells)
        try:
            state = self._engine.context.save(sequence)
        finally:
            pool.retire(sequence, cells.keys)
        try:
            cell_files.write(path, {"n": len(cells), "cells": cells.digest}, [self._text(cells), cells.keys, state])
        except OSError as error:
            raise ModelError(f"{path}: the snapshot cannot be written: {error.strerror or error}") from error
        cell_files.evict(self._root, self._most_bytes, keep=path)
        return path

    def keep(self, cells: Cells) -> bool:
        """Writes the context's cells that begin with these, including what follows them.

        Returns False if the context does not hold them, if the disk cache is off, or if the file cannot be written.
        """
        sequence, keys = self._engine.pool.going_on(cells.keys)
        if sequence is None or self._most_bytes == 0:
            return False
        whole = cells.then(Cells(keys[len(cells) :]))
        path = self.folder / f"{whole.digest[:40]}.kv"
        state = self._engine.context.save(sequence)
        marks = {n: cells.upto(n).digest for n in (*cells.sections, len(cells))}
        fields = {"n": len(whole), "cells": whole.digest, "marks": sorted(marks.items())}
        try:
            cell_files.write(path, fields, [self._text(whole), whole.keys, state])
            cell_files.evict(self._root, self._most_bytes, keep=path)
        except OSError as error:
            LOG.warning("%s: the snapshot cannot be written: %s", path, error.strerror or error)
            return False
        return True

    def load(self, cells: Cells) -> int:
        """Loads the snapshot that provides most of these cells: the longest that is a prefix of them, or one with a
        common prefix, as far as it has marks and sequences can be cut. Returns the number of usable cells.

        Cells that the context already holds are not loaded again. Returns 0 if idle sequences are off.
        """
        pool = self._engine.pool
        _, n_here = pool.nearest(cells.keys)
        if pool.n_cached == 0:
            return 0
        for n_common, n, path in sorted(self._candidates(cells), key=lambda candidate: -candidate[0]):
            if n_common <= n_here:
                return n_here
            content = cell_files.read(path)
            if content is None:
                continue
            _, keys, state = content[1]
            if not pool.make_room(n):
                LOG.warning("%s: no room for its %d cells", path, n)
                continue
            sequence = pool.take()
            if not self._engine.context.load(sequence, state):
                pool.release(sequence)
                LOG.warning("%s: llama.cpp refuses it; it is left alone", path)
                continue
            pool.book.add(sequence, n)
            pool.retire(sequence, keys.view(np.int64))
            lru.touch(path)
            return pool.nearest(cells.keys)[1]
        return n_here

    def forget(self, text: str) -> int:
        """Deletes the snapshots of all models that hold a text; returns their number."""
        return cell_files.forget(self._root, text, N_TEXTS)

    def _text(self, cells: Cells) -> NDArray[np.uint8]:
        """Returns the text of the cells, by which `forget` finds the snapshot."""
        pieces = {stretch.piece.text.encode("utf-8", "surrogatepass") for stretch in cells.stretches}
        tokens = b"".join(self._engine.weights.piece(key) for key in cells.keys.tolist() if key >= 0)
        return np.frombuffer(b"\n".join([tokens, *sorted(pieces)]), np.uint8)

    def _candidates(self, cells: Cells) -> list[tuple[int, int, Path]]:
        """Lists the snapshots with a common prefix: the least number of common cells, the total, and the file."""
        snapshots = []
        digests: dict[int, str] = {}

        def is_common(n: int, digest: str) -> bool:
            if not 0 < n <= len(cells):
                return False
            if n not in digests:
                digests[n] = cells.upto(n).digest
            return digests[n] == digest

        for path in self.folder.glob("*.kv"):
            header = cell_files.read_header(path)
            if header is None or len(header.sizes) != 3:
                continue
            n, marks = header.fields.get("n", 0), header.fields.get("marks", ())
            ends = [(n, header.fields.get("cells")), *(marks if self._engine.pool.can_cut else ())]
            n_common = max((end for end, digest in ends if is_common(end, digest)), default=0)
            if n_common:
                snapshots.append((n_common, n, path))
        return snapshots
