"""A prompt on its way to an answer, as the batcher keeps account of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pipeline.contracts import Progress
from pipeline.models.cells import Cells, Kind
from pipeline.models.sampler import Sampler
from pipeline.models.stream import EngineStream, TextOut
from pipeline.models.thoughts import Thoughts
from pipeline.types import Sampling

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.models.pool import Pool

USUAL_ANSWER = 64
"""The tokens that an answer is expected to have, if it may have more."""


@dataclass(eq=False)
class Group:
    """The prompts of one request, for its progress display."""

    progress: Progress | None
    n_cells: int
    n_read: int = 0

    def read(self, n: int) -> None:
        self.n_read += n
        if self.progress is not None and n:
            self.progress("read prompt", self.n_read, self.n_cells)


@dataclass(eq=False)
class Job:
    """One prompt on its way to an answer. `n_done` cells of prompt and answer are there: `n_reused` of them from other
    sequences, `n_restored` from pieces, `n_shifted` of these moved, and the others decoded. `n_stored` tokens of pieces
    were read for it before, in `stored_s` seconds; reading the restored cells would have taken about `saved_s`.

    `room` is the most tokens that may be written, thoughts and their marks included; `answer` holds all of them, and
    `pending` those that will be written in the place of chosen ones. `budget` is the most tokens of a thought. `marks`
    are the places, in ascending order, at which a checkpoint of it is to be made.
    """

    cells: Cells
    sampling: Sampling
    sampler: Sampler
    group: Group
    thoughts: Thoughts
    room: int
    budget: int
    pending: list[int] = field(default_factory=list)
    stream: EngineStream = field(init=False)
    text: TextOut = field(init=False)
    thought_text: TextOut = field(default_factory=TextOut)
    sequence: int = -1
    n_done: int = 0
    n_reused: int = 0
    n_restored: int = 0
    n_shifted: int = 0
    n_stored: int = 0
    stored_s: float = 0.0
    saved_s: float = 0.0
    marks: list[int] = field(default_factory=list)
    answer: list[int] = field(default_factory=list)
    leader: Job | None = None
    n_follow: int = 0
    started: float = 0.0
    answered: float = 0.0
    buffer: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.text = TextOut(self.sampling.stop)
        self.buffer = np.empty(self.n_most, np.int64)
        self.buffer[: len(self.cells)] = self.cells.keys

    @property
    def n_most(self) -> int:
        """The most cells that it can come to hold."""
        return len(self.cells) + self.room

    @property
    def is_reading(self) -> bool:
        return self.n_done < len(self.cells)

    @property
    def n_to_come(self) -> int:
        """The cells that are still to be decoded for it, as far as that can be known."""
        left = min(self.room, USUAL_ANSWER) - len(self.answer)
        return self.cells.n_to_read(min(len(self.cells), max(self.n_done, self.n_follow))) + max(0, left)

    @property
    def next_kind(self) -> Kind:
        """Of the next cell of its prompt that is to be read."""
        _, _, kind = next(self.cells.runs(self.n_done, len(self.cells)))
        return kind

    @property
    def keys(self) -> NDArray[np.int64]:
        """Of prompt and answer so far; those up to n_done are decoded."""
        return self.buffer[: len(self.cells) + len(self.answer)]

    def place_cached(self, pool: Pool) -> None:
        """Puts the cached cells that come next, if any, into the sequence: nothing is read for them."""
        start, end, kind = next(self.cells.runs(self.n_done, len(self.cells)))
        if kind != "cached":
            return
        pool.place(self.sequence, self.cells, start, end)
        self.n_done = end
        self.n_restored += end - start
        for stretch in self.cells.cached(start, end):
            self.n_shifted += stretch.n if stretch.is_moved else 0
            self.saved_s += stretch.n * stretch.piece.seconds / len(stretch.piece)
        self.group.read(end - start)
