"""The sequences of a context: who works, who waits with its cells as a prefix for prompts to come, who is free.

A finished sequence stays as an idle one, cells and all, until its cells or its number are needed (the least recently
used goes first), or until its stay has cost as much as reading it again would: every token looks at its cells as well,
so after 1 / attention_share tokens. Whatever comes next, that is at most twice what the best choice would have cost
(ski rental, Karlin et al. 1988, doi 10.1007/BF01762111). What a new prompt has in common with an idle sequence is
shared, not decoded again (exact: the very same cells).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import ModelError
from pipeline.models.cells import CellBook, Cells, common
from pipeline.models.context import Context, Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NO_KEYS: NDArray[np.int64] = np.empty(0, np.int64)


class Pool:
    """All sequences of one context. `n_cached` of them may stay idle."""

    def __init__(self, context: Context, n_cached: int) -> None:
        self.context = context
        self.book = CellBook(context.n_cells)
        self.n_cached = n_cached
        self.can_share = context.can_fork
        """A recurrent state is one for all positions, and split caches have no cells in common: nothing to share."""
        self._free = list(range(context.n_sequences - 1, -1, -1))
        self._idle: OrderedDict[int, NDArray[np.int64]] = OrderedDict()
        self._n_decoded = 0
        self._used: dict[int, int] = {}
        """`_n_decoded` when an idle sequence was last of use."""

    # --------------------------------------------------------------------------------------------- how much is there
    @property
    def n_sequences(self) -> int:
        """Sequences that can be had, idle ones included."""
        return len(self._free) + len(self._idle)

    @property
    def n_cells(self) -> int:
        """Cells that can be had, when every idle sequence goes."""
        return self.book.n_free + self.book.n_only(self._idle)

    @property
    def n_decoded(self) -> int:
        """Cells decoded so far."""
        return self._n_decoded

    @property
    def idle(self) -> tuple[NDArray[np.int64], ...]:
        """The keys of the idle sequences, least recently used first."""
        return tuple(self._idle.values())

    # ----------------------------------------------------------------------------------------------------- sequences
    def take(self, keep: int | None = None) -> int:
        """An empty sequence; the least recently used idle one goes if there is no other, `keep` last of all."""
        if not self._free:
            if not self._idle:
                raise ModelError(f"all {self.context.n_sequences} sequences are in use")
            self.release(next((sequence for sequence in self._idle if sequence != keep), next(iter(self._idle))))
        return self._free.pop()

    def make_room(self, n: int, keep: int | None = None) -> bool:
        """Whether n cells are free, after idle sequences other than `keep` went, as many as that takes."""
        for sequence in [s for s in self._idle if s != keep]:
            if self.book.n_free >= n:
                break
            self.release(sequence)
        return self.book.n_free >= n

    def release(self, sequence: int) -> None:
        """Empties a sequence; it is free from then on."""
        self._idle.pop(sequence, None)
        self._used.pop(sequence, None)
        self.context.cut(sequence, 0)
        self.book.cut(sequence, 0)
        self._free.append(sequence)

    def retire(self, sequence: int, keys: NDArray[np.int64]) -> None:
        """Lets a finished sequence, which holds the cells of these keys, stay for prompts that begin like it."""
        if self.n_cached == 0 or not self.can_share or len(keys) == 0:
            self.release(sequence)
            return
        for other, others in list(self._idle.items()):
            shared = common(keys, others)
            if shared == len(others):
                self.release(other)
            elif shared == len(keys):
                self._use(other)
                self.release(sequence)
                return
        while len(self._idle) >= self.n_cached:
            self.release(next(iter(self._idle)))
        self._idle[sequence] = keys
        self._use(sequence)

    def _use(self, sequence: int) -> None:
        self._idle.move_to_end(sequence)
        self._used[sequence] = self._n_decoded

    def end_stays(self) -> None:
        """Lets those idle sequences go whose stay has cost what reading them again would."""
        most = self._n_decoded - 1 / self.context.weights.attention_share
        for sequence in [one for one in self._idle if self._used[one] < most]:
            self.release(sequence)

    def forget(self) -> None:
        """Lets every idle sequence go."""
        for sequence in list(self._idle):
            self.release(sequence)

    # --------------------------------------------------------------------------------------------------------- cells
    def nearest(self, keys: NDArray[np.int64]) -> tuple[int | None, int]:
        """The idle sequence that begins most like these keys, and how many cells it has in common with them."""
        best: tuple[int | None, int] = (None, 0)
        for sequence, others in self._idle.items():
            shared = common(keys, others)
            if shared > best[1]:
                best = sequence, shared
        return best

    def share(self, source: int, target: int, n: int) -> None:
        """The first n cells of `source` become those of `target`, an empty sequence, as well."""
        if n == 0:
            return
        if source in self._idle:
            self._use(source)
        self.context.copy(source, target, n)
        self.book.share(source, target, n)

    def cut(self, sequence: int, start: int) -> None:
        """A sequence forgets its cells from position `start` on."""
        if start < self.book.n_held(sequence):
            self.context.cut(sequence, start)
            self.book.cut(sequence, start)

    def decode(self, rows: Sequence[Rows]) -> list[int]:
        """Decodes rows into cells that are free: see `Context.decode`."""
        for row in rows:
            self.book.add(row.sequence, len(row))
            self._n_decoded += len(row)
        return self.context.decode(rows)

    def read(
        self,
        sequence: int,
        cells: Cells,
        start: int,
        end: int,
        piece: int,
        on_piece: Callable[[int], None] | None = None,
    ) -> None:
        """Decodes cells [start, end) of a prompt into a sequence that holds those before; no outputs."""
        for low, high, is_soft in cells.runs(start, end):
            for at in range(low, high, piece):
                upto = min(high, at + piece)
                self.decode([rows_of(cells, sequence, at, upto, is_soft)])
                if on_piece is not None:
                    on_piece(upto)


def rows_of(
    cells: Cells, sequence: int, start: int, end: int, is_soft: bool, outputs: Sequence[int] | range = ()
) -> Rows:
    """Cells [start, end) of a prompt, all of one kind, as rows at their own positions."""
    if is_soft:
        return Rows(sequence, start, None, cells.soft(start, end), outputs)
    return Rows(sequence, start, cells.tokens(start, end), None, outputs)
