"""The actors: one stage of a pipeline in a process of its own, built from specs. They print nothing.

An actor that is begun anew after its process died is the same as before: all that it needs comes with its making and
with each call.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pipeline.config import PipelineConfig
from pipeline.contracts import Model
from pipeline.errors import ModelError, StoreError
from pipeline.executors.answering import Answering
from pipeline.executors.local import warm_up
from pipeline.executors.tasks import Fault
from pipeline.models.capabilities import ReadsAhead, why_not_compose
from pipeline.offline import switch_off_telemetry
from pipeline.pipeline import Pipeline
from pipeline.stages import run_stage
from pipeline.types import Ledger, State


@dataclass(frozen=True)
class Reader:
    """What the model that answers says of itself, for the stages that only count with it, and how a ledger begins."""

    name: str
    window: int
    sha256: str | None
    ledger: Ledger
    why_not_compose: str = ""


@dataclass(frozen=True)
class Place:
    """Where an actor lives."""

    node: str
    pid: int


@dataclass(frozen=True)
class Reply:
    """What a stage made of a question: a state, or a fault."""

    state: State | None
    fault: Fault | None = None


@dataclass(frozen=True)
class Order:
    """What an actor is made from. `index_hash` and `sha256` are what it has to find on its node, if they are given."""

    config: PipelineConfig
    place: int
    index_folder: Path
    index_hash: str | None
    sha256: str | None


class StageActor:
    """One of the stages before the last. It counts with the reader's vocabulary, and opens the index to read it."""

    def __init__(self, order: Order) -> None:
        switch_off_telemetry()
        self.order = order
        self.runtime = Pipeline(order.config, order.index_folder)

    def start(self) -> Place:
        """Loads what can be loaded without the reader. Raises what is wrong with this node's index or model."""
        order = self.order
        self.runtime.index_folder = _index_folder(order)
        _model_sha256(order)
        warm_up(self.runtime, range(order.place, order.place + 1), with_reader=False)
        return here()

    def run(self, state: State, reader: Reader) -> Reply:
        """The stage's work on one question."""
        spec, component = self.order.config.stages[self.order.place], self.order.config.components[self.order.place]
        try:
            if self.runtime.resources.reader.peek() is None:
                self.runtime.use(reader=counting(self.runtime, reader))
            return Reply(run_stage(spec, component, state, self.runtime, self.runtime.reserve))
        except Exception as error:
            return Reply(None, Fault.of(error, spec.name))


def counting(runtime: Pipeline, reader: Reader) -> Model:
    """A reader for exact counts: of a model in a file, its vocabulary."""
    last = runtime.config.components[-1]
    file: Path | None = getattr(last, "file", None)
    if file is None:
        loaded: Model = last.load(runtime.progress)
        return loaded
    from pipeline.models.counting import CountingModel

    adapters = tuple(Path(one.path) for one in getattr(last, "lora", ()))
    load = partial(last.load, runtime.progress)
    return CountingModel(file, reader.window, adapters, load, last.engine, reader.why_not_compose)


class GenerateActor:
    """The last stage: one engine, whose sequences are filled with as many questions as are asked at a time.

    A thread drives the engine; calls wait for their answers without one.
    """

    def __init__(self, order: Order, threads: int | None) -> None:
        switch_off_telemetry()
        if threads is not None:
            order = replace(order, config=_with_threads(order.config, threads))
        self.order = order
        self.runtime = Pipeline(order.config, order.index_folder)
        self._asked: queue.SimpleQueue[_Asked] = queue.SimpleQueue()
        self._begun = threading.Lock()
        self._thread: threading.Thread | None = None

    async def start(self) -> tuple[Place, Reader]:
        """Loads the model. Raises what is wrong with it on this node."""
        return await asyncio.to_thread(self._start)

    async def run(self, state: State, _: Reader) -> Reply:
        """The answer to one question."""
        asked = self._ask(state, has_listener=False)
        while not isinstance(found := await asked.pieces.get(), Reply):
            pass
        return found

    async def stream(self, state: State) -> AsyncIterator[str | Reply]:
        """The answer piece by piece, and the reply after the last."""
        asked = self._ask(state, has_listener=True)
        while True:
            found = await asked.pieces.get()
            yield found
            if isinstance(found, Reply):
                return

    async def finish(self, timeout_s: float) -> bool:
        """Waits until the cells of passages that were read are on this node's disk; False if that takes longer."""
        model = self.runtime.resources.reader.peek()
        return not isinstance(model, ReadsAhead) or await asyncio.to_thread(model.finish_keeping, timeout_s)

    def _start(self) -> tuple[Place, Reader]:
        with self._begun:
            sha256 = _model_sha256(self.order)
            model = self.runtime.reader
            is_reused = getattr(self.runtime.assembler, "reuse", "exact") != "exact"
            why = why_not_compose(model) if is_reused else ""
            reader = Reader(model.name, model.window, sha256, self.runtime.ledger, why)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="longthread answers", daemon=True)
                self._thread.start()
            return here(), reader

    def _ask(self, state: State, has_listener: bool) -> _Asked:
        asked = _Asked(state, asyncio.get_running_loop(), asyncio.Queue(), has_listener)
        self._asked.put(asked)
        return asked

    def _work(self) -> None:
        config = self.runtime.config
        spec, component = config.stages[-1], config.components[-1]
        answering = Answering(spec, component, self.runtime)
        held: deque[_Asked] = deque()
        """Questions that find no room beside the answers under way: they go when there are none."""
        while True:
            while not len(answering) or not self._asked.empty():
                asked = held.popleft() if held and not len(answering) else self._asked.get()
                try:
                    answering.add(asked, asked.state, asked.tell if asked.has_listener else None)
                except Exception as error:
                    if isinstance(error, ModelError) and len(answering):
                        held.append(asked)
                    else:
                        asked.tell(Reply(None, Fault.of(error, spec.name)))
            for asked, found in answering.turn()[0]:
                if isinstance(found, State):
                    asked.tell(Reply(found))
                else:
                    asked.tell(Reply(None, Fault.of(found, spec.name)))


@dataclass(eq=False)
class _Asked:
    """A question that waits for its answer in an event loop, while a thread writes it."""

    state: State
    loop: asyncio.AbstractEventLoop
    pieces: asyncio.Queue[str | Reply]
    has_listener: bool

    def tell(self, piece: str | Reply) -> None:
        self.loop.call_soon_threadsafe(self.pieces.put_nowait, piece)


def here() -> Place:
    from pipeline.executors.on_ray.session import library

    return Place(library().get_runtime_context().get_node_id(), os.getpid())


def _with_threads(config: PipelineConfig, threads: int) -> PipelineConfig:
    """The same pipeline, whose engine takes so many threads unless the file says how many."""
    last = config.stages[-1]
    if last.name != "generate.llama" or "threads" in dict(last.settings):
        return config
    spec = replace(last, settings=(*last.settings, ("threads", threads)))
    return replace(config, stages=(*config.stages[:-1], spec))


def _index_folder(order: Order) -> Path:
    """The state of the index on this node that the run answers from, which need not be the newest."""
    if order.index_hash is None:
        return order.index_folder
    from pipeline.retrieval.fingerprint import fingerprint
    from pipeline.retrieval.generations import published

    for path in published(order.index_folder):
        with suppress(StoreError):  # it was deleted just now
            if fingerprint(path) == order.index_hash:
                return path
    raise StoreError(
        f"{order.index_folder}: on node {here().node[:8]} the index in this folder is another one: put it where "
        "every node sees it, or copy it there"
    )


def _model_sha256(order: Order) -> str | None:
    """The hash of the reader's file on this node; None for one without a file."""
    file: Path | None = getattr(order.config.components[-1], "file", None)
    if file is None:
        return None
    from pipeline.models.filehash import file_sha256

    found = file_sha256(file)
    if order.sha256 is not None and found != order.sha256:
        raise ModelError(
            f"{file}: on node {here().node[:8]} this model is another file (sha256 {found[:12]}, not "
            f"{order.sha256[:12]}): copy the file there, or, if it was tuned on one node alone, set use_tuned: false"
        )
    return found
