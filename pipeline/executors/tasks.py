"""The contract of executors: tasks in, outcomes out, one by one, in order of completion."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import perf_counter
from types import TracebackType
from typing import Protocol, Self, TypedDict

from pipeline.executors.samples import Sample
from pipeline.records import TaskFault
from pipeline.types import State


@dataclass(eq=False)
class Task:
    """A sample in flight. `n` is its place in the input, from 0; `retries` holds the reason of each retry.

    `n_counted` of these count against the limit: retries that another sample may have caused do not.
    """

    n: int
    key: str
    sample: Sample
    retries: list[TaskFault] = field(default_factory=list)
    n_counted: int = 0
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    clock: float = field(default_factory=perf_counter)

    def begin(self) -> None:
        """Starts the task's clock."""
        self.started, self.clock = datetime.now(UTC), perf_counter()

    def may_retry(self, fault: TaskFault, max_retries: int) -> bool:
        """Whether the task may be retried; if so, records the retry."""
        if fault.is_final or self.n_counted >= max_retries:
            return False
        self.n_counted += 1
        self.retries.append(fault)
        return True


@dataclass(frozen=True)
class Outcome:
    """A finished sample, with either a state that has an answer, or a fault."""

    task: Task
    state: State | None
    fault: TaskFault | None
    seconds: float

    @classmethod
    def of(cls, task: Task, state: State | None, fault: TaskFault | None = None) -> Outcome:
        return cls(task, state, fault, perf_counter() - task.clock)


class Description(TypedDict, total=False):
    """How an executor resolved each `auto`, for run.json. All but `kind` and `max_in_flight` are of Ray."""

    kind: str
    max_in_flight: int
    start_s: float
    ray_start_s: float
    nodes: list[dict[str, str | float]]
    pools: list[str]
    model_sha256: str | None


class Executor(Protocol):
    """Runs tasks through a pipeline's stages.

    `start` loads the stages and describes how every `auto` was resolved. `run` takes tasks as it has room for them, and
    yields one outcome per task. It calls `on_tokens` with the number of tokens written since the last call.
    """

    def start(self) -> Description: ...
    def run(self, tasks: Iterator[Task], retry: int, on_tokens: Callable[[int], None]) -> Iterator[Outcome]: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None: ...
