"""The Ray executor: one pool of actors per stage, with bounded queues between them.

The driver holds a question's state between two stages and sends it to the next. A process or node that dies therefore
loses only the work in progress: it is retried at the same stage, and the record says so. The driver replaces a dead
actor from its order. A question whose actor died runs alone from then on, so that a harmful question takes no others
with it. If several questions were at work, the death is in their records but does not count as a retry.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline.config import PipelineConfig
from pipeline.contracts import Progress
from pipeline.errors import ConfigError, LongthreadError, ModelError, RunError
from pipeline.executors.on_ray.actors import GenerateActor, NodePlace, Order, ReaderInfo, Reply, StageActor
from pipeline.executors.on_ray.lines import Flight, Line, Slot
from pipeline.executors.on_ray.plan import plan
from pipeline.executors.on_ray.session import Session
from pipeline.executors.tasks import Description, Outcome, Task
from pipeline.records import TaskFault
from pipeline.registry import stage_name, unregistered
from pipeline.types import Ledger, Question, State

PATIENCE_S = 300.0
"""Time limit for an actor to be placed and loaded; then the run stops."""
_DIED = "ActorDied"
_RAY_ENDED = "RayEnded"
_SILENCE_S = 30.0
"""A stage without a process is reported after so long."""
_CHECK_S = 1.0
"""Interval between two checks of Ray's own processes."""
_POLL_S = 0.5
_KEEPING_S = 20.0
"""Seconds that models have at the end to write the cells that they keep."""


_Fail = Callable[..., None]
"""Called with the line, the flight, the fault, and whether another flight may be the cause."""


class RayExecutor:
    """Runs a batch as Ray actors. `index_hash` and `sha256`, if given, have to match on every node."""

    def __init__(
        self,
        config: PipelineConfig,
        index_folder: Path,
        index_hash: str | None,
        sha256: str | None,
        max_in_flight: int | None = None,
        progress: Progress = lambda what, done, total: None,
        on_note: Callable[[str], None] = lambda text: None,
    ) -> None:
        objects = [stage_name(component) for stage in config.stages for component in unregistered(stage)]
        if objects:
            raise ConfigError(
                f"{', '.join(objects)}: a stage that is an object runs in this process only: executor local"
            )
        self.config = config
        self.order = Order(replace(config), 0, index_folder.resolve(), index_hash, sha256)
        self.max_in_flight = max_in_flight
        self.progress, self.on_note = progress, on_note
        self._has_restarted, self._checked = False, 0.0
        self._session: Session | None = None
        self._lines: list[Line] = []
        self._refs: dict[object, tuple[Line, Slot, Flight | None]] = {}
        self._ledger = Ledger()
        self._reader: ReaderInfo | None = None

    # ------------------------------------------------------------------------------------------------- begin and end
    def start(self) -> Description:
        """Starts or joins Ray, makes all actors, and waits until each stage has one."""
        try:
            return self._start()
        except _RayEndedError as error:
            return self._restart(str(error))

    def _start(self) -> Description:
        start = time.perf_counter()
        self.progress("start Ray", 0, 0)
        self._session = Session(self.config.executor)
        pools = plan(self.config, self._session.nodes)
        for number, pool in enumerate(pools):
            self._lines.append(Line(number, pool, max(1, self.config.executor.waiting * pool.places)))
        for line in sorted(self._lines, key=lambda line: -line.plan.num_cpus):  # the largest need empty nodes
            for _ in range(line.plan.replicas):
                self._make(line)
        self.progress("load stages", 0, len(self._lines))
        while any(not any(slot.place for slot in line.slots) for line in self._lines):
            self._wait(_nothing_fails)
            ready = sum(any(slot.place for slot in line.slots) for line in self._lines)
            self.progress("load stages", ready, len(self._lines))
        return {
            "kind": "ray",
            "start_s": round(time.perf_counter() - start, 3),
            "ray_start_s": round(self._session.start_s, 3),
            "nodes": [{"address": node.address, "cpus": node.cpus, "gpus": node.gpus} for node in self._session.nodes],
            "pools": [str(pool) for pool in pools],
            "model_sha256": None if self._reader is None else self._reader.sha256,
        }

    def _restart(self, service: str) -> Description:
        """Restarts Ray, once: questions in flight wait at their stage. Raises RunError the next time."""
        assert self._session is not None  # noqa: S101
        if self._has_restarted or not self._session.is_private:
            raise RunError(
                f"Ray's {service} ended, and new processes would wait for it for ever: the records so far are whole; "
                "run the same command again, or use the `executor` local"
            )
        self._has_restarted = True
        self.on_note(f"Ray's {service} ended: Ray is started again, and the run goes on from its records")
        waiting = []
        for line in self._lines:
            flights = [flight for slot in line.slots for flight in slot.flights]
            for flight in flights:
                flight.task.retries.append(TaskFault(_RAY_ENDED, f"Ray's {service} ended", line.plan.stage))
            waiting.append([*flights, *line.waiting])
        self.close()
        try:
            description = self._start()
        except _RayEndedError as error:
            return self._restart(str(error))
        for line, flights in zip(self._lines, waiting, strict=False):  # empty if Ray ended before the lines existed
            line.waiting.extendleft(reversed(flights))
        return description

    @property
    def places(self) -> dict[str, list[NodePlace]]:
        """The node and process of each stage's actors."""
        return {line.plan.stage: [slot.place for slot in line.slots if slot.place] for line in self._lines}

    def close(self) -> None:
        if self._session is None:
            return
        with contextlib.suppress(Exception):  # Ray itself may be gone
            self._finish_keeping()
        with contextlib.suppress(Exception):  # the actors are killed even if none could be asked to finish
            for line in self._lines:
                for slot in line.slots:
                    self._session.ray.kill(slot.actor)
        self._lines.clear()
        self._refs.clear()
        self._session.close()
        self._session = None

    def _finish_keeping(self) -> None:
        """Gives the models time to write the cells that they keep: an actor that is killed writes no more."""
        assert self._session is not None  # noqa: S101 - `close` has looked
        actors = [slot.actor for line in self._lines[-1:] for slot in line.slots if slot.place]
        waiting = [actor.finish.remote(_KEEPING_S) for actor in actors]
        if waiting:
            self._session.ray.wait(waiting, num_returns=len(waiting), timeout=_KEEPING_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    # ------------------------------------------------------------------------------------------------------- a batch
    def run(self, tasks: Iterator[Task], retry: int, on_tokens: Callable[[int], None]) -> Iterator[Outcome]:
        ended: list[Outcome] = []

        def fail(line: Line, flight: Flight, fault: TaskFault, in_company: bool = False) -> None:
            """Retries a question: at its stage if the actor died, from the start if the stage failed; or gives up."""
            if in_company:
                flight.task.retries.append(fault)
            elif not flight.task.may_retry(fault, retry):
                ended.append(Outcome.of(flight.task, None, fault))
                return
            if fault.type == _DIED:
                flight.n_deaths += 1
                line.waiting.appendleft(flight)
            else:
                self._lines[0].waiting.append(Flight(flight.task, self._new_state(flight.task), flight.n_deaths))

        more = True
        while True:
            assert self._session is not None  # noqa: S101 - start() came before, and a restart makes another
            while more and self._has_room():
                task = next(tasks, None)
                if task is None:
                    more = False
                    break
                task.begin()
                self._lines[0].waiting.append(Flight(task, self._new_state(task)))
            if not more and not self.n_under_way:
                return
            try:
                self._hand_out()
                finished = self._wait(fail)
            except (_RayEndedError, self._session.ray.exceptions.RayError) as error:
                service = str(error) if isinstance(error, _RayEndedError) else self._session.ended_service()
                if not service:
                    raise
                self._restart(service)
                finished = []
            for line, flight, state in finished:
                if state.answer is not None or line is self._lines[-1]:
                    ended.append(Outcome.of(flight.task, state))
                else:
                    flight.state = state
                    self._lines[line.number + 1].waiting.append(flight)
            on_tokens(0)
            while ended:
                yield ended.pop(0)

    def ask(self, question: Question, on_text: Callable[[str], None] | None = None) -> State:
        """Answers one question, piece by piece. Raises RunError if a stage fails."""
        assert self._session is not None  # noqa: S101 - start() came before
        ray = self._session.ray
        state = State(question, ledger=self._ledger)
        for line in self._lines:
            actor = next(slot.actor for slot in line.slots if slot.place)
            is_last = line is self._lines[-1]
            try:
                reply: Reply = (
                    self._streamed(actor, state, on_text) if is_last else ray.get(actor.run.remote(state, self._reader))
                )
            except ray.exceptions.RayError as error:
                raise RunError(f"{line.plan.stage}: its process ended: {_first_line(error)}") from None
            if reply.fault is not None:
                raise RunError(f"{reply.fault.stage}: {reply.fault.type}: {reply.fault.message}")
            assert reply.state is not None  # noqa: S101 - a reply without a fault has one
            state = reply.state
            if state.answer is not None:
                break
        return state

    def _streamed(self, actor: Any, state: State, on_text: Callable[[str], None] | None) -> Reply:
        assert self._session is not None  # noqa: S101
        for ref in actor.stream.options(num_returns="streaming").remote(state):
            piece = self._session.ray.get(ref)
            if isinstance(piece, Reply):
                return piece
            if on_text is not None:
                on_text(piece)
        raise ModelError("the answer ended before its end")

    # ---------------------------------------------------------------------------------------------------- the actors
    def _make(self, line: Line) -> None:
        """Makes an actor of a stage; it takes questions once it has started."""
        assert self._session is not None  # noqa: S101
        ray, pool = self._session.ray, line.plan
        order = replace(self.order, place=line.number)
        options: dict[str, object] = {
            "num_cpus": pool.num_cpus,
            "num_gpus": pool.num_gpus,
            "max_restarts": 0,
            "scheduling_strategy": "SPREAD",
        }
        if line.number == len(self.config.stages) - 1:
            options["max_concurrency"] = pool.max_in_flight + 2
            actor = ray.remote(GenerateActor).options(**options).remote(order, pool.threads)
        else:
            actor = ray.remote(StageActor).options(**options).remote(order)
        slot = Slot(actor, time.monotonic())
        line.slots.append(slot)
        self._refs[actor.start.remote()] = (line, slot, None)

    def _has_started(self, slot: Slot, place: NodePlace | tuple[NodePlace, ReaderInfo]) -> None:
        if isinstance(place, tuple):
            place, reader = place
            self._meet(reader)
        slot.place = place

    def _meet(self, reader: ReaderInfo) -> None:
        """Takes the window of the first model that is ready; the others have to agree."""
        if self._reader is None:
            self._reader = reader
            self.order = replace(self.order, sha256=reader.sha256)
            self._ledger = reader.ledger
        elif reader.window < self._reader.window and not self.config.budget.window:
            raise ModelError(
                f"{reader.name}: on one node its window holds {self._reader.window} tokens, on another {reader.window}"
                ": set n_ctx or budget.window to what all can hold"
            )

    def _died(self, line: Line, slot: Slot, why: str, fail: _Fail) -> None:
        """Removes a dead actor, returns its work to the queue, and makes a replacement."""
        if slot not in line.slots:
            return
        assert self._session is not None  # noqa: S101
        line.slots.remove(slot)
        self._refs = {ref: value for ref, value in self._refs.items() if value[1] is not slot}
        self._session.ray.kill(slot.actor)
        line.n_deaths_in_a_row += 1
        if line.n_deaths_in_a_row > self.config.executor.max_restarts:
            raise RunError(
                f"{line.plan.stage}: its processes ended {line.n_deaths_in_a_row} times in a row without one answer: "
                f"{why}. Is there memory enough for it? executor.max_restarts says how often it is tried"
            )
        at_work = slot.flights if line is self._lines[-1] else slot.flights[:1]  # other stages take one at a time
        for flight in reversed(slot.flights):
            if flight in at_work:
                fault = TaskFault(_DIED, f"its process ended: {why}", line.plan.stage)
                fail(line, flight, fault, len(at_work) > 1)
            else:
                line.waiting.appendleft(flight)
        self._make(line)

    # ------------------------------------------------------------------------------------------------------ the work
    @property
    def n_under_way(self) -> int:
        """The questions that have started and not ended."""
        return sum(len(line.waiting) + line.n_in_flight for line in self._lines)

    def _has_room(self) -> bool:
        first = self._lines[0]
        is_room = self.max_in_flight is None or self.n_under_way < self.max_in_flight
        return is_room and len(first.waiting) < first.bound

    def _new_state(self, task: Task) -> State:
        return State(task.sample.question, ledger=self._ledger)

    def _hand_out(self) -> None:
        """Gives waiting questions to free actors, the last stage first; none if the next stage's queue is full."""
        for line in reversed(self._lines):
            after = self._lines[line.number + 1] if line.number + 1 < len(self._lines) else None
            while line.waiting:
                if after is not None and len(after.waiting) + line.n_in_flight >= after.bound:
                    break
                slot = line.free_slot(line.waiting[0])
                if slot is None:
                    break
                flight = line.waiting.popleft()
                slot.flights.append(flight)
                self._refs[slot.actor.run.remote(flight.state, self._reader)] = (line, slot, flight)

    def _wait(self, fail: _Fail) -> list[tuple[Line, Flight, State]]:
        """Waits briefly for results; returns the questions that finished a stage.

        Raises _RayEndedError if a process of Ray's own has ended: work in flight is then lost.
        """
        assert self._session is not None  # noqa: S101
        ray = self._session.ray
        if time.monotonic() - self._checked > _CHECK_S:
            self._checked = time.monotonic()
            if service := self._session.ended_service():
                raise _RayEndedError(service)
        done = ray.wait(list(self._refs), num_returns=1, timeout=_POLL_S)[0] if self._refs else []
        ready, _ = ray.wait(list(self._refs), num_returns=len(self._refs), timeout=0) if done else ([], [])
        finished: list[tuple[Line, Flight, State]] = []
        for ref in ready:
            if ref not in self._refs:  # `_died` removed its actor meanwhile
                continue
            line, slot, flight = self._refs.pop(ref)
            try:
                reply = ray.get(ref)
            except ray.exceptions.RayTaskError as error:
                self._raised(line, slot, flight, error, fail)
                continue
            except ray.exceptions.RayError as error:
                self._died(line, slot, _first_line(error), fail)
                continue
            if flight is None:
                self._has_started(slot, reply)
                continue
            slot.flights.remove(flight)
            line.n_deaths_in_a_row = 0
            if reply.fault is not None:
                fail(line, flight, reply.fault)
            else:
                finished.append((line, flight, reply.state))
        self._check_patience()
        return finished

    def _raised(self, line: Line, slot: Slot, flight: Flight | None, error: Any, fail: _Fail) -> None:
        """Handles an exception outside a stage's work: while starting it is raised for the user."""
        cause = error.cause if isinstance(error.cause, BaseException) else error
        if flight is None:
            if isinstance(cause, LongthreadError):
                raise cause
            raise RunError(f"{line.plan.stage}: it could not be started: {type(cause).__name__}: {_first_line(cause)}")
        slot.flights.remove(flight)
        fail(line, flight, TaskFault.of(cause, line.plan.stage))

    def _check_patience(self) -> None:
        """Raises RunError for a stage without a started actor after PATIENCE_S."""
        for line in self._lines:
            if any(slot.place for slot in line.slots):
                continue
            seconds = time.monotonic() - max((slot.since for slot in line.slots), default=time.monotonic())
            if seconds > _SILENCE_S and not line.is_late:
                line.is_late = True
                self.on_note(f"{line.plan.stage}: no process of it has started for {seconds:.0f} s")
            if seconds > PATIENCE_S:
                raise RunError(
                    f"no actor could be started in {PATIENCE_S:.0f} s ({line.plan}): has the cluster room for it? "
                    "Lower num_cpus or replicas under executor.stages"
                )


class _RayEndedError(Exception):
    """A process of Ray's own has ended; the message is its name."""


def _nothing_fails(line: Line, flight: Flight, fault: TaskFault, in_company: bool = False) -> None:
    """The `_Fail` of the start, when no question is in flight."""


def _first_line(error: BaseException) -> str:
    """Returns Ray's reason for a death as one line, without its advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    cause = next((line for line in lines if "exit" in line or "killed" in line or "memory" in line.lower()), None)
    return (cause or (lines[0] if lines else type(error).__name__))[:300]
