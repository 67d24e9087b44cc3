"""The sequences of a context: who works, who waits with its cells as a prefix for prompts to come, who is free.

A finished sequence stays as an idle one, cells and all, until its cells or its number are needed (the least recently
used goes first), or until its stay has cost as much as reading it again would: every token looks at its cells as well,
so after 1 / attention_share tokens. Whatever comes next, that is at most twice what the best choice would have cost
(ski rental, Karlin et al. 1988, doi 10.1007/BF01762111). What a new prompt has in common with an idle sequence is
shared, not decoded again (exact: the very same cells).

A recurrent state is one for all positions. Such a sequence is shared whole, or up to a checkpoint (checkpoints.py), and
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
"""Cells between two checkpoints: reading fewer again costs less than saving a state for each."""


class Pool:
    """All sequences of one context. `n_cached` of them may stay idle."""

    def __init__(self, context: Context, n_cached: int, checkpoint_bytes: int = 0) -> None:
        self.context = context
        self.book = CellBook(context.n_cells)
        self.n_cached = n_cached
        self.can_cut = context.can_fork
        """Whether a sequence can be trimmed, and so be shared at any place: not a recurrent state, which is one for all
        positions, and not split caches, which have no cells in common.
        """
        self.checkpoints = Checkpoints(checkpoint_bytes)
        self.spare = context.n_sequences - 1 if self.can_cut else -1
        """The sequence on which cells of pieces are moved before another takes them over; -1: there is none."""
        self._free = list(range(context.n_sequences - 1 - self.can_cut, -1, -1))
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

    def has_room_beside_idle(self, prefix: NDArray[np.int64], n: int) -> bool:
        """Whether n cells behind a prefix can be read, and the prefix then stays, while no idle sequence has to go."""
        if not self._idle:
            return True
        is_held = self.nearest(prefix)[1] == len(prefix)
        n_new = n if is_held else len(prefix) + n
        return bool(self._free) and self.book.n_free >= n_new and (is_held or len(self._idle) < self.n_cached)

    def release(self, sequence: int) -> None:
        """Empties a sequence; it is free from then on."""
        self._idle.pop(sequence, None)
        self._used.pop(sequence, None)
        self.context.cut(sequence, 0)
        self.book.cut(sequence, 0)
        self.checkpoints.cut(sequence, 0)
        self._free.append(sequence)

    def retire(self, sequence: int, keys: NDArray[np.int64]) -> None:
        """Lets a finished sequence, which holds the cells of these keys, stay for prompts that begin like it."""
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
        """Lets a sequence go with which another begins, which takes over its end and its checkpoints."""
        self.mark(part)
        self.checkpoints.share(part, whole, self.book.n_held(part))
        self.release(part)

    def _use(self, sequence: int) -> None:
        self._idle.move_to_end(sequence)
        self._used[sequence] = self._n_decoded

    def end_stays(self) -> None:
        """Lets those idle sequences go whose stay has cost what reading them again would."""
        share = self.context.weights.attention_share
        if share == 0:  # no layer attends: a stay costs nothing
            return
        most = self._n_decoded - 1 / share
        for sequence in [one for one in self._idle if self._used[one] < most]:
            self.release(sequence)

    def forget(self) -> None:
        """Lets every idle sequence go."""
        for sequence in list(self._idle):
            self.release(sequence)

    # --------------------------------------------------------------------------------------------------------- cells
    def nearest(self, keys: NDArray[np.int64]) -> tuple[int | None, int]:
        """The idle sequence from which most of these keys' cells can be had, and how many."""
        best: tuple[int | None, int] = (None, 0)
        for sequence, others in self._idle.items():
            n = self.reach(sequence, common(keys, others))
            if n > best[1]:
                best = sequence, n
        return best

    def going_on(self, keys: NDArray[np.int64]) -> tuple[int | None, NDArray[np.int64]]:
        """The longest idle sequence that begins with all of these keys, and its keys."""
        whole = [(len(o), s, o) for s, o in self._idle.items() if common(keys, o) == len(keys)]
        _, sequence, others = max(whole, key=lambda one: one[0], default=(0, None, _NO_KEYS))
        return sequence, others

    def parting(self, keys: NDArray[np.int64]) -> int:
        """After how many cells these keys part from the idle sequence that begins most like them."""
        return max((common(keys, others) for others in self._idle.values()), default=0)

    def reach(self, sequence: int, n: int) -> int:
        """How many of the first n cells of a sequence another can have: all of them, or those up to an exact place."""
        n_held = self.book.n_held(sequence)
        if self.can_cut or n >= n_held:
            return min(n, n_held)
        return self.checkpoints.before(sequence, n)

    def share(self, source: int, target: int, n: int) -> None:
        """The first n cells of `source`, which `reach` allows, become those of `target`, an empty sequence, as well."""
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
        """Makes the end of a sequence a place from which others can go on, if it would not be one anyway."""
        n = self.book.n_held(sequence)
        if not self.can_cut and self.checkpoints.max_bytes > 0 and n - self.checkpoints.before(sequence, n) >= MIN_GAP:
            self.checkpoints.add(sequence, n, self.context.save_state(sequence))

    def cut(self, sequence: int, start: int) -> None:
        """A sequence forgets its cells from position `start` on."""
        if start < self.book.n_held(sequence):
            self.context.cut(sequence, start)
            self.book.cut(sequence, start)
            self.checkpoints.cut(sequence, start)

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
        """Decodes or places cells [start, end) of a prompt into a sequence that holds those before; no outputs."""
        for low, high, kind in cells.runs(start, end):
            if kind == "cached":
                self.place(sequence, cells, low, high)
                continue
            for at in range(low, high, piece):
                upto = min(high, at + piece)
                self.decode([rows_of(cells, sequence, at, upto, kind)])
                if on_piece is not None:
                    on_piece(upto)

    def place(self, sequence: int, cells: Cells, start: int, end: int, offset: int = 0) -> None:
        """Puts cached cells [start, end) of a prompt behind those that a sequence holds, `offset` positions later."""
        for stretch in cells.cached(start, end):
            self.book.add(sequence, stretch.n)
            try:
                put_behind(self.context, self.spare, sequence, stretch, offset)
            except BaseException:
                self.book.cut(sequence, self.book.n_held(sequence) - stretch.n)
                raise


def distant(places: Iterable[int], start: int, end: int) -> list[int]:
    """Those places in (start, end], in ascending order, that lie at least MIN_GAP behind the one before."""
    kept = [start]
    for place in sorted(places):
        if kept[-1] + MIN_GAP <= place <= end:
            kept.append(place)
    return kept[1:]


def rows_of(cells: Cells, sequence: int, start: int, end: int, kind: Kind, outputs: Sequence[int] | range = ()) -> Rows:
    """Cells [start, end) of a prompt, all tokens or all soft vectors, as rows at their own positions."""
    if kind == "soft":
        return Rows(sequence, start, None, cells.soft(start, end), outputs)
    return Rows(sequence, start, cells.tokens(start, end), None, outputs)
