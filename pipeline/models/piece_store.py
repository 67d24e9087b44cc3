"""Cells of passages in memory and on disk, so that a passage is read once for all later questions.

Memory and disk are LRU caches with limits. Several processes may read and write the files (cell_files.py). A thread
writes them, so that no answer waits for the disk. If a piece cannot be written, or is damaged, the model reads its text
again: the store never fails, it only costs time.

Cells reveal their text. So `forget` deletes everything that depends on a text: in memory, on disk for every model, and
in the write queue.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.models import cell_packing
from pipeline.storage import cell_files, kept_cells, lru
from pipeline.types import Piece

LOG = logging.getLogger("longthread.cells")
N_TEXTS = kept_cells.N_TEXTS["pieces"]


class PieceStore:
    """The pieces of one model with its settings, `model` being the hash of both.

    `root` holds a folder per model; `max_disk_bytes` limits all of them together, 0 for no disk cache.
    `is_packed`: cells in f16 are written with 8 bits a value (cell_packing.py).
    """

    def __init__(
        self, root: Path, model: str, max_memory_bytes: int, max_disk_bytes: int, is_packed: bool = False
    ) -> None:
        self.root = root
        self.folder = root / model[:32]
        self.model = model
        self.max_memory_bytes = max_memory_bytes
        self.max_disk_bytes = max_disk_bytes
        self.is_packed = is_packed
        self.n_bytes = 0
        self._pieces: OrderedDict[str, Piece] = OrderedDict()
        self._pending: OrderedDict[str, Piece] = OrderedDict()
        """The write queue, including the piece that is being written."""
        self._changed = threading.Condition()
        self._writer: threading.Thread | None = None
        self._is_closed = False

    def __len__(self) -> int:
        """Returns the number of pieces in memory."""
        return len(self._pieces)

    def path(self, key: str) -> Path:
        """Returns the file of a piece, which may not exist."""
        return self.folder / f"{key[:40]}.kv"

    def get(self, key: str) -> Piece | None:
        """Returns the piece of that key; None if it is neither in memory nor intact on disk."""
        with self._changed:
            piece = self._pieces.get(key) or self._pending.get(key)
            if piece is not None:
                self._keep(piece)
                return piece
        if self.max_disk_bytes == 0:
            return None
        piece = self._load(key)
        if piece is not None:
            with self._changed:
                self._keep(piece)
        return piece

    def has(self, key: str) -> bool:
        """Whether a piece is in memory, or its file is on disk and was written to its end."""
        with self._changed:
            if key in self._pieces or key in self._pending:
                return True
        return self.max_disk_bytes > 0 and self._is_there(key)

    def put(self, piece: Piece) -> None:
        """Stores a piece in memory, and queues it for the disk."""
        with self._changed:
            self._keep(piece)
            if self.max_disk_bytes == 0 or self._is_closed:
                return
            self._pending[piece.key] = piece
            while (
                len(self._pending) > 1 and sum(_size(other) for other in self._pending.values()) > self.max_memory_bytes
            ):
                self._pending.popitem(last=False)  # the disk is too slow: the model will read this piece again
            if self._writer is None:
                self._writer = threading.Thread(target=self._write_all, name="longthread-cells", daemon=True)
                self._writer.start()
            self._changed.notify_all()

    def remove(self, key: str) -> None:
        """Deletes one piece in memory and on disk."""
        with self._changed:
            self._drop(key)
            self._pending.pop(key, None)
            self.path(key).unlink(missing_ok=True)

    def forget(self, text: str) -> int:
        """Deletes all pieces that hold a text or were read behind it, of all models; returns their number.

        Ignores case and white space. An empty text matches nothing.
        """
        wanted = cell_files.flat(text)
        if not wanted:
            return 0
        with self._changed:
            keys = {
                key for part in (self._pieces, self._pending) for key, piece in part.items() if _holds(piece, wanted)
            }
            for key in keys:
                self._drop(key)
                self._pending.pop(key, None)
            on_disk = [key for key in keys if self.path(key).exists()]
            return len(keys) - len(on_disk) + cell_files.forget(self.root, text, N_TEXTS)

    def flush(self, timeout_s: float | None = None) -> bool:
        """Waits until the queue is written; returns False after the timeout."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._pending, timeout_s)

    def close(self, timeout_s: float = 30) -> None:
        """Writes the queue, within the timeout, and ends the thread."""
        self.flush(timeout_s)
        with self._changed:
            self._is_closed = True
            self._pending.clear()
            self._changed.notify_all()
        if self._writer is not None:
            self._writer.join(timeout_s)

    # -------------------------------------------------------------------------------------------------------- memory
    def _keep(self, piece: Piece) -> None:
        self._drop(piece.key)
        if _size(piece) > self.max_memory_bytes:
            return
        self._pieces[piece.key] = piece
        self.n_bytes += _size(piece)
        while self.n_bytes > self.max_memory_bytes:
            self._drop(next(iter(self._pieces)))

    def _drop(self, key: str) -> None:
        piece = self._pieces.pop(key, None)
        if piece is not None:
            self.n_bytes -= _size(piece)

    # ---------------------------------------------------------------------------------------------------------- disk
    def _load(self, key: str) -> Piece | None:
        path = self.path(key)
        content = cell_files.read(path)
        if content is None:
            return None
        fields, sections = content
        if fields.get("key") != key or fields.get("model") != self.model or len(sections) != 4:
            LOG.warning("%s: not loaded: it belongs to another model or text", path)
            return None
        text, before, tokens, state = sections
        lru.touch(path)
        return Piece(
            key=key,
            model=self.model,
            prefix=fields["prefix"],
            position=fields["position"],
            tokens=tokens.view(np.int32),
            state=cell_packing.unpack(state) if fields["is_packed"] else state,
            text=text.tobytes().decode("utf-8", "surrogatepass"),
            before=before.tobytes().decode("utf-8", "surrogatepass"),
            seconds=fields.get("seconds", 0.0),
        )

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._is_closed)
                if self._is_closed:
                    return
                piece = next(iter(self._pending.values()))
            part = None
            try:
                if not self._is_there(piece.key):
                    part = self._write_part(piece)
            except OSError as error:
                LOG.warning("%s: not kept: %s", self.path(piece.key), error.strerror or error)
            with self._changed:
                if part is not None and self._pending.get(piece.key) is piece:  # not forgotten meanwhile
                    with contextlib.suppress(FileNotFoundError):  # another process forgot something
                        os.replace(part, self.path(piece.key))
                if part is not None:
                    part.unlink(missing_ok=True)
                if self._pending.get(piece.key) is piece:
                    del self._pending[piece.key]
                self._changed.notify_all()
            if part is not None:
                with contextlib.suppress(OSError):
                    cell_files.evict(self.root, self.max_disk_bytes, keep=self.path(piece.key))

    def _is_there(self, key: str) -> bool:
        header = cell_files.read_header(self.path(key))
        return header is not None and header.fields.get("key") == key

    def _write_part(self, piece: Piece) -> Path:
        fields: dict[str, Any] = {"key": piece.key, "model": piece.model, "prefix": piece.prefix}
        fields |= {"position": piece.position, "seconds": round(piece.seconds, 6)}
        packed = cell_packing.pack(piece.state) if self.is_packed else None
        fields["is_packed"] = packed is not None
        texts = [np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8) for text in (piece.text, piece.before)]
        state = piece.state if packed is None else packed
        return cell_files.write_part(self.path(piece.key), fields, [*texts, piece.tokens, state])


def _size(piece: Piece) -> int:
    return piece.state.nbytes + piece.tokens.nbytes


def _holds(piece: Piece, wanted: str) -> bool:
    return wanted in cell_files.flat(piece.text) or wanted in cell_files.flat(piece.before)


def delete_texts(root: Path, texts: Iterable[str]) -> int:
    """Deletes the pieces on disk, of all models, that hold one of these texts; returns their number.

    For passages that are no longer in any index. Unreadable files are left to LRU eviction.
    """
    wanted = [flat for text in texts if (flat := cell_files.flat(text))]
    gone = []
    for path in root.glob("*/*.kv") if wanted else ():
        sections = cell_files.read_first(path, 1)
        if sections is not None:
            content = cell_files.flat(sections[0].decode("utf-8", "replace"))
            gone += [path] if any(text in content for text in wanted) else []
    for path in gone:
        path.unlink(missing_ok=True)
    return len(gone)
