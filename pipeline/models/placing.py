"""Copies cells of a piece into a sequence: cuts them from the stored bytes, loads, moves and shares them.

llama.cpp moves a cell for all sequences that hold it, and moved stretches of one sequence could collide with others. So
each stretch is loaded into a spare sequence, moved there, and then shared (`seq_cp`, no cells copied). It is cut from
the bytes first, so that no unwanted cell is loaded. A stretch is always moved from its original position, since
repeated shifts would accumulate rounding errors (llama.cpp #4097).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import ModelError
from pipeline.models.kv_state import State
from pipeline.models.llama import complaints

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipeline.models.cells import Stretch
    from pipeline.models.context import Context


def put_behind(
    context: Context, spare: int, sequence: int, stretch: Stretch, offset: int = 0, is_transposed: bool = False
) -> None:
    """Appends a stretch to a sequence, at its position in the prompt plus `offset`.

    `is_transposed`: this context transposes values, and the one that read the piece did not. Raises ModelError if
    llama.cpp refuses the cells; the sequence is then unchanged.
    """
    piece = stretch.piece
    where = piece.position + stretch.first
    state = cut(piece.state, where, where + stretch.n)
    load(context, spare, transposed(context, state) if is_transposed else state)
    try:
        distance = stretch.start + offset - where
        if distance:
            context.shift(spare, distance)
        context.lend(spare, sequence)
    finally:
        context.cut(spare, 0)


def transposed(context: Context, state: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Converts cells for a context without flash attention. Raises ModelError for values in blocks."""
    try:
        return State.parse(state).transposed().to_bytes()
    except ValueError as error:
        raise ModelError(f"{context.weights.path.name}: {error}; set kv_v to f16") from error


def take_out(context: Context, spare: int, sequence: int, start: int, end: int) -> State:
    """Saves all cells of a sequence at the positions [start, end).

    llama.cpp saves only the cells that a sequence's sliding windows still cover, so the range is halved until each half
    is saved whole. Raises ValueError if that does not help.
    """
    context.lend(sequence, spare, start, end)
    try:
        state = State.parse(context.save(spare))
    finally:
        context.cut(spare, 0)
    if len(state) == end - start and state.is_whole:
        return state
    if end - start <= 1:
        raise ValueError("llama.cpp does not save all cells")
    middle = (start + end) // 2
    first = take_out(context, spare, sequence, start, middle)
    return first.then(take_out(context, spare, sequence, middle, end))


def cut(state: NDArray[np.uint8], start: int, end: int) -> NDArray[np.uint8]:
    """Cuts a saved sequence to the positions [start, end)."""
    parsed = State.parse(state)
    return state if len(parsed) == end - start else parsed.between(start, end).to_bytes()


def load(context: Context, sequence: int, state: NDArray[np.uint8]) -> None:
    """Fills an empty sequence. Raises ModelError if llama.cpp refuses the cells."""
    complaints()
    if not context.load(sequence, state):
        context.cut(sequence, 0)
        raise ModelError(f"{context.weights.path.name}: llama.cpp refuses stored cells: {complaints() or 'no reason'}")
