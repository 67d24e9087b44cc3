"""The batcher's state of one prompt and its answer."""

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
"""Expected length of an answer that may be longer, in tokens."""


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
    """One prompt and its answer in progress.

    `n_done` cells of prompt and answer exist: `n_reused` from other sequences, `n_restored` from pieces (`n_shifted` of
    these moved), the others decoded. `n_stored` tokens of pieces were read for it, in `stored_s` seconds; reading the
    restored cells would have taken about `saved_s`.

    `room` is the limit of generated tokens, including thoughts and their marks; `answer` holds all of them, and
    `pending` the forced ones that come next. `budget` is the token limit of a thought. `marks` are the positions,
    ascending, at which to make a checkpoint.
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
        """Upper bound on its KV cells."""
        return len(self.cells) + self.room

    @property
    def is_reading(self) -> bool:
        return self.n_done < len(self.cells)

    @property
    def n_to_come(self) -> int:
        """Estimate of the cells that are still to be decoded."""
        left = min(self.room, USUAL_ANSWER) - len(self.answer)
        return self.cells.n_to_read(min(len(self.cells), max(self.n_done, self.n_follow))) + max(0, left)

    @property
    def next_kind(self) -> Kind:
        """The kind of the prompt's next cell."""
        _, _, kind = next(self.cells.runs(self.n_done, len(self.cells)))
        return kind

    @property
    def keys(self) -> NDArray[np.int64]:
        """The keys of prompt and answer so far; those up to n_done are decoded."""
        return self.buffer[: len(self.cells) + len(self.answer)]

    def place_cached(self, pool: Pool) -> None:
        """Copies the cached cells that come next, if any, into the sequence, without decoding."""
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
