"""A grid of cells (each a task at a size) and their trials. The seed and the settings decide all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

from pipeline.errors import ConfigError
from pipeline.evaluation.needles.table import TASKS
from pipeline.evaluation.needles.task import NeedleTask, Sources, chars_of, parameter_names, parameters_of
from pipeline.evaluation.needles.trials import NeedleTrial
from pipeline.settings import nearest

_HAYSTACKS = 1000
"""Seeds reserved for one grid: each seed of a grid has its own block of haystack seeds."""


_MAX_TRIALS = 100_000


@dataclass(frozen=True)
class NeedleGrid:
    """What to ask: every task at every size, with every combination of the parameters that it has.

    :param tasks: see table.py.
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
            if TASKS[task].data and self.data is None:
                raise ConfigError(f"the task {task} needs `data`: {TASKS[task].data}")
        for name in ("pairs", "lengths", "needles", "threads"):
            values = getattr(self, name)
            if not values or min(values) < 1:
                raise ConfigError(f"`{name}`: numbers of at least 1 are needed, were: {list(values)}")
        if self.n < 1:
            raise ConfigError(f"`n` must be at least 1, was: {self.n}")
        if self.n > _MAX_TRIALS:
            raise ConfigError(f"`n` must be at most {_MAX_TRIALS}, was: {self.n}")

    def cells(self) -> list[NeedleCell]:
        """The cells, sizes ascending. Raises DataError, with the numbers, if the needles do not fit."""
        cells = [
            NeedleCell(task, pairs)
            for name in self.tasks
            for task in self._variants(TASKS[name])
            for pairs in sorted(set(self.pairs))
        ]
        for cell in cells:
            cell.task.check(cell.pairs)
        return cells

    def _variants(self, task: type[NeedleTask]) -> list[NeedleTask]:
        """The task with every combination of the grid's values for its parameters."""
        names = parameter_names(task)
        make: Callable[..., NeedleTask] = task
        return [make(**dict(zip(names, values, strict=True))) for values in product(*map(self._values, names))]

    def _values(self, parameter: str) -> tuple[object, ...]:
        values: dict[str, tuple[object, ...]] = {
            "length": self.lengths,
            "direction": self.directions,
            "needles": self.needles,
            "placement": (self.placement,),
            "threads": self.threads,
        }
        return values[parameter]

    def trials(self, cell: NeedleCell) -> list[NeedleTrial]:
        """The `n` trials of a cell, or fewer if the data has no more."""
        trials = cell.task.trials(cell.pairs, self.seed * _HAYSTACKS, self.n, self._sources)
        return [replace(trial, cell=tuple(replace(cell, label=trial.label).to_dict().items())) for trial in trials]

    @cached_property
    def _sources(self) -> Sources:
        return Sources(self.book, self.data)

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class NeedleCell:
    """One task at one size. `label` names a part of its trials: `altered` has altered and unaltered texts."""

    task: NeedleTask
    pairs: int
    label: str = ""

    @property
    def name(self) -> str:
        return self.label or self.task.name

    def to_dict(self) -> dict[str, Any]:
        """The fields that identify the cell."""
        return {"task": self.name, "pairs": self.pairs, "chars": self.chars, **parameters_of(self.task)}

    @property
    def chars(self) -> int:
        return chars_of(self.pairs)

    @property
    def row(self) -> str:
        """The cell without its size, in words: the name of a row in a picture."""
        return " ".join(str(value) for name, value in self.to_dict().items() if name not in ("pairs", "chars"))
