"""The vectors of a session in Chroma: ids and vectors, and no text. The transcript can make all of them again.

Forgotten text must be gone from the files, and Chroma keeps bytes of what it deletes. So the remaining vectors are
written into a new folder, and the old folder is deleted. Another process writes the folder, and this one calls Chroma
inside `cleared_memory`. The reason: hnswlib saves memory that it has not filled yet, even when it only opens a folder,
and in this process that memory may have held the forgotten text (seen in Chroma 1.5.9's data_level0.bin).
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pipeline.contracts import Embedder
from pipeline.errors import StoreError
from pipeline.retrieval.questions import question_parts, question_vector
from pipeline.retrieval.vectors import Vectors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NAME = "vectors-"
_WRITE = """
import ctypes, os, signal, sys
from pathlib import Path
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no orphan writes where the next process does
    if os.getppid() != int(sys.argv[3]):
        sys.exit("its parent is gone")
import numpy as np
from pipeline.offline import switch_off_telemetry
from pipeline.retrieval.vectors import Vectors
switch_off_telemetry()
vectors = Vectors(Path(sys.argv[1]), create=True)
ids = (Path(sys.argv[2]) / "ids").read_text().split()
if ids:
    vectors.add(ids, ids, np.load(Path(sys.argv[2]) / "vectors.npy", allow_pickle=False))
vectors.close()
"""


# glibc's malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_PERTURB = -1, -3, -6


@contextmanager
def cleared_memory() -> Iterator[None]:
    """Memory that is allocated in here holds zeros, and nothing that was freed before.

    Small blocks are overwritten. Large blocks come from the kernel. Afterwards glibc keeps the thresholds at which its
    adaptation ends (blocks of up to 32 MB from its heap). Other C libraries have no such switch, and may save freed
    memory.
    """
    mallopt: Callable[[int, int], int] = lambda option, value: 0  # noqa: E731
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", mallopt)
    mallopt(_M_PERTURB, 0xFF)  # freed memory is filled with this, new memory with its complement
    mallopt(_M_MMAP_THRESHOLD, 1 << 16)
    try:
        yield
    finally:
        mallopt(_M_PERTURB, 0)
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)
        mallopt(_M_TRIM_THRESHOLD, 64 << 20)


class Meaning:
    """Vectors by id. An id is a letter and a number (`t12`: turn 12, `f3`: fact 3), and `.n` for each of its parts.

    `generation` is that of the current folder. An interrupted rewrite may have left others.
    """

    def __init__(self, folder: Path, generation: int, embedder: Embedder) -> None:
        self.folder = folder
        self.embedder = embedder
        self.generation = generation
        self._vectors = self._open()
        for path in folder.glob(f"{NAME}*"):
            if path != self._path:
                shutil.rmtree(path)
        with cleared_memory():
            self.ids = self._vectors.ids()

    @property
    def _path(self) -> Path:
        return self.folder / f"{NAME}{self.generation}"

    def _open(self) -> Vectors:
        try:
            with cleared_memory():
                return Vectors(self._path, create=True)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            raise StoreError(
                f"{self._path}: the vectors cannot be used ({error}): delete this folder, and they are made again"
            ) from error

    def has(self, id_: str) -> bool:
        return f"{id_}.0" in self.ids

    def add(self, texts: dict[str, str]) -> None:
        """Embeds texts by id. A text longer than the embedder reads gets one vector for each part."""
        parts = [
            (f"{id_}.{n}", part)
            for id_, text in texts.items()
            for n, part in enumerate(question_parts(self.embedder, text))
        ]
        if parts:
            ids = [id_ for id_, _ in parts]
            vectors = self.embedder.embed([part for _, part in parts])
            with cleared_memory():
                self._vectors.add(ids, ids, vectors)
            self.ids.update(ids)

    def vector(self, text: str) -> NDArray[np.float32]:
        """The unit vector to search by."""
        return question_vector(self.embedder, text)

    def search(self, vector: NDArray[np.float32], pool: int) -> dict[str, float]:
        """The cosine of each of the nearest ids: that of its nearest part."""
        if not self.ids:
            return {}
        with cleared_memory():
            nearest = self._vectors.search(vector, min(pool, len(self.ids)))
        return _best_parts(nearest)

    def cosines(self, vector: NDArray[np.float32], ids: Collection[str]) -> dict[str, float]:
        """The cosine of each of these ids that has a vector."""
        parts = [id_ for id_ in self.ids if id_.partition(".")[0] in ids] if ids else []
        if not parts:
            return {}
        with cleared_memory():
            vectors = self._vectors.get(parts)
        return _best_parts(zip(parts, (vectors @ vector).tolist(), strict=True))

    def rewrite(self, keep: Callable[[str], bool], note: Callable[[int], None]) -> None:
        """Moves the ids to keep into a new folder. `note` receives its generation once it is complete."""
        kept = sorted(id_ for id_ in self.ids if keep(id_.partition(".")[0]))
        with cleared_memory():
            vectors = self._vectors.get(kept) if kept else None
            self._vectors.close()
        old = self._path
        self.generation += 1
        if self._path.exists():
            shutil.rmtree(self._path)
        _write_apart(self._path, kept, vectors)
        self._vectors = self._open()
        note(self.generation)
        shutil.rmtree(old)
        self.ids = set(kept)

    def close(self) -> None:
        with cleared_memory():
            self._vectors.close()


def _best_parts(cosines: Iterable[tuple[str, float]]) -> dict[str, float]:
    """The highest cosine of the parts of each id."""
    best: dict[str, float] = {}
    for id_, cosine in cosines:
        whole = id_.partition(".")[0]
        best[whole] = max(cosine, best.get(whole, -1.0))
    return best


def _write_apart(folder: Path, ids: Sequence[str], vectors: NDArray[np.float32] | None) -> None:
    """Has another process make the folder. Raises StoreError if that fails: deleted vectors stay deleted."""
    import numpy as np

    with TemporaryDirectory() as temporary:
        (Path(temporary) / "ids").write_text("\n".join(ids), encoding="ascii")
        if vectors is not None:
            np.save(Path(temporary) / "vectors.npy", vectors, allow_pickle=False)
        process = subprocess.run(
            [sys.executable, "-c", _WRITE, str(folder), temporary, str(os.getpid())],
            capture_output=True,
            text=True,
            check=False,
        )
    if process.returncode:
        raise StoreError(f"{folder}: the vectors cannot be written anew: {process.stderr.strip()[-300:]}")
