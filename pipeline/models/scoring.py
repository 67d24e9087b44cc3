"""Log-probabilities and hidden states of texts.

Fan-out: a prefix is decoded once, forked to many sequences (`seq_cp`, no cells copied), and all suffixes are decoded in
as few calls as possible. Prefix, suffix and target are each tokenised apart, and their tokens concatenated: a suffix
that continues a word of the prefix is therefore read as two pieces. Begin suffixes and targets at a word, with the
preceding space or line break.

Sequences of recurrent models cannot be trimmed, so a branch that is needed again is forked whole before it is extended.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import ModelError
from pipeline.models.cells import Cells, Kind
from pipeline.models.context import Rows
from pipeline.models.pool import Pool, distant, rows_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_OUTPUTS = 128
"""Upper bound on rows with logits per call: they take 78 MB with a vocabulary of 152k tokens."""


@dataclass(eq=False)
class Branch:
    """A suffix on its own sequence, forked off the prefix; `last` are the logits of its last cell, (n_vocab,)."""

    cells: Cells
    sequence: int = -1
    last: NDArray[np.float32] | None = None


def score(
    pool: Pool, prefix: Cells, suffixes: Sequence[Cells], targets: Sequence[Sequence[int]]
) -> NDArray[np.float32]:
    """Scores log P(target | prefix, suffix), float32 (n_suffixes, n_targets), summed over a target's tokens."""
    result = np.zeros((len(suffixes), len(targets)), np.float32)
    # An empty suffix needs the logits of the prefix's last cell, so that cell moves into the suffixes to be decoded.
    n_held_back = 0 if all(map(len, suffixes)) else 1
    stem = prefix.upto(len(prefix) - n_held_back)
    tail = prefix.since(len(prefix) - n_held_back)
    whole = [tail.then(suffix) for suffix in suffixes]
    trunk = hold(pool, stem)
    try:
        done = 0
        for wave in _waves(pool, whole, max(map(len, targets)) - 1):
            _decode_wave(pool, trunk, len(stem), wave, targets, result[done : done + len(wave)])
            done += len(wave)
    finally:
        pool.retire(trunk, stem.keys)
    return result


def hold(pool: Pool, cells: Cells, piece: int | None = None, goes_on: bool = False) -> int:
    """Returns a sequence with these cells: shares those of an idle sequence, and decodes the rest.

    `goes_on`: the sequence will be extended, so its end gets no checkpoint.
    """
    source, n = pool.nearest(cells.keys)
    # Read before idle sequences go: the place where this prompt parts from one is where a checkpoint helps.
    parting = pool.parting(cells.keys)
    if not pool.make_room(len(cells) - n, keep=source):
        # Without the source its cells are free as well, and reading all of it again may fit.
        source, n = None, 0
        if not pool.make_room(len(cells)):
            raise ModelError(
                f"{len(cells)} cells are wanted, and {pool.n_cells} of {pool.context.n_cells} can be had: "
                "raise n_cells, or let the answers under way end first"
            )
    sequence = pool.take(keep=source)
    if source is not None and source != sequence:
        pool.share(source, sequence, n)
    else:
        n = 0
    marks = [] if pool.can_cut else distant([*cells.sections, parting], n, len(cells) - (not goes_on))
    try:
        for halt in dict.fromkeys([*marks, len(cells)]):
            pool.read(sequence, cells, n, halt, piece or pool.context.n_batch)
            n = halt
            if halt in marks:
                pool.mark(sequence)
    except BaseException:
        pool.release(sequence)
        raise
    return sequence


def _waves(pool: Pool, suffixes: Sequence[Cells], spare: int) -> Iterator[list[Branch]]:
    """Yields the suffixes in order, as many at a time as there are sequences and cells for, with `spare` cells left for
    the rest of a target.
    """
    wave: list[Branch] = []
    n_cells = 0
    for cells in suffixes:
        room = min(pool.context.n_batch, pool.n_cells - spare)
        n_forks = len(wave) if spare and not pool.can_cut else 0  # a fork per branch, to read a target
        is_full = len(wave) + n_forks + 1 >= pool.n_sequences or n_cells + len(cells) > room
        if wave and is_full:
            yield wave
            wave, n_cells = [], 0
        wave.append(Branch(cells))
        n_cells += len(cells)
    if wave:
        yield wave


def _decode_wave(
    pool: Pool,
    trunk: int,
    n_trunk: int,
    wave: Sequence[Branch],
    targets: Sequence[Sequence[int]],
    result: NDArray[np.float32],
) -> None:
    n_wanted = sum(len(branch.cells) for branch in wave)
    if not pool.make_room(n_wanted):
        raise ModelError(f"a suffix of {n_wanted} cells does not fit: {pool.book.n_free} are free")
    try:
        for branch in wave:
            branch.sequence = pool.take()
            pool.share(trunk, branch.sequence, n_trunk)
        _decode_suffixes(pool, wave, n_trunk)
        for n, branch in enumerate(wave):
            assert branch.last is not None  # noqa: S101 - set above
            # The first token of every target comes from the same logits: one-token targets cost no further call.
            norm = _log_sum(branch.last)
            for m, target in enumerate(targets):
                result[n, m] = branch.last[target[0]] - norm
        for m, target in enumerate(targets):
            if len(target) > 1:
                result[:, m] += _rest_of_target(pool, wave, n_trunk, target)
    finally:
        for branch in wave:
            if branch.sequence >= 0:
                pool.release(branch.sequence)


def _decode_suffixes(pool: Pool, wave: Sequence[Branch], n_trunk: int) -> None:
    """Decodes all suffixes: the last runs together in one call, except those of soft vectors."""
    batch: list[tuple[Branch, Rows]] = []
    for branch in wave:
        row = _read_to_last(pool, branch, n_trunk)
        last = Rows(row.sequence, row.position, row.tokens, row.vectors, [len(row) - 1])
        # llama.cpp takes tokens or vectors in one call, never both. The logits are views that the next call overwrites.
        if last.tokens is None:
            (output,) = pool.decode([last])
            branch.last = pool.context.logits(output).copy()
        else:
            batch.append((branch, last))
    if batch:
        outputs = pool.decode([row for _, row in batch])
        for (branch, _), output in zip(batch, outputs, strict=True):
            branch.last = pool.context.logits(output).copy()


def _read_to_last(pool: Pool, branch: Branch, n_trunk: int) -> Rows:
    """Decodes or copies a suffix up to its last rows, at most a batch of them; returns these."""
    *before, (low, high, kind) = branch.cells.runs(0, len(branch.cells))
    for start, end, earlier in before:
        if earlier == "cached":
            pool.place(branch.sequence, branch.cells, start, end, n_trunk)
            continue
        for offset in range(start, end, pool.context.n_batch):
            pool.decode([_moved(branch, offset, min(end, offset + pool.context.n_batch), earlier, n_trunk)])
    while high - low > pool.context.n_batch:
        pool.decode([_moved(branch, low, low + pool.context.n_batch, kind, n_trunk)])
        low += pool.context.n_batch
    return _moved(branch, low, high, kind, n_trunk)


def _moved(branch: Branch, start: int, end: int, kind: Kind, n_trunk: int) -> Rows:
    """Returns cells [start, end) of a suffix as rows behind the trunk."""
    row = rows_of(branch.cells, branch.sequence, start, end, kind)
    return Rows(row.sequence, n_trunk + row.position, row.tokens, row.vectors)


def _rest_of_target(pool: Pool, wave: Sequence[Branch], n_trunk: int, target: Sequence[int]) -> NDArray[np.float32]:
    """Computes log P of a target's tokens from the second on, (n_branches,). Leaves the branches unchanged."""
    total = np.zeros(len(wave), np.float32)
    step = max(1, min(pool.context.n_batch, MAX_OUTPUTS, pool.n_cells) // (len(target) - 1))
    if not pool.can_cut:
        step = max(1, min(step, pool.n_sequences))
    for start in range(0, len(wave), step):
        part = wave[start : start + step]
        if not pool.make_room(len(part) * (len(target) - 1)):
            raise ModelError(f"targets of {len(target)} tokens do not fit: {pool.book.n_free} cells are free")
        head = np.array(target[:-1], np.int32)
        forks: list[int] = []
        try:
            rows = []
            for branch in part:
                forks.append(branch.sequence if pool.can_cut else _fork(pool, branch, n_trunk))
                rows.append(Rows(forks[-1], n_trunk + len(branch.cells), head, None, range(len(head))))
            outputs = iter(pool.decode(rows))
            for n in range(len(part)):
                for token in target[1:]:
                    total[start + n] += log_probability(pool.context.logits(next(outputs)), token)
        finally:
            for branch, fork in zip(part, forks, strict=False):
                # The branch is read again for the next target, so this target's cells have to go.
                if fork == branch.sequence:
                    pool.cut(fork, n_trunk + len(branch.cells))
                else:
                    pool.release(fork)
    return total


def _fork(pool: Pool, branch: Branch, n_trunk: int) -> int:
    sequence = pool.take()
    pool.share(branch.sequence, sequence, n_trunk + len(branch.cells))
    return sequence


def logprobs(pool: Pool, cells: Cells, start: int, without: tuple[int, int] | None = None) -> NDArray[np.float32]:
    """Computes log P(cell | its predecessors) for the cells from `start` (at least 1) on, float32 (n - start,).

    Cells before start - 1 are shared with an idle sequence if possible. The cells [low, high) of `without`, which lie
    before start - 1, are read and then removed; the cells between have attended to them. The result is NaN for soft and
    composed cells, which are no tokens, and for a cell behind a copied one, which has no logits.
    """
    result = np.full(len(cells) - start, np.nan, np.float32)
    sequence = hold(pool, cells.upto(start - 1), goes_on=True)
    try:
        if without is not None:
            pool.context.remove(sequence, *without)
        if not pool.make_room(len(cells) - start):
            raise ModelError(f"{len(cells)} cells are wanted, and {pool.n_cells} can be had: raise n_ctx")
        step = min(MAX_OUTPUTS, pool.context.n_batch)
        for low, high, kind in cells.runs(start - 1, len(cells) - 1):
            if kind == "cached":
                pool.place(sequence, cells, low, high)
                continue
            for first in range(low, high, step):
                upto = min(high, first + step)
                outputs = pool.decode([rows_of(cells, sequence, first, upto, kind, range(upto - first))])
                for n, output in enumerate(outputs, first + 1):
                    key = int(cells.keys[n])
                    logits = pool.context.logits(output)
                    result[n - start] = log_probability(logits, key) if key >= 0 else np.nan
    finally:
        # A sequence with removed cells no longer equals its keys, so it must not serve later prompts.
        if without is None:
            pool.retire(sequence, cells.keys[: pool.book.n_held(sequence)])
        else:
            pool.release(sequence)
    return result


def distribution(pool: Pool, cells: Cells) -> NDArray[np.float32]:
    """Computes log P of every token after the cells, float32 (n_vocab,)."""
    n = len(cells) - 1
    sequence = hold(pool, cells.upto(n), goes_on=True)
    try:
        pool.make_room(1)
        _, _, kind = next(cells.runs(n, n + 1))
        (output,) = pool.decode([rows_of(cells, sequence, n, n + 1, kind, [0])])
        logits = pool.context.logits(output)
        return np.asarray(logits - _log_sum(logits), np.float32)
    finally:
        pool.retire(sequence, cells.keys[: pool.book.n_held(sequence)])


def states(pool: Pool, cells: Cells, positions: Sequence[int]) -> NDArray[np.float32]:
    """Computes the last hidden states (after the final norm) at these positions, float32 (n_positions, n_embd).

    While embeddings are on, llama.cpp makes every row of a call an output. So the other cells are decoded in separate
    calls, and the output layer runs only for these rows.
    """
    result = np.empty((len(positions), pool.context.weights.n_embd), np.float32)
    order = sorted(set(positions))
    place = {position: [n for n, other in enumerate(positions) if other == position] for position in order}
    sequence = hold(pool, cells.upto(order[0]), goes_on=True)
    try:
        if not pool.make_room(order[-1] + 1 - order[0]):
            raise ModelError(f"{order[-1] + 1} cells are wanted, and {pool.n_cells} can be had: raise n_ctx")
        n_read = order[0]
        for low, high in _stretches(order):
            pool.read(sequence, cells, n_read, low, pool.context.n_batch)
            for first, upto, kind in cells.runs(low, high):
                for piece in range(first, upto, MAX_OUTPUTS):
                    end = min(upto, piece + MAX_OUTPUTS, piece + pool.context.n_batch)
                    for n, state in enumerate(_states(pool, rows_of(cells, sequence, piece, end, kind))):
                        result[place[piece + n]] = state
            n_read = high
    finally:
        pool.retire(sequence, cells.keys[: pool.book.n_held(sequence)])
    return result


def _states(pool: Pool, row: Rows) -> list[NDArray[np.float32]]:
    pool.context.want_states(True)
    try:
        outputs = pool.decode([Rows(row.sequence, row.position, row.tokens, row.vectors, range(len(row)))])
        return [pool.context.state(output).copy() for output in outputs]
    finally:
        pool.context.want_states(False)


def _stretches(positions: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Groups sorted positions into stretches [low, high) without gaps."""
    low = high = positions[0]
    for position in positions:
        if position > high:
            yield low, high
            low = position
        high = position + 1
    yield low, high


def _log_sum(logits: NDArray[np.float32]) -> float:
    # The peak keeps exp() from overflowing; float64 keeps 150 000 small terms from being lost in the sum.
    peak = float(logits.max())
    return peak + float(np.log(np.exp(logits - peak).sum(dtype=np.float64)))


def log_probability(logits: NDArray[np.float32], token: int) -> float:
    return float(logits[token]) - _log_sum(logits)
