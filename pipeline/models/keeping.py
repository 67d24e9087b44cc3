"""The part of an engine that caches cells: of passages that are read once, and of prompts to resume.

excerpts.py expands excerpts, pieces.py makes pieces, piece_store.py stores them, and compose.py decides whether a
model's cells can be composed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pipeline.contracts import Progress
from pipeline.models.cell_limits import cell_limits
from pipeline.models.cell_packing import PACKED_SHARE
from pipeline.models.cells import Cells, cells_of
from pipeline.models.compose import NO_ROOM, ComposeVerdict, judge
from pipeline.models.context import HaltedError
from pipeline.models.excerpts import expanded, has_excerpts
from pipeline.models.pool import Pool
from pipeline.models.resolving import cell_bytes
from pipeline.models.weights import Weights
from pipeline.types import Cached, Excerpt, Piece, Prompt, Text

if TYPE_CHECKING:
    from pipeline.models.engine import Engine
    from pipeline.models.pieces import Pieces
    from pipeline.models.snapshots import Snapshots


@dataclass(frozen=True)
class LaidOut:
    """A prompt as cells; `n_stored` tokens of passages were read and cached for it, in `stored_s` seconds."""

    cells: Cells
    n_stored: int = 0
    stored_s: float = 0.0


class KeepsCells:
    """Converts prompts to cells, including those of cached pieces. `Engine` is the only subclass."""

    weights: Weights
    pool: Pool
    _lock: threading.RLock
    _verdict: ComposeVerdict | None = None
    _is_resuming = False

    @property
    def _engine(self) -> Engine:
        return cast("Engine", self)

    def _check_open(self) -> None:
        raise NotImplementedError

    # ------------------------------------------------------------------------------------------- what a prompt takes
    def cells(self, prompt: Prompt | str) -> Cells:
        """Converts a prompt to cells. A bare text starts with the vocabulary's BOS token, if it has one."""
        if not isinstance(prompt, str):
            return self._cells_of(prompt)
        begin = (Text(self.weights.bos, special=True),) if self.weights.bos else ()
        return cells_of((*begin, Text(prompt)), self.weights)

    def _cells_of(self, prompt: Prompt, progress: Progress | None = None) -> Cells:
        """Converts a prompt to cells. Reads the passages of its excerpts now, unless their cells are cached."""
        for span in prompt:
            if isinstance(span, Cached):
                self.pieces.check(span.piece)
        n_excerpts = sum(isinstance(span, Excerpt) for span in prompt)
        if not n_excerpts:
            return cells_of(prompt, self.weights)
        n_done = 0

        def piece(excerpt: Excerpt) -> Piece:
            nonlocal n_done
            made = self.pieces.make(excerpt.home, tuple(Text(text, excerpt.part) for text in excerpt.texts))
            n_done += 1
            if progress is not None:
                progress("read passages", n_done, n_excerpts)
            return made

        return cells_of(expanded(prompt, self.weights, None if self.why_not_compose else piece), self.weights)

    def _laid_out(self, prompt: Prompt, progress: Progress | None) -> LaidOut:
        """Converts a prompt to cells, with the cost of reading the passages of its excerpts."""
        if not has_excerpts(prompt) or self.why_not_compose:
            return LaidOut(self.cells(prompt))
        pieces = self.pieces
        n_before, s_before = pieces.n_read, pieces.read_s
        cells = self._cells_of(prompt, progress)
        return LaidOut(cells, pieces.n_read - n_before, pieces.read_s - s_before)

    def _go_on(self, cells: Cells) -> None:
        """Loads the snapshot of the cells' prefix, if `resume` requested it."""
        if self._is_resuming:
            self._is_resuming = False
            self.snapshots.load(cells)

    # -------------------------------------------------------------------------------------------------- what is kept
    @cached_property
    def pieces(self) -> Pieces:
        """The cells of texts that are read once. Raises ModelError if this model's cells cannot be composed."""
        from pipeline.models.pieces import Pieces
        from pipeline.storage.cache import cache_folder

        with self._lock:
            self._check_open()
            limits = cell_limits()
            root = cache_folder() / "pieces"
            return Pieces(self._engine, root, limits.max_memory_bytes, limits.max_disk_bytes, limits.is_packed)

    @property
    def verdict(self) -> ComposeVerdict:
        """Whether this model's cells can be moved and composed (compose.py); tested once per file."""
        with self._lock:
            self._check_open()
            if self._verdict in (None, NO_ROOM):
                self._verdict = judge(self._engine)
            return self._verdict

    @property
    def why_not_compose(self) -> str:
        """Why this model's cells cannot be moved and composed; empty if they can."""
        return self.verdict.why

    def piece(self, prefix: Prompt, text: Prompt) -> Piece:
        """Returns the cells of a text behind a prefix, for use as `Cached`; reads them unless they are cached."""
        with self._lock:
            self._check_open()
            return self.pieces.make(prefix, text)

    def n_to_read(self, prompt: Prompt) -> int:
        """How many tokens `read_ahead` would read for a prompt: those of its excerpts' texts that are not kept yet."""
        with self._lock:
            self._check_open()
            return sum(len(cells_of(text, self.weights)) for _, text in self._texts_to_read(prompt))

    def read_ahead(self, prompt: Prompt, is_halted: Callable[[], bool] | None = None) -> int:
        """Reads the texts of a prompt's excerpts that are not kept yet, and keeps their cells; gives the tokens read.

        Ends within milliseconds of `is_halted` turning true (on a GPU after the text that is being read). A text that
        was not read to its end is not kept. Sequences that wait for prompts to come stay as they are: where there is no
        room beside them, nothing is read.
        """
        n_read = 0
        for home, text in self._texts_to_read(prompt):
            with self._lock:
                self._check_open()
                n, before = len(cells_of(text, self.weights)), cells_of(home, self.weights)
                if (is_halted is not None and is_halted()) or not self.pool.has_room_beside_idle(before.keys, n):
                    break
                try:
                    with nullcontext() if is_halted is None else self.pool.context.halting(is_halted):
                        self.pieces.make(home, text)
                except HaltedError:
                    break
                n_read += n
        return n_read

    def _texts_to_read(self, prompt: Prompt) -> list[tuple[Prompt, Prompt]]:
        """The homes and texts of a prompt's excerpts that are not kept yet, each once."""
        with self._lock:
            if not has_excerpts(prompt) or self.why_not_compose:
                return []
            excerpts = [span for span in prompt if isinstance(span, Excerpt)]
            texts = {span.texts: (span.home, tuple(Text(text, span.part) for text in span.texts)) for span in excerpts}
            return [(home, text) for home, text in texts.values() if not self.pieces.has(home, text)]

    def finish_keeping(self, timeout_s: float = 60) -> bool:
        """Waits until all cells that are to be kept are on disk; False if that takes longer."""
        return self.pieces.store.flush(timeout_s) if "pieces" in self.__dict__ else True

    @property
    def kept_cell_bytes(self) -> float:
        """Bytes that a kept cell takes on disk, about."""
        n_bytes = cell_bytes(self.weights, self._engine.resolved.kv_k, self._engine.resolved.kv_v)
        return n_bytes * (PACKED_SHARE if cell_limits().is_packed else 1)

    def forget(self, text: str) -> int:
        """Deletes all cells that hold a text or were read behind it, in memory and on disk.

        Returns the number of files and pieces. Cells of answers in flight stay until these end.
        """
        from pipeline.storage.kept_cells import forget_text

        with self._lock:
            self.pool.forget()
            n = self.pieces.store.forget(text) if "pieces" in self.__dict__ else 0
            return n + forget_text(text)

    @cached_property
    def snapshots(self) -> Snapshots:
        """The snapshots of this model and these settings, in longthread's cache folder."""
        from pipeline.models.snapshots import Snapshots
        from pipeline.storage.cache import cache_folder

        return Snapshots(cache_folder() / "snapshots", self._engine, cell_limits().max_disk_bytes)

    def snapshot(self, prompt: Prompt | str) -> Path:
        """Saves the prompt's cells to disk; reads the prompt first if needed."""
        with self._lock:
            self._check_open()
            return self.snapshots.save(self.cells(prompt))

    def restore(self, prompt: Prompt | str) -> int:
        """Loads the longest snapshot of the prompt's prefix; returns the number of usable cells, 0 for none."""
        with self._lock:
            self._check_open()
            return self.snapshots.load(self.cells(prompt))

    def keep(self, prompt: Prompt) -> bool:
        """Saves to disk the cells that the context holds of the prompt and its answer, without decoding."""
        with self._lock:
            self._check_open()
            return self.snapshots.keep(self.cells(prompt))

    def resume(self) -> None:
        """Makes the next prompt resume from a snapshot on disk, if one matches its prefix."""
        self._is_resuming = True
