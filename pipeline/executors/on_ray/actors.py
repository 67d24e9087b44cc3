"""The actors: each runs one stage of a pipeline in its own process. They print nothing.

Actors are stateless: an actor that replaces a dead one gets everything it needs from its order and from each call.
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

from pipeline.answers.llama import Llama
from pipeline.config import PipelineConfig
from pipeline.contracts import Model, Reuses
from pipeline.errors import ModelError, StoreError
from pipeline.executors.answering import Answering
from pipeline.executors.local import warm_up
from pipeline.models.capabilities import ReadsAhead, why_not_compose
from pipeline.offline import switch_off_telemetry
from pipeline.pipeline import Pipeline
from pipeline.records import TaskFault
from pipeline.registry import stage_name
from pipeline.stages import run_stage
from pipeline.types import Ledger, State


@dataclass(frozen=True)
class ReaderInfo:
    """The answering model's facts for the stages that only count tokens with it, and the empty ledger."""

    name: str
    window: int
    sha256: str | None
    ledger: Ledger
    why_not_compose: str = ""


@dataclass(frozen=True)
class NodePlace:
    """The node and process of an actor."""

    node: str
    pid: int


@dataclass(frozen=True)
class Reply:
    """The result of a stage for one question: a state or a fault."""

    state: State | None
    fault: TaskFault | None = None


@dataclass(frozen=True)
class Order:
    """The construction arguments of an actor. `index_hash` and `sha256`, if given, have to match on its node."""

    config: PipelineConfig
    place: int
    index_folder: Path
    index_hash: str | None
    sha256: str | None


class StageActor:
    """Runs a stage before the last. It counts with the reader's vocabulary and opens the index read-only."""

    def __init__(self, order: Order) -> None:
        switch_off_telemetry()
        self.order = order
        self.runtime = Pipeline(order.config, order.index_folder)

    def start(self) -> NodePlace:
        """Loads what needs no reader. Raises StoreError or ModelError for a bad index or model on this node."""
        order = self.order
        self.runtime.index_folder = _index_folder(order)
        _model_sha256(order)
        warm_up(self.runtime, range(order.place, order.place + 1), with_reader=False)
        return this_node()

    def run(self, state: State, reader: ReaderInfo) -> Reply:
        """Runs the stage on one question."""
        stage = self.order.config.stages[self.order.place]
        try:
            if self.runtime.resources.reader.peek() is None:
                self.runtime.use(reader=counting(self.runtime, reader))
            return Reply(run_stage(stage, state, self.runtime, self.runtime.reserve))
        except Exception as error:
            return Reply(None, TaskFault.of(error, stage_name(stage)))


def counting(runtime: Pipeline, reader: ReaderInfo) -> Model:
    """Returns a reader that counts tokens exactly; for a model file it loads only the vocabulary."""
    generator = runtime.config.generator
    file = generator.model_file()
    if file is None or not isinstance(generator, Llama):
        return generator.load(runtime.listener.progress)
    from pipeline.models.counting import CountingModel

    adapters = tuple(Path(adapter.path) for adapter in generator.lora)
    load = partial(generator.load, runtime.listener.progress)
    return CountingModel(file, reader.window, adapters, load, generator.engine, reader.why_not_compose)


class GenerateActor:
    """Runs the last stage: one engine, which answers all concurrent questions in its sequences.

    One thread drives the engine; calls await their answers without a thread each.
    """

    def __init__(self, order: Order, threads: int | None) -> None:
        switch_off_telemetry()
        if threads is not None:
            order = replace(order, config=_with_threads(order.config, threads))
        self.order = order
        self.runtime = Pipeline(order.config, order.index_folder)
        self._pending: queue.SimpleQueue[_PendingAnswer] = queue.SimpleQueue()
        self._begun = threading.Lock()
        self._thread: threading.Thread | None = None

    async def start(self) -> tuple[NodePlace, ReaderInfo]:
        """Loads the model. Raises ModelError for a bad model on this node."""
        return await asyncio.to_thread(self._start)

    async def run(self, state: State, _: ReaderInfo) -> Reply:
        """Answers one question."""
        pending = self._ask(state, has_listener=False)
        while not isinstance(piece := await pending.pieces.get(), Reply):
            pass
        return piece

    async def stream(self, state: State) -> AsyncIterator[str | Reply]:
        """Yields the answer piece by piece, then the reply."""
        pending = self._ask(state, has_listener=True)
        while True:
            piece = await pending.pieces.get()
            yield piece
            if isinstance(piece, Reply):
                return

    async def finish(self, timeout_s: float) -> bool:
        """Waits until the cells of passages that were read are on this node's disk; False if that takes longer."""
        model = self.runtime.resources.reader.peek()
        return not isinstance(model, ReadsAhead) or await asyncio.to_thread(model.finish_keeping, timeout_s)

    def _start(self) -> tuple[NodePlace, ReaderInfo]:
        with self._begun:
            sha256 = _model_sha256(self.order)
            model = self.runtime.reader
            assembler = self.runtime.assembler
            is_reused = isinstance(assembler, Reuses) and assembler.reuse != "exact"
            why = why_not_compose(model) if is_reused else ""
            reader = ReaderInfo(model.name, model.window, sha256, self.runtime.ledger, why)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="longthread answers", daemon=True)
                self._thread.start()
            return this_node(), reader

    def _ask(self, state: State, has_listener: bool) -> _PendingAnswer:
        pending = _PendingAnswer(state, asyncio.get_running_loop(), asyncio.Queue(), has_listener)
        self._pending.put(pending)
        return pending

    def _work(self) -> None:
        generator = self.runtime.config.generator
        answering: Answering[_PendingAnswer] = Answering(generator, self.runtime)
        postponed: deque[_PendingAnswer] = deque()
        """Questions that do not fit beside the answers in flight: they start once there are none."""
        while True:
            while not len(answering) or not self._pending.empty():
                pending = postponed.popleft() if postponed and not len(answering) else self._pending.get()
                try:
                    answering.add(pending, pending.state, pending.send if pending.has_listener else None)
                except Exception as error:
                    if isinstance(error, ModelError) and len(answering):
                        postponed.append(pending)
                    else:
                        pending.send(Reply(None, TaskFault.of(error, stage_name(generator))))
            for pending, result in answering.turn()[0]:
                if isinstance(result, State):
                    pending.send(Reply(result))
                else:
                    pending.send(Reply(None, TaskFault.of(result, stage_name(generator))))


@dataclass(eq=False)
class _PendingAnswer:
    """A question whose answer an event loop awaits and a thread writes."""

    state: State
    loop: asyncio.AbstractEventLoop
    pieces: asyncio.Queue[str | Reply]
    has_listener: bool

    def send(self, piece: str | Reply) -> None:
        self.loop.call_soon_threadsafe(self.pieces.put_nowait, piece)


def this_node() -> NodePlace:
    from pipeline.executors.on_ray.session import library

    return NodePlace(library().get_runtime_context().get_node_id(), os.getpid())


def _with_threads(config: PipelineConfig, threads: int) -> PipelineConfig:
    """Sets the engine's threads, unless the pipeline file does."""
    generator = config.generator
    if not isinstance(generator, Llama) or generator.threads != "auto":
        return config
    return config.replacing("generate", replace(generator, threads=threads))


def _index_folder(order: Order) -> Path:
    """Finds the index generation of the run on this node, which need not be the newest."""
    if order.index_hash is None:
        return order.index_folder
    from pipeline.retrieval.fingerprint import fingerprint
    from pipeline.retrieval.generations import published

    for path in published(order.index_folder):
        with suppress(StoreError):  # another process may delete it meanwhile
            if fingerprint(path) == order.index_hash:
                return path
    raise StoreError(
        f"{order.index_folder}: on node {this_node().node[:8]} the index in this folder is another one: put it where "
        "every node sees it, or copy it there"
    )


def _model_sha256(order: Order) -> str | None:
    """Returns the hash of the reader's file on this node; None for a reader without a file."""
    file = order.config.generator.model_file()
    if file is None:
        return None
    from pipeline.storage.hashes import file_sha256

    sha256 = file_sha256(file)
    if order.sha256 is not None and sha256 != order.sha256:
        raise ModelError(
            f"{file}: on node {this_node().node[:8]} this model is another file (sha256 {sha256[:12]}, not "
            f"{order.sha256[:12]}): copy the file there, or, if it was tuned on one node alone, set use_tuned: false"
        )
    return sha256
