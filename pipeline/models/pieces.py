"""Cells of texts that are read once and placed in prompts from then on.

    passage = engine.piece(prefix, (Text("The hive has seven frames. "),))
    prompt = (*prefix, Cached(passage), Text("How many frames?"))

A piece is read behind a prefix, at that prefix's end. Placed there it is exact: the cells are those that reading would
give. Anywhere else (behind other passages, or cut to some of its sentences) it is composed: its cells keep what they
took in of their own prefix and passage, and have not seen what stands before them now. `Generation.is_composed` and
`Cells.is_exact` say which. Related: Prompt Cache (arXiv 2311.04934), EPIC (2410.15332), CacheBlend (2405.16444); ours
differs in that sentences are cut out of passages, and in that it runs on llama.cpp as it is.
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
    """The pieces of one engine. Raises ModelError where its model's cells cannot be put together (compose.py)."""

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
        """Tokens of the pieces that were read rather than found."""
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
        """Raises ModelError for a piece of another model, or of one with other settings."""
        if piece.model != self.model:
            raise ModelError(
                f"cached cells were read by another model than {self._engine.name}, or with other settings of its "
                "context: read the piece again with this one"
            )


def text_of(prompt: Prompt) -> str:
    """The text of a prompt, as far as it is text."""
    return "".join(
        span.text if isinstance(span, Text) else span.piece.text if isinstance(span, Cached) else "" for span in prompt
    )


def _shape(engine: Engine) -> tuple[tuple[int, ...], ...]:
    """How this context lays cells out, which depends on the machine as well: seen on a single one."""
    pool = engine.pool
    pool.make_room(1)
    sequence = pool.take()
    try:
        pool.decode([Rows(sequence, 0, np.zeros(1, np.int32))])
        return take_out(pool.context, pool.spare, sequence, 0, 1).shape
    finally:
        pool.release(sequence)
