"""Caches the states of texts on disk as float16, so that a document is read once for all k.

A file is named after the hash of its tokens. It holds a magic line, the SHA-256 of the states, and the states. A
damaged file is logged and made again. A token takes 2 n_embd bytes: 1152 with SmolLM2-135M.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.storage.lru import evict, touch

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOG = logging.getLogger("longthread.extensible")
_MAGIC = b"longthread-states-1\n"
_HASH_BYTES = 32
DEFAULT_MAX_BYTES = 2 << 30


@dataclass(frozen=True)
class StateStore:
    """The states of one model's texts in a folder. Beyond `max_bytes` it evicts the least recently used."""

    folder: Path
    n_embd: int
    max_bytes: int = DEFAULT_MAX_BYTES

    def get(self, tokens: NDArray[np.int32], make: Callable[[], NDArray[np.float16]]) -> NDArray[np.float16]:
        """The states of these tokens, (n, n_embd), from the disk, or from `make`, and then cached."""
        path = self.path(tokens)
        states = self._read(path, len(tokens))
        if states is None:
            states = make()
            self._write(path, states)
        return states

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
        touch(path)
        return np.frombuffer(data, "<f2").reshape(n, self.n_embd)

    def _write(self, path: Path, states: NDArray[np.float16]) -> None:
        from pipeline.errors import ModelError
        from pipeline.storage.files import new_file

        data = np.ascontiguousarray(states, "<f2").tobytes()
        try:
            with new_file(path, len(data)) as temporary:
                temporary.write_bytes(_MAGIC + hashlib.sha256(data).digest() + data)
        except ModelError as error:  # without the file, the text is only read again next time
            LOG.warning("%s", error)
            return
        evict(self.folder.glob("*.states"), self.max_bytes, keep=path)
