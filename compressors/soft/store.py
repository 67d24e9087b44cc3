"""States of texts on disk, float16, so that a document is read once and k is chosen when the question comes.

A file is named after the hash of its tokens. It holds a magic line, the SHA-256 of what follows, and the states; one
that is torn or damaged is named in the log, and made again. A token takes 2 n_embd bytes: 1152 of SmolLM2-135M.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOG = logging.getLogger("longthread.extensible")
_MAGIC = b"longthread-states-1\n"
_HASH_BYTES = 32
DEFAULT_MOST_BYTES = 2 << 30


@dataclass(frozen=True)
class StateStore:
    """The states of one model's texts in a folder; beyond `most_bytes` the least recently used go."""

    folder: Path
    n_embd: int
    most_bytes: int = DEFAULT_MOST_BYTES

    def get(self, tokens: NDArray[np.int32], make: Callable[[], NDArray[np.float16]]) -> NDArray[np.float16]:
        """The states of these tokens, (n, n_embd), from the disk, or as `make` gives them, and then kept."""
        path = self.path(tokens)
        found = self._read(path, len(tokens))
        if found is None:
            found = make()
            self._write(path, found)
        return found

    def path(self, tokens: NDArray[np.int32]) -> Path:
        return self.folder / f"{hashlib.sha256(np.ascontiguousarray(tokens, '<i4').tobytes()).hexdigest()[:40]}.states"

    def _read(self, path: Path, n: int) -> NDArray[np.float16] | None:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            LOG.warning("%s cannot be read: %s; its text is read again", path, error.strerror)
            return None
        head, data = content[: len(_MAGIC) + _HASH_BYTES], content[len(_MAGIC) + _HASH_BYTES :]
        is_whole = head == _MAGIC + hashlib.sha256(data).digest() and len(data) == 2 * n * self.n_embd
        if not is_whole:
            LOG.warning("%s is damaged; its text is read again", path)
            return None
        os.utime(path)
        return np.frombuffer(data, "<f2").reshape(n, self.n_embd)

    def _write(self, path: Path, states: NDArray[np.float16]) -> None:
        from pipeline.errors import ModelError
        from pipeline.models.files import new_file

        data = np.ascontiguousarray(states, "<f2").tobytes()
        try:
            with new_file(path, len(data)) as temporary:
                temporary.write_bytes(_MAGIC + hashlib.sha256(data).digest() + data)
        except ModelError as error:  # what cannot be kept is read again next time, and costs nothing else
            LOG.warning("%s", error)
            return
        self._evict(path)

    def _evict(self, keep: Path) -> None:
        files = [
            (about.st_mtime, about.st_size, path) for path in self.folder.glob("*.states") if (about := _stat(path))
        ]
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= self.most_bytes:
                return
            if path != keep:
                path.unlink(missing_ok=True)
                total -= size


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:  # another process removed it
        return None
