"""Chroma's graph file is saved with memory that was never filled: what this process had freed must not be in it."""

from __future__ import annotations

import ctypes
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from memory.hierarchical.vectors import cleared_memory
from pipeline.retrieval.vectors import Vectors

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only glibc is told what to do")

_SECRET = b"Alma Reyes. "
_CAPACITY = 100
"""Elements that a new graph of Chroma has room for."""
_N_THREADS = 40
"""More than glibc has arenas on two processors."""


def soil(size: int) -> None:
    """Frees blocks full of the secret, as if a text had been forgotten, in every arena that threads allocate from."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes, libc.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
    together = threading.Barrier(_N_THREADS)

    def work() -> None:
        blocks = [libc.malloc(size) for _ in range(20)]
        for block in blocks:
            ctypes.memmove(block, (_SECRET * (size // len(_SECRET) + 1))[:size], size)
        together.wait()  # no arena serves two threads while there is another
        for block in blocks:
            libc.free(block)

    threads = [threading.Thread(target=work) for _ in range(_N_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def leaks(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and _SECRET in path.read_bytes()]


@pytest.mark.parametrize("dimension", [16, 384])
def test_what_was_freed_is_not_in_the_graph(tmp_path: Path, dimension: int) -> None:
    size = _CAPACITY * (dimension * 4 + 268)
    rows = np.random.default_rng(7).normal(size=(2 * _CAPACITY, dimension)).astype(np.float32)
    ids = [f"t{n}.0" for n in range(len(rows))]
    half = len(ids) // 2
    for round_ in range(3):
        soil(size)
        with cleared_memory():
            vectors = Vectors(tmp_path, create=True)
            vectors.search(rows[0], 5)
            part = slice(half) if round_ == 0 else slice(half, None)
            vectors.add(ids[part], ids[part], rows[part])
            vectors.search(rows[0], 5)
            vectors.close()
        assert leaks(tmp_path) == []


def test_the_leak_is_there_without_it(tmp_path: Path) -> None:
    """If this fails, Chroma has mended it, and `cleared_memory` can go."""
    rows = np.random.default_rng(7).normal(size=(30, 16)).astype(np.float32)
    ids = [f"t{n}.0" for n in range(len(rows))]
    has_leaked = False
    for n in range(5):
        for create in range(3):
            soil(_CAPACITY * (16 * 4 + 268))
            vectors = Vectors(tmp_path / str(n), create=True)
            if create == 0:
                vectors.add(ids, ids, rows)
            vectors.search(rows[0], 5)
            vectors.close()
        has_leaked = has_leaked or bool(leaks(tmp_path))
    assert has_leaked
