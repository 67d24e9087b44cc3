"""What an executor is given and what it gives back, one by one, in whatever order they are finished."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import perf_counter
from types import TracebackType
from typing import Any, Protocol, Self

from pipeline.executors.samples import Sample
from pipeline.records import Fault
from pipeline.types import State


@dataclass(eq=False)
class Task:
    """A sample on its way. `n` is its place in the input, from 0; `retries` says why it began anew, each time.

    `n_counted` of these count against the number that is allowed: not those for which another may be to blame.
    """

    n: int
    key: str
    sample: Sample
    retries: list[Fault] = field(default_factory=list)
    n_counted: int = 0
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    clock: float = field(default_factory=perf_counter)

    def begin(self) -> None:
        """Its time runs from here."""
        self.started, self.clock = datetime.now(UTC), perf_counter()

    def may_retry(self, fault: Fault, most: int) -> bool:
        """Whether it may be tried again; if so, that is noted."""
        if fault.is_final or self.n_counted >= most:
            return False
        self.n_counted += 1
        self.retries.append(fault)
        return True


@dataclass(frozen=True)
class Outcome:
    """A finished sample: it has a state with an answer, or a fault."""

    task: Task
    state: State | None
    fault: Fault | None
    seconds: float

    @classmethod
    def of(cls, task: Task, state: State | None, fault: Fault | None = None) -> Outcome:
        return cls(task, state, fault, perf_counter() - task.clock)


class Executor(Protocol):
    """Runs tasks through a pipeline's stages.

    `start` loads what is needed and says in lines what became of every `auto`. `run` takes tasks as it has room for
    them, and gives each back once. `on_tokens` of it is told how many tokens were written since it was last told.
    """

    def start(self) -> dict[str, Any]: ...
    def run(self, tasks: Iterator[Task], retry: int, on_tokens: Callable[[int], None]) -> Iterator[Outcome]: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...
