"""The sequences of a context: active ones, idle ones that serve as prefixes of later prompts, and free ones.

A finished sequence becomes idle and keeps its cells until these or its number are needed (least recently used first),
or until its stay has cost as much as reading it again. Every decoded token attends to its cells as well, so that is
after 1 / attention_share tokens. The cost is at most twice the optimum (ski rental, Karlin et al. 1988, doi
10.1007/BF01762111). A new prompt shares its common prefix with an idle sequence and does not decode it again (exact:
the very same cells).

A recurrent state covers all positions. Such a sequence is shared whole or up to a checkpoint (checkpoints.py), and
never trimmed: `reach` says how far.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import ModelError
from pipeline.models.cells import CellBook, Cells, Kind, common
from pipeline.models.checkpoints import Checkpoints
from pipeline.models.context import Context, Rows
from pipeline.models.placing import put_behind

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NO_KEYS: NDArray[np.int64] = np.empty(0, np.int64)


MIN_GAP = 32
"""Least distance of two checkpoints in cells: reading fewer cells again is cheaper than saving a state."""


class Pool:
    """All sequences of one context. `n_cached` of them may stay idle."""

    def __init__(self, context: Context, n_cached: int, checkpoint_bytes: int = 0) -> None:
        self.context = context
        self.book = CellBook(context.n_cells)
        self.n_cached = n_cached
        self.can_cut = context.can_fork
        """Whether a sequence can be trimmed, and so be shared at any position. Recurrent states, which cover all
        positions, and split caches, which share no cells, do not allow it.
        """
        self.checkpoints = Checkpoints(checkpoint_bytes)
        self.spare = context.n_sequences - 1 if self.can_cut else -1
        """The sequence on which cells of pieces are moved before another shares them; -1: there is none."""
        self._free = list(range(context.n_sequences - 1 - self.can_cut, -1, -1))
        self._idle: OrderedDict[int, NDArray[np.int64]] = OrderedDict()
        self._n_decoded = 0
        self._used: dict[int, int] = {}
        """`_n_decoded` at the last use of each idle sequence."""

    # --------------------------------------------------------------------------------------------- how much is there
    @property
    def n_sequences(self) -> int:
        """The number of available sequences, including idle ones."""
        return len(self._free) + len(self._idle)

    @property
    def n_cells(self) -> int:
        """The number of available cells, including those of idle sequences."""
        return self.book.n_free + self.book.n_only(self._idle)

    @property
    def n_decoded(self) -> int:
        """The number of cells decoded so far."""
        return self._n_decoded

    @property
    def idle(self) -> tuple[NDArray[np.int64], ...]:
        """The keys of the idle sequences, least recently used first."""
        return tuple(self._idle.values())

    # ----------------------------------------------------------------------------------------------------- sequences
    def take(self, keep: int | None = None) -> int:
        """Returns an empty sequence; evicts the least recently used idle one if needed, `keep` last of all."""
        if not self._free:
            if not self._idle:
                raise ModelError(f"all {self.context.n_sequences} sequences are in use")
            self.release(next((sequence for sequence in self._idle if sequence != keep), next(iter(self._idle))))
        return self._free.pop()

    def make_room(self, n: int, keep: int | None = None) -> bool:
        """Evicts idle sequences other than `keep` until n cells are free; returns whether they are."""
        for sequence in [s for s in self._idle if s != keep]:
            if self.book.n_free >= n:
                break
            self.release(sequence)
        return self.book.n_free >= n

    def has_room_beside_idle(self, prefix: NDArray[np.int64], n: int) -> bool:
        """Whether n cells behind a prefix can be read, and the prefix then stays, while no idle sequence has to go."""
        if not self._idle:
            return True
        is_held = self.nearest(prefix)[1] == len(prefix)
        n_new = n if is_held else len(prefix) + n
        return bool(self._free) and self.book.n_free >= n_new and (is_held or len(self._idle) < self.n_cached)

    def release(self, sequence: int) -> None:
        """Empties a sequence and frees it."""
        self._idle.pop(sequence, None)
        self._used.pop(sequence, None)
        self.context.cut(sequence, 0)
        self.book.cut(sequence, 0)
        self.checkpoints.cut(sequence, 0)
        self._free.append(sequence)

    def retire(self, sequence: int, keys: NDArray[np.int64]) -> None:
        """Makes a finished sequence, which holds the cells of these keys, idle, as a prefix for later prompts."""
        if self.n_cached == 0 or len(keys) == 0:
            self.release(sequence)
            return
        for other, others in list(self._idle.items()):
            shared = common(keys, others)
            if shared == len(others):
                self._merge(other, sequence)
            elif shared == len(keys):
                self._use(other)
                self._merge(sequence, other)
                return
        while len(self._idle) >= self.n_cached:
            self.release(next(iter(self._idle)))
        self._idle[sequence] = keys
        self._use(sequence)

    def _merge(self, part: int, whole: int) -> None:
        """Releases a sequence that is a prefix of another, which takes over its checkpoints."""
        self.mark(part)
        self.checkpoints.share(part, whole, self.book.n_held(part))
        self.release(part)

    def _use(self, sequence: int) -> None:
        self._idle.move_to_end(sequence)
        self._used[sequence] = self._n_decoded

    def end_stays(self) -> None:
        """Releases idle sequences whose stay has cost as much as reading them again."""
        share = self.context.weights.attention_share
        if share == 0:  # no layer attends: a stay costs nothing
            return
        deadline = self._n_decoded - 1 / share
        for sequence in [sequence for sequence in self._idle if self._used[sequence] < deadline]:
            self.release(sequence)

    def forget(self) -> None:
        """Releases every idle sequence."""
        for sequence in list(self._idle):
            self.release(sequence)

    # --------------------------------------------------------------------------------------------------------- cells
    def nearest(self, keys: NDArray[np.int64]) -> tuple[int | None, int]:
        """Returns the idle sequence that can share most cells of these keys, and their number."""
        best: tuple[int | None, int] = (None, 0)
        for sequence, others in self._idle.items():
            n = self.reach(sequence, common(keys, others))
            if n > best[1]:
                best = sequence, n
        return best

    def going_on(self, keys: NDArray[np.int64]) -> tuple[int | None, NDArray[np.int64]]:
        """Returns the longest idle sequence that begins with all of these keys, and its keys."""
        whole = [(len(o), s, o) for s, o in self._idle.items() if common(keys, o) == len(keys)]
        _, sequence, others = max(whole, key=lambda match: match[0], default=(0, None, _NO_KEYS))
        return sequence, others

    def parting(self, keys: NDArray[np.int64]) -> int:
        """Returns the length of the longest common prefix of these keys with an idle sequence."""
        return max((common(keys, others) for others in self._idle.values()), default=0)

    def reach(self, sequence: int, n: int) -> int:
        """Returns how many of a sequence's first n cells can be shared: all, or those up to a checkpoint."""
        n_held = self.book.n_held(sequence)
        if self.can_cut or n >= n_held:
            return min(n, n_held)
        return self.checkpoints.before(sequence, n)

    def share(self, source: int, target: int, n: int) -> None:
        """Shares the first n cells of `source`, as `reach` allows, with the empty sequence `target`."""
        if n == 0:
            return
        if source in self._idle:
            self._use(source)
        self.context.copy(source, target, n)
        if not self.can_cut and n < self.book.n_held(source):
            self.context.load_state(target, self.checkpoints.state(source, n))
        self.book.share(source, target, n)
        self.checkpoints.share(source, target, n)

    def mark(self, sequence: int) -> None:
        """Makes a checkpoint at the end of a sequence, if sharing needs one."""
        n = self.book.n_held(sequence)
        if not self.can_cut and self.checkpoints.max_bytes > 0 and n - self.checkpoints.before(sequence, n) >= MIN_GAP:
            self.checkpoints.add(sequence, n, self.context.save_state(sequence))

    def cut(self, sequence: int, start: int) -> None:
        """Removes a sequence's cells from position `start` on."""
        if start < self.book.n_held(sequence):
            self.context.cut(sequence, start)
            self.book.cut(sequence, start)
            self.checkpoints.cut(sequence, start)

    def decode(self, rows: Sequence[Rows]) -> list[int]:
        """Decodes rows into free cells: see `Context.decode`."""
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
        """Decodes or copies cells [start, end) of a prompt into a sequence with the cells before; without outputs."""
        for low, high, kind in cells.runs(start, end):
            if kind == "cached":
                self.place(sequence, cells, low, high)
                continue
            for first in range(low, high, piece):
                upto = min(high, first + piece)
                self.decode([rows_of(cells, sequence, first, upto, kind)])
                if on_piece is not None:
                    on_piece(upto)

    def place(self, sequence: int, cells: Cells, start: int, end: int, offset: int = 0) -> None:
        """Appends the cached cells [start, end) of a prompt to a sequence, `offset` positions later."""
        for stretch in cells.cached(start, end):
            self.book.add(sequence, stretch.n)
            try:
                put_behind(self.context, self.spare, sequence, stretch, offset)
            except BaseException:
                self.book.cut(sequence, self.book.n_held(sequence) - stretch.n)
                raise


def distant(places: Iterable[int], start: int, end: int) -> list[int]:
    """Filters places in (start, end], ascending, so that each is at least MIN_GAP behind the one before."""
    chosen = [start]
    for place in sorted(places):
        if chosen[-1] + MIN_GAP <= place <= end:
            chosen.append(place)
    return chosen[1:]


def rows_of(cells: Cells, sequence: int, start: int, end: int, kind: Kind, outputs: Sequence[int] | range = ()) -> Rows:
    """Returns cells [start, end) of a prompt, all tokens or all soft vectors, as rows at their own positions."""
    if kind == "soft":
        return Rows(sequence, start, None, cells.soft(start, end), outputs)
    return Rows(sequence, start, cells.tokens(start, end), None, outputs)
