"""A pipeline in this process: runs questions through the stages and owns their shared resources.

with Pipeline(load_config("configs/default.yaml"), index_folder) as pipeline:
    state = pipeline.ask(Question("..."))
    state.answer, state.ledger

`longthread.Pipeline` is the front door: it takes documents, and questions that are strings.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from pipeline.config import IndexSettings, PipelineConfig
from pipeline.contracts import Assembler, ChoosesAgain, Embedder, Index, Model, Ranker, Recollection, Superseded
from pipeline.errors import WindowError
from pipeline.listener import Listener
from pipeline.models.capabilities import Dated, Forgets, Thinks
from pipeline.models.settings import EngineSettings
from pipeline.models.thinking import CLOSING_ROOM
from pipeline.resources import Resources
from pipeline.stages import run_stage, stage_ledger
from pipeline.types import Document, Ledger, Passage, Question, State

if TYPE_CHECKING:
    from pipeline.documents.chunking import Chunker
    from pipeline.retrieval.scope import Scope


@dataclass
class Pipeline:
    """One pipeline in this process: its stages and their shared resources, each loaded on first use.

    It is the `Runtime` of its stages. Its settings are fixed: `changed` gives a pipeline with others that shares the
    loaded resources. Not thread-safe: the model's context has one owner.
    """

    config: PipelineConfig
    index_folder: Path
    listener: Listener = field(default_factory=Listener)
    recollection: Recollection | None = None
    is_cancelled: bool = False
    day: str | None = None
    """The current date for the reader's chat template; None leaves the template's fixed date."""
    resources: Resources = field(default_factory=Resources, repr=False)
    _notes: list[str] = field(default_factory=list, repr=False)
    _noted: set[str] = field(default_factory=set, repr=False)

    def check(self) -> None:
        """Raises ModelError for a bad reader or reranker, as far as a quick check can tell."""
        for reranker in self.config.rerankers:
            reranker.check()
        self.config.generator.check()

    def ask(self, question: Question, shown_before: tuple[Passage, ...] = ()) -> State:
        """Runs a question through all stages. Raises LongthreadError for errors that the user can fix.

        `shown_before` are the passages of a conversation's last prompt: they keep their places in this one.
        """
        self.follow_index()
        state = State(question, ledger=self.ledger, shown_before=shown_before)
        for stage in self.config.stages:
            if self.is_cancelled:
                return state
            state = run_stage(stage, state, self, self.reserve)
        return state

    def changed(self, config: PipelineConfig, index_folder: Path) -> Pipeline:
        """Returns a pipeline with other settings or another index, which shares the resources and the reader's cells.

        This pipeline remains usable: it loads again what it needs. Closing one closes both.
        """
        return replace(self, config=config, index_folder=index_folder, _notes=[], _noted=set())

    def use(self, reader: Model | None = None, embedder: Embedder | None = None, index: Index | None = None) -> None:
        """Uses these resources instead of those that the settings name."""
        if reader is not None:
            self.resources.reader.put(self.config.generator.reader_key, reader)
        if embedder is not None:
            self.resources.embedder.put(self.config.index.reading, embedder)
        if index is not None:
            self.resources.index.put((self.index_folder, self.config.index), index)

    def follow_index(self) -> None:
        """Switches to the newest generation of the index, if another process has published one."""
        self.resources.index.drop_if(lambda index: isinstance(index, Superseded) and index.is_superseded)

    @property
    def reader(self) -> Model:
        reader = self.resources.reader.get(self.config.generator.reader_key, self._load_reader)
        if isinstance(reader, Thinks):
            reader.thinks = self._thinking_tokens > 0
        return reader

    def _load_reader(self) -> Model:
        reader = self.config.generator.load(self.listener.progress)
        if self.day is not None and isinstance(reader, Dated):
            reader.set_day(self.day)
        return reader

    @property
    def _thinking_tokens(self) -> int:
        """The budget of thoughts before an answer; 0 if the reader does not think."""
        return self.config.generator.sampling.thinking_tokens

    def set_day(self, day: str) -> None:
        """Sets the current date of the reader's chat template, now or when the reader is loaded."""
        self.day = day
        reader = self.resources.reader.peek()
        if isinstance(reader, Dated):
            reader.set_day(day)

    def chunk(self, document: Document) -> list[Passage]:
        passages: list[Passage] = chunker(self.config.index).chunk(
            document, self.embedder.count_tokens, self.embedder.max_tokens
        )
        return passages

    def model(self, settings: EngineSettings) -> Model:
        """Returns a model other than the reader, from the file that `longthread models tune` chose for scoring."""
        models = self.resources.models
        if settings not in models:
            from pipeline.gguf.catalogue import resolve
            from pipeline.gguf.tune import tuned
            from pipeline.models.engine import open_engine

            path = resolve(settings.model)
            models[settings] = open_engine(settings, tuned(path, "score") or path, self.listener.progress)
        return models[settings]

    def ranker(self, name: str) -> Ranker:
        rankers = self.resources.rankers
        if name not in rankers:
            from pipeline.gguf.catalogue import resolve
            from pipeline.models.cross_encoder import CrossEncoder

            rankers[name] = CrossEncoder(resolve(name))
        return rankers[name]

    def forget(self, text: str) -> None:
        """Makes the loaded models forget the cells that hold a text, in memory and on disk."""
        for model in (self.resources.reader.peek(), *self.resources.models.values()):
            if isinstance(model, Forgets):
                model.forget(text)

    def note(self, text: str, once: bool = False) -> None:
        if not (once and text in self._noted):
            self._notes.append(text)
        self._noted.add(text)

    def take_notes(self) -> tuple[str, ...]:
        notes = tuple(dict.fromkeys(self._notes))
        self._notes.clear()
        return notes

    @property
    def embedder(self) -> Embedder:
        return self.resources.embedder.get(self.config.index.reading, lambda: open_embedder(self.config.index))

    @property
    def index(self) -> Index:
        return self.resources.index.get((self.index_folder, self.config.index), self._open_index)

    @property
    def searches_index(self) -> bool:
        return self.config.searches_index

    def scope(self, question: Question) -> Scope | None:
        from pipeline.retrieval.scope import scope_of

        return scope_of(self.config.retriever, question)

    def _open_index(self) -> Index:
        from pipeline.retrieval.open_index import open_index

        index = open_index(self.index_folder, self.embedder, chunker(self.config.index))
        with suppress(OSError):
            os.utime(self.index_folder)  # 'longthread indexes list' shows when it was last used
        if index.is_behind:
            self.note("an update of the index is not finished: answers come from its state before that")
        return index

    @property
    def assembler(self) -> Assembler:
        return self.config.assembler

    @property
    def chooser(self) -> ChoosesAgain | None:
        return self.config.chooser

    @property
    def on_overflow(self) -> Literal["shed", "refuse"]:
        return self.config.budget.on_overflow

    @property
    def reserve(self) -> int:
        """Cells kept free for the answer, and for the thoughts before it."""
        n_answer = self.config.generator.max_tokens
        reader = self.reader
        if not self._thinking_tokens or not isinstance(reader, Thinks) or not reader.profile.is_there:
            return n_answer
        return n_answer + self._thinking_tokens + CLOSING_ROOM

    @cached_property
    def window(self) -> int:
        """Cells that prompt and answer share. Raises WindowError when the answer alone does not fit."""
        window = self._window_and_why[0]
        if window > self.reader.window:
            raise WindowError(
                f"budget.window is {window}, but the context of {self.reader.name} holds {self.reader.window}: "
                "lower budget.window or raise n_ctx"
            )
        if window <= self.reserve:
            raise WindowError(
                f"the window holds {window} tokens and max_tokens keeps {self.reserve} of them for the answer: nothing "
                "is left for the question. Raise budget.window or n_ctx, or lower max_tokens or thinking_tokens"
            )
        return window

    @cached_property
    def _window_and_why(self) -> tuple[int, str]:
        """The budget's window, and its reason if it was measured."""
        window = self.config.budget.window
        if window == "effective":
            from pipeline.models.effective import effective_window

            return effective_window(self.reader, self.config.budget.task)
        return window or self.reader.window, ""

    @property
    def ledger(self) -> Ledger:
        """An empty ledger for one question, with the reason for its window if there is one."""
        empty = stage_ledger(self.window, self.reserve, self.reader.name)
        why = self._window_and_why[1]
        return replace(empty, notes=(why,)) if why else empty

    def close(self) -> None:
        self.resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def open_embedder(settings: IndexSettings) -> Embedder:
    """Opens the embedder of the settings; `none` counts words and has no vectors."""
    from pipeline.retrieval.embedder import open_embedder

    return open_embedder(settings.embedder, settings.pooling, settings.question_prefix, settings.passage_prefix)


def chunker(settings: IndexSettings) -> Chunker:
    """Builds the chunker of the settings."""
    from pipeline.documents.chunking import Chunker

    return Chunker(tokens=settings.chunk_tokens, overlap=settings.overlap, chunks=settings.chunks)
