"""Cells of texts that are read once and then reused in prompts.

    passage = engine.piece(prefix, (Text("The hive has seven frames. "),))
    prompt = (*prefix, Cached(passage), Text("How many frames?"))

A piece is read at the end of a prefix. In the same place it is exact: its cells equal those that reading would give.
Anywhere else (behind other passages, or cut to some of its sentences) it is composed: its cells attended to their
original prefix and passage, and not to what precedes them now. `Generation.is_composed` and `Cells.is_exact` tell the
cases apart. Related: Prompt Cache (arXiv 2311.04934), EPIC (2410.15332), CacheBlend (2405.16444). Ours differs: it cuts
sentences out of passages, and it runs on unmodified llama.cpp.
"""

from __future__ import annotations

import hashlib
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import ModelError
from pipeline.models.cells import Cells, cells_of
from pipeline.models.context import Rows
from pipeline.models.identity import cells_key
from pipeline.models.piece_store import PieceStore
from pipeline.models.placing import take_out
from pipeline.models.scoring import hold
from pipeline.types import Cached, Piece, Prompt, Text

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.models.engine import Engine


class Pieces:
    """The pieces of one engine. Raises ModelError if its model's cells cannot be composed (compose.py)."""

    def __init__(
        self,
        engine: Engine,
        root: Path,
        max_memory_bytes: int,
        max_disk_bytes: int,
        is_packed: bool = False,
    ) -> None:
        self.verdict = engine.verdict
        if self.verdict.why:
            raise ModelError(f"{engine.name}: its cells cannot be put together: {self.verdict.why}")
        self._engine = engine
        layout = f"{cells_key(engine)} {_shape(engine)} {'8 bits' if is_packed else ''}"
        self.model = hashlib.sha256(layout.encode()).hexdigest()
        self.store = PieceStore(root, self.model, max_memory_bytes, max_disk_bytes, is_packed)
        self.n_read = 0
        """Tokens of the pieces that were read and not cached."""
        self.read_s = 0.0

    def has(self, prefix: Prompt, text: Prompt) -> bool:
        """Whether the cells of a text behind a prefix are kept, in memory or on disk. Loads nothing."""
        before, cells = self._cells(prefix, text)
        return self.store.has(self._key(before, cells))

    def make(self, prefix: Prompt, text: Prompt) -> Piece:
        """The cells of a text behind a prefix: from memory, from disk, or else read now and kept."""
        before, cells = self._cells(prefix, text)
        if len(cells) == 0 or cells.vectors is not None or cells.stretches:
            raise ModelError("a piece must have at least one token, and neither soft vectors nor cached cells")
        n = len(before)
        if n + len(cells) > self._engine.window:
            raise ModelError(
                f"a piece of {len(cells)} tokens behind {n} does not fit the window of {self._engine.window}: "
                "raise n_ctx, or split it"
            )
        tokens = cells.tokens(0, len(cells))
        key = self._key(before, cells)
        piece = self.store.get(key)
        if piece is not None:
            return piece
        pool = self._engine.pool
        start, n_before = perf_counter(), pool.n_decoded
        sequence = hold(pool, before.then(cells))
        try:
            state = take_out(pool.context, pool.spare, sequence, n, n + len(cells)).to_bytes()
        finally:
            pool.cut(sequence, n)
            pool.retire(sequence, before.keys)
        took = perf_counter() - start
        share = len(cells) / max(1, pool.n_decoded - n_before)  # the prefix may have been read with it
        self.n_read += len(cells)
        self.read_s += took
        seconds = took * min(1.0, share)
        piece = Piece(key, self.model, before.digest, n, tokens, state, text_of(text), text_of(prefix), seconds)
        self.store.put(piece)
        return piece

    def _cells(self, prefix: Prompt, text: Prompt) -> tuple[Cells, Cells]:
        return cells_of(prefix, self._engine.weights), cells_of(text, self._engine.weights)

    def _key(self, before: Cells, cells: Cells) -> str:
        tokens = hashlib.sha256(cells.tokens(0, len(cells)).tobytes()).hexdigest()
        return hashlib.sha256(f"{self.model} {before.digest} {len(before)} {tokens}".encode()).hexdigest()

    def check(self, piece: Piece) -> None:
        """Raises ModelError for a piece of another model or of other settings."""
        if piece.model != self.model:
            raise ModelError(
                f"cached cells were read by another model than {self._engine.name}, or with other settings of its "
                "context: read the piece again with this one"
            )


def text_of(prompt: Prompt) -> str:
    """Joins the text spans of a prompt."""
    return "".join(
        span.text if isinstance(span, Text) else span.piece.text if isinstance(span, Cached) else "" for span in prompt
    )


def _shape(engine: Engine) -> tuple[tuple[int, ...], ...]:
    """Returns the layout of this context's cells, read from a single cell; it also depends on the machine."""
    pool = engine.pool
    pool.make_room(1)
    sequence = pool.take()
    try:
        pool.decode([Rows(sequence, 0, np.zeros(1, np.int32))])
        return take_out(pool.context, pool.spare, sequence, 0, 1).shape
    finally:
        pool.release(sequence)
