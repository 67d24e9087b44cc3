"""A grid of cells (each a task at a size) and their trials. The seed and the settings decide all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError, DataError
from pipeline.evaluation.needles import altered, babi, lines, prose
from pipeline.evaluation.needles.haystack import PAIR_CHARS, Haystack, written
from pipeline.evaluation.needles.tasks import Ask, Shape, make
from pipeline.evaluation.needles.trials import Trial
from pipeline.registry import nearest

UUID_TASKS = ("single", "multiple", "conditional", "thread", "multithread", "branched")
PROSE_TASKS = ("sentences", "association")
BABI_TASKS = ("babi1", "babi2", "babi3")
TASKS = (*UUID_TASKS, *PROSE_TASKS, "lines", *BABI_TASKS, "altered")
LENGTHS_OF = {"thread", "multithread", "branched", *PROSE_TASKS}
NEEDLES_OF = {"multiple", "conditional"}
LINE_CHARS = 56
_MAX_TRIALS = 100_000
_HAYSTACKS = 1000
"""Seeds reserved for one grid: each seed of a grid has its own block of haystack seeds."""


@dataclass(frozen=True)
class Grid:
    """What to ask: every task at every size, with every length, number of needles and direction that it has.

    :param tasks: see TASKS.
    :param pairs: sizes in pairs of 80 characters. A text without pairs has as many characters.
    :param lengths: of threads, in pairs or sentences.
    :param needles: of `multiple` and `conditional`.
    :param threads: of `multithread`.
    :param directions: of threads: forward, backward, random.
    :param placement: of `multiple` and `conditional`: random or clustered.
    :param n: trials of each cell.
    :param seed: of all random draws.
    :param book: documents to hide the sentences in. Default: generated prose.
    :param data: for babi a folder or file of bAbI, for altered a SQuAD file, for lines a file of LongChat's prompts.
    """

    tasks: tuple[str, ...] = ("single",)
    pairs: tuple[int, ...] = (12, 25, 50)
    lengths: tuple[int, ...] = (2,)
    needles: tuple[int, ...] = (5,)
    threads: tuple[int, ...] = (2,)
    directions: tuple[str, ...] = ("forward",)
    placement: str = "random"
    n: int = 20
    seed: int = 0
    book: tuple[str, ...] = ()
    data: str | None = None

    def __post_init__(self) -> None:
        for task in self.tasks:
            if task not in TASKS:
                raise ConfigError(f"`tasks`: there is no task '{task}'{nearest(task, list(TASKS))}: {', '.join(TASKS)}")
            if task.startswith(("babi", "altered")) and self.data is None:
                what = "a folder with its files (qa1..., qa2..., qa3...)" if task != "altered" else "a SQuAD file"
                raise ConfigError(f"the task {task} needs `data`: {what}")
        for name in ("pairs", "lengths", "needles", "threads"):
            values = getattr(self, name)
            if not values or min(values) < 1:
                raise ConfigError(f"`{name}`: numbers of at least 1 are needed, were: {list(values)}")
        if self.n < 1:
            raise ConfigError(f"`n` must be at least 1, was: {self.n}")
        if self.n > _MAX_TRIALS:
            raise ConfigError(f"`n` must be at most {_MAX_TRIALS}, was: {self.n}")

    def cells(self) -> list[Cell]:
        """The cells, sizes ascending. Raises DataError, with the numbers, if the needles do not fit."""
        cells = []
        for task in self.tasks:
            lengths = self.lengths if task in LENGTHS_OF else (1,)
            directions = self.directions if task in LENGTHS_OF else ("forward",)
            needles = self.needles if task in NEEDLES_OF else (1,)
            threads = self.threads if task == "multithread" else (1,)
            for n, length, direction, n_threads in product(needles, lengths, directions, threads):
                for pairs in sorted(set(self.pairs)):
                    cell = Cell(task, pairs, length, direction, n, n_threads, self.placement)
                    if task in UUID_TASKS and cell.shape.n_pairs > pairs:
                        make(cell.shape, pairs, self.seed, 1)  # raises DataError with the numbers
                    cells.append(cell)
        return cells

    def trials(self, cell: Cell) -> list[Trial]:
        """The `n` trials of a cell."""
        return list(self._trials(cell))

    def _trials(self, cell: Cell) -> Iterator[Trial]:
        left, part = self.n, 0
        while left > 0:
            trials = self._part(cell, self.seed * _HAYSTACKS + part, left)
            if not trials:
                return
            yield from trials[:left]
            left -= len(trials) if cell.task != "altered" else self.n
            part += 1

    def _part(self, cell: Cell, seed: int, n: int) -> list[Trial]:
        """The trials over one text, or all trials if each has its own text. Empty if the data has no more."""
        chars = cell.pairs * PAIR_CHARS
        if cell.task in UUID_TASKS:
            haystack, asks = make(cell.shape, cell.pairs, seed, min(n, cell.shape.at_a_time(cell.pairs)))
            return _uuid_trials(cell, haystack, asks)
        if cell.task in PROSE_TASKS:
            shape = prose.ProseShape(cell.length, cell.direction, cell.task == "association")  # type: ignore[arg-type]
            trials = prose.trials(shape, chars, seed, n, self._book)
        elif cell.task == "lines":
            if self.data is not None:
                trials = lines.read_trials(Path(self.data), n) if seed == self.seed * _HAYSTACKS else []
            else:
                trials = lines.trials(max(1, chars // LINE_CHARS), seed, min(n, 10))
        elif cell.task == "altered":
            trials = altered.trials(self._numbers, chars, seed, n)
        else:
            stories = babi.read_stories(self._story_file(cell.task))
            trials = babi.trials(stories, cell.task, chars, seed, n, self._book)
        return [_in_cell(trial, cell) for trial in trials]

    @cached_property
    def _book(self) -> str | None:
        return prose.read_book(self.book) if self.book else None

    @cached_property
    def _numbers(self) -> list[altered.NumberQuestion]:
        return altered.read_questions(Path(self.data or ""))

    def _story_file(self, task: str) -> Path:
        path = Path(self.data or "")
        if path.is_file():
            return path
        files = sorted(path.glob(f"qa{task[-1]}_*.txt"))
        if not files:
            raise DataError(f"{path}: there is no file qa{task[-1]}_*.txt of bAbI in it")
        return files[-1]

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Cell:
    """One task at one size. `length`, `direction`, `needles` and `threads` apply only to tasks that have them."""

    task: str
    pairs: int
    length: int = 1
    direction: str = "forward"
    needles: int = 1
    threads: int = 1
    placement: str = "random"

    @property
    def shape(self) -> Shape:
        return Shape(
            self.task,  # type: ignore[arg-type]
            needles=self.needles,
            length=self.length,
            threads=self.threads,
            direction=self.direction,  # type: ignore[arg-type]
            placement=self.placement,  # type: ignore[arg-type]
        )

    def to_dict(self) -> dict[str, Any]:
        """The fields that identify the cell: those that its task has."""
        values: dict[str, Any] = {"task": self.task, "pairs": self.pairs, "chars": self.chars}
        if self.task in LENGTHS_OF:
            values |= {"length": self.length, "direction": self.direction}
        if self.task in NEEDLES_OF:
            values |= {"needles": self.needles, "placement": self.placement}
        if self.task == "multithread":
            values |= {"threads": self.threads}
        return values

    @property
    def chars(self) -> int:
        return self.pairs * PAIR_CHARS

    @property
    def row(self) -> str:
        """The cell without its size, in words: the name of a row in a picture."""
        return " ".join(str(value) for name, value in self.to_dict().items() if name not in ("pairs", "chars"))


def _uuid_trials(cell: Cell, haystack: Haystack, asks: list[Ask]) -> list[Trial]:
    text, strays = haystack.text, haystack.strays
    return [
        Trial(
            id=f"{haystack.name}-{number}",
            question=ask.text,
            haystack_name=f"{haystack.name}.txt",
            haystack=text,
            needles=written(ask.pairs(haystack)),
            expected=ask.expected,
            cell=tuple(cell.to_dict().items()),
            is_set=ask.task == "conditional",
            passed=ask.passed,
            strays=strays,
            depth=dict(ask.traits).get("depth"),
        )
        for number, ask in enumerate(asks)
    ]


def _in_cell(trial: Trial, cell: Cell) -> Trial:
    values = {**cell.to_dict(), "task": dict(trial.cell)["task"]}
    return replace(trial, cell=tuple(values.items()))
