"""The local executor: all stages in this process, with as many answers in flight as the engine has sequences.

A question passes the stages before `generate` alone, then joins the answers in flight. Those stages pause the answers
while they work, which costs nothing if both need the same cores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self, cast

from pipeline.contracts import NeedsEmbedder, Reranker
from pipeline.errors import ModelError
from pipeline.executors.answering import Answering
from pipeline.executors.tasks import Description, Outcome, Task
from pipeline.pipeline import Pipeline
from pipeline.records import TaskFault
from pipeline.registry import kind_of, stage_name
from pipeline.stages import run_stage
from pipeline.types import State


class LocalExecutor:
    """Runs a batch on one pipeline, which it closes. `max_in_flight` 1 asks one question after the other."""

    def __init__(self, pipeline: Pipeline, max_in_flight: int | None = None) -> None:
        self.pipeline = pipeline
        pool = pipeline.config.executor.pool(stage_name(pipeline.config.generator))
        limit = pool.max_in_flight if max_in_flight is None else max_in_flight
        self.max_in_flight = pipeline.config.generator.n_parallel if limit == "auto" else limit

    def start(self) -> Description:
        warm_up(self.pipeline, range(len(self.pipeline.config.stages)))
        return {"kind": "local", "max_in_flight": self.max_in_flight}

    def run(self, tasks: Iterator[Task], retry: int, on_tokens: Callable[[int], None]) -> Iterator[Outcome]:
        generator = self.pipeline.config.generator
        answering: Answering[Task] = Answering(generator, self.pipeline)
        again: list[Task] = []
        held: list[Task] = []
        try:
            while True:
                while not held and len(answering) < self.max_in_flight:
                    task = again.pop() if again else next(tasks, None)
                    if task is None:
                        break
                    try:
                        state = self._prepared(task, is_alone=not len(answering))
                        if state.answer is not None:
                            yield Outcome.of(task, state)
                        elif not _add(answering, task, state):
                            held.append(task)
                    except _CellsTaken:
                        held.append(task)
                    except _Failed as failed:
                        yield from _given_up(task, failed.fault, again, retry)
                    except Exception as error:
                        yield from _given_up(task, TaskFault.of(error, stage_name(generator)), again, retry)
                if not len(answering):
                    if not held and not again:
                        return
                    again += held
                    held.clear()
                    continue
                ended, n_pieces = answering.turn()
                on_tokens(n_pieces)
                for task, result in ended:
                    if isinstance(result, State):
                        yield Outcome.of(task, result)
                    else:
                        yield from _given_up(task, TaskFault.of(result, stage_name(generator)), again, retry)
        finally:
            answering.cancel()

    def _prepared(self, task: Task, is_alone: bool) -> State:
        """Runs the stages before generate. Raises _Failed; _CellsTaken if it may work once no answer is in flight."""
        if not task.retries:
            task.begin()
        pipeline = self.pipeline
        state = State(task.sample.question, ledger=pipeline.ledger)
        for stage in pipeline.config.stages[:-1]:
            try:
                state = run_stage(stage, state, pipeline, pipeline.reserve)
            except Exception as error:
                if isinstance(error, ModelError) and not is_alone:
                    raise _CellsTaken from error
                raise _Failed(TaskFault.of(error, stage_name(stage))) from error
        return state

    def close(self) -> None:
        self.pipeline.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _add(answering: Answering[Task], task: Task, state: State) -> bool:
    """Starts an answer. Returns False if it has to wait until none is in flight, to read its passages first."""
    try:
        answering.add(task, state)
    except ModelError:
        if not len(answering):
            raise
        return False
    return True


class _CellsTaken(Exception):
    """A stage that works with the reader needs cells that the answers in flight hold."""


class _Failed(Exception):
    """A stage raised."""

    def __init__(self, fault: TaskFault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def _given_up(task: Task, fault: TaskFault, again: list[Task], retry: int) -> Iterator[Outcome]:
    """Yields the outcome of a failed task; nothing if it is retried."""
    if task.may_retry(fault, retry):
        again.append(task)
    else:
        yield Outcome.of(task, None, fault)


def warm_up(pipeline: Pipeline, stages: range, with_reader: bool = True) -> None:
    """Loads what these stages need, so that faults appear before the first question and its time is fair."""
    if with_reader:
        pipeline.window  # noqa: B018 - loads the reader, and says when the answer alone is too long for it
    for place in stages:
        stage = pipeline.config.stages[place]
        if isinstance(stage, NeedsEmbedder) and stage.needs_embedder:
            pipeline.embedder.embed(["a text"])
        if kind_of(stage) == "rerank":
            cast("Reranker", stage).load(pipeline)
        if stage is pipeline.config.retriever and pipeline.config.searches_index:
            pipeline.index.n_chunks  # noqa: B018 - opens the index
