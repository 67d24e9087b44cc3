"""Leave-one-out over a prompt that was read once: how likely a text is after it if a stretch of cells is hidden.

The prompt's cells are forked once for each cut (`seq_cp`, no cells copied). A fork loses the cells of the cut, and only
the end of the prompt and the target are read again, for all forks in the same llama.cpp calls. A variant therefore
costs only the end of the prompt and the target.

A variant may replace the end of the prompt: if that repeats a part of the cut, the repetition has to go as well.

This approximates a prompt without the cut: the cells behind the cut attended to it, and keep their positions.
pipeline/answers/attribution.py discusses the error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import ModelError
from pipeline.models.cells import Cells
from pipeline.models.context import Rows
from pipeline.models.pool import Pool
from pipeline.models.scoring import MAX_OUTPUTS, hold, log_probability

if TYPE_CHECKING:
    from numpy.typing import NDArray

Cut = tuple[int, int]
"""Cells [low, high) of a prompt; an empty one leaves the prompt as it is."""


@dataclass(eq=False)
class Fork:
    """One variant on its own sequence: the trunk's first `n_kept` cells without the cut, then `tokens`.

    Each of the last n_target rows of `tokens` predicts one token of the target.
    """

    number: int
    cut: Cut
    n_kept: int
    tokens: NDArray[np.int32]
    sequence: int = -1
    position: int = 0


def ablate(
    pool: Pool,
    prompt: Cells,
    target: Sequence[int],
    cuts: Sequence[Cut],
    tail: int,
    endings: Sequence[Sequence[int] | None] | None = None,
) -> NDArray[np.float32]:
    """Computes log P of each target token after the prompt without each cut, float32 (n_cuts, n_target).

    Cells from `tail` on are read again after a cut; 0 <= low <= high <= tail < len(prompt). `endings`, one per cut,
    replace these cells by tokens (at least one); None: the prompt's own.
    """
    if not pool.can_cut:
        raise ModelError(f"{pool.context.weights.path.name}: this architecture cannot forget a part of what it read")
    n = len(prompt)
    if any(kind != "tokens" for _, _, kind in prompt.runs(tail, n)):
        raise ModelError("ablate: the cells that are read again must be tokens, not soft vectors or cached cells")
    result = np.empty((len(cuts), len(target)), np.float32)
    each = [None] * len(cuts) if endings is None else endings
    forks = [
        _fork(n, cut, ending, prompt, target, tail) for n, (cut, ending) in enumerate(zip(cuts, each, strict=True))
    ]
    trunk = hold(pool, prompt.upto(n - 1))
    try:
        for wave in _waves(pool, forks):
            _decode_wave(pool, trunk, wave, target, result)
    finally:
        pool.retire(trunk, prompt.keys[: n - 1])
    return result


def _fork(number: int, cut: Cut, ending: Sequence[int] | None, prompt: Cells, target: Sequence[int], tail: int) -> Fork:
    n_kept = tail if cut[0] < cut[1] or ending is not None else len(prompt) - 1
    end = prompt.tokens(n_kept, len(prompt)) if ending is None else np.asarray(ending, np.int32)
    tokens = np.concatenate([end, np.asarray(target[:-1], np.int32)])
    return Fork(number, cut, n_kept, tokens)


def _waves(pool: Pool, forks: Sequence[Fork]) -> Iterator[list[Fork]]:
    """Yields the forks in order, as many at a time as there are sequences and cells for."""
    wave: list[Fork] = []
    n_cells = 0
    for fork in forks:
        is_full = len(wave) >= pool.n_sequences or n_cells + len(fork.tokens) > pool.n_cells
        if wave and is_full:
            yield wave
            wave, n_cells = [], 0
        wave.append(fork)
        n_cells += len(fork.tokens)
    if wave:
        yield wave


def _decode_wave(
    pool: Pool, trunk: int, wave: Sequence[Fork], target: Sequence[int], result: NDArray[np.float32]
) -> None:
    n_wanted = sum(len(fork.tokens) for fork in wave)
    if not pool.make_room(n_wanted):
        raise ModelError(
            f"leaving out a part of the prompt takes {n_wanted} cells, and {pool.book.n_free} are free: raise n_cells"
        )
    try:
        for fork in wave:
            fork.sequence = pool.take()
            pool.share(trunk, fork.sequence, fork.n_kept)
            if fork.cut[0] < fork.cut[1]:
                pool.context.remove(fork.sequence, *fork.cut)
            # llama.cpp refuses a gap right before the decoded cells: a cut that reaches the tail moves the tail up
            fork.position = pool.context.last_position(fork.sequence) + 1
        for rows, places in _calls(wave, len(target), pool.context.n_batch):
            outputs = pool.decode(rows)
            for output, (number, n) in zip(outputs, places, strict=True):
                result[number, n] = log_probability(pool.context.logits(output), target[n])
    finally:
        for fork in wave:
            if fork.sequence >= 0:
                pool.release(fork.sequence)


def _calls(wave: Sequence[Fork], n_target: int, n_batch: int) -> Iterator[tuple[list[Rows], list[tuple[int, int]]]]:
    """Yields the forks' rows in calls of at most n_batch cells and MAX_OUTPUTS outputs.

    With each call comes what its outputs predict: (number of the fork, place in the target).
    """
    rows: list[Rows] = []
    places: list[tuple[int, int]] = []
    n_cells = 0
    for fork in wave:
        first_output = len(fork.tokens) - n_target
        start = 0
        while start < len(fork.tokens):
            silent = max(0, first_output - start)
            end = min(len(fork.tokens), start + n_batch - n_cells, start + silent + MAX_OUTPUTS - len(places))
            if end <= start:
                yield rows, places
                rows, places, n_cells = [], [], 0
                continue
            outputs = range(max(0, first_output - start), end - start)
            rows.append(Rows(fork.sequence, fork.position + start, fork.tokens[start:end], None, outputs))
            places += [(fork.number, start + n - first_output) for n in outputs]
            n_cells += end - start
            start = end
    if rows:
        yield rows, places
