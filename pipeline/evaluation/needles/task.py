"""A needle task: a frozen dataclass in a file of its own, and a line in table.py.

The fields of a task are its parameters. A grid asks a task with every combination of the values that it has for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, Protocol, get_args

from pipeline.evaluation.needles.haystack import PAIR_CHARS, Direction, Placement
from pipeline.evaluation.needles.prose import read_book
from pipeline.evaluation.needles.trials import NeedleTrial

_CHOICES = {"direction": get_args(Direction), "placement": get_args(Placement)}


@dataclass(frozen=True)
class Sources:
    """The user's texts. `book` are documents to hide sentences in, `data` the path of a task's own data."""

    book: tuple[str, ...] = ()
    data: str | None = None

    @cached_property
    def book_text(self) -> str | None:
        """The text of the book; None without one, for generated prose."""
        return read_book(self.book) if self.book else None


class NeedleTask(Protocol):
    """Makes questions over long texts. The seed and the fields decide all of them.

    `data` says what `--data` must name; it is empty for tasks that need no data. `has_limit` says whether texts of any
    size can be made, so that the largest size that a model masters can be searched for. Fields are among `length`,
    `direction`, `needles`, `placement` and `threads`.
    """

    name: ClassVar[str]
    data: ClassVar[str]
    has_limit: ClassVar[bool]

    @property
    def smallest(self) -> int:
        """The smallest size, in pairs, that holds the needles of one question."""

    def check(self, pairs: int) -> None:
        """Raises DataError, with the numbers, if the needles of one question do not fit this size."""

    def trials(self, pairs: int, seed: int, n: int, sources: Sources) -> list[NeedleTrial]:
        """`n` trials over texts of `pairs` pairs (of PAIR_CHARS characters), or fewer if the data has no more.

        Texts beyond the first one use the seeds after `seed`.
        """


def parameters_of(task: NeedleTask) -> dict[str, Any]:
    """The fields of a task, in their order."""
    return asdict(task)  # type: ignore[call-overload,no-any-return]


def check_parameters(task: NeedleTask) -> None:
    """Raises ValueError for a number below 1 and for an unknown choice."""
    for name, value in parameters_of(task).items():
        choices = _CHOICES.get(name)
        if choices and value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(choices)}, was: {value}")
        if not choices and value < 1:
            raise ValueError(f"{name} must be at least 1, was: {value}")


def parameter_names(task: type[NeedleTask]) -> tuple[str, ...]:
    """The names of the fields of a task's class, in their order."""
    return tuple(field.name for field in fields(task))  # type: ignore[arg-type]


def over_texts(make: Callable[[int, int], list[NeedleTrial]], seed: int, n: int) -> list[NeedleTrial]:
    """`n` trials over several texts. `make` receives the seed of a text and the number of trials that are missing."""
    trials: list[NeedleTrial] = []
    while len(trials) < n:
        more = make(seed, n - len(trials))
        if not more:
            break
        trials += more
        seed += 1
    return trials[:n]


def chars_of(pairs: int) -> int:
    return pairs * PAIR_CHARS
