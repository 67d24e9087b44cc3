"""A checked pipeline: its stages as components, and its sections."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pipeline.config.executor import ExecutorSettings
from pipeline.config.settings import Budget, IndexSettings
from pipeline.contracts import (
    Assembler,
    ChoosesAgain,
    Component,
    Compressor,
    Generator,
    Memory,
    Reranker,
    Retriever,
)
from pipeline.errors import ConfigError
from pipeline.registry import (
    kind_of,
    settings_of,
    stage_name,
)


@dataclass(frozen=True)
class PipelineConfig:
    """A checked pipeline.

    :param path: its file, or a name for reports.
    :param stages: the components, in pipeline order.
    :param names_model: whether the file or a command names the model. If not, the user's default model may replace it.
    """

    path: str
    stages: tuple[Component, ...]
    index: IndexSettings = field(default_factory=IndexSettings)
    budget: Budget = field(default_factory=Budget)
    executor: ExecutorSettings = field(default_factory=ExecutorSettings)
    names_model: bool = True

    @property
    def retriever(self) -> Retriever | None:
        """The retriever, if there is one."""
        retriever: Retriever | None = self._first("retrieve")
        return retriever

    @property
    def rerankers(self) -> tuple[Reranker, ...]:
        return self.of_kind("rerank")

    @property
    def compressors(self) -> tuple[Compressor, ...]:
        return self.of_kind("compress")

    @property
    def chooser(self) -> ChoosesAgain | None:
        """The compressor that chooses again while the answer is written; None if none does."""
        return next((one for one in self.compressors if isinstance(one, ChoosesAgain) and one.again is not None), None)

    @property
    def memory(self) -> Memory | None:
        memory: Memory | None = self._first("memory")
        return memory

    @property
    def assembler(self) -> Assembler:
        """The assembler. Raises ConfigError if there is none, as `generator` does."""
        assembler: Assembler = self._required("assemble")
        return assembler

    @property
    def generator(self) -> Generator:
        generator: Generator = self._required("generate")
        return generator

    @property
    def searches_index(self) -> bool:
        """Whether passages come from an index."""
        return self.retriever is not None and self.retriever.searches_index

    def of_kind(self, kind: str) -> tuple[Any, ...]:
        """Returns the stages of a kind, in order."""
        return tuple(stage for stage in self.stages if kind_of(stage) == kind)

    def _first(self, kind: str) -> Any:
        return next(iter(self.of_kind(kind)), None)

    def _required(self, kind: str) -> Any:
        stage = self._first(kind)
        if stage is None:
            raise ConfigError(f"{self.path}: a pipeline needs one {kind} stage, there is none")
        return stage

    def replacing(self, kind: str, *stages: Component) -> PipelineConfig:
        """Replaces the stages of a kind; without new stages, removes them."""
        places = [place for place, stage in enumerate(self.stages) if kind_of(stage) == kind]
        if not places:
            raise ConfigError(f"{self.path}: there is no {kind} stage to replace")
        rest = [stage for stage in self.stages if kind_of(stage) != kind]
        return replace(self, stages=(*rest[: places[0]], *stages, *rest[places[0] :]))

    def before(self, kind: str, stage: Component) -> PipelineConfig:
        """Inserts a stage right before the first stage of a kind, or at the end if there is none."""
        places = [place for place, other in enumerate(self.stages) if kind_of(other) == kind]
        place = places[0] if places else len(self.stages)
        return replace(self, stages=(*self.stages[:place], stage, *self.stages[place:]))

    def resolved(self) -> dict[str, Any]:
        """Returns every setting that an answer depends on, including defaults, for a run's record."""
        stages = [{stage_name(stage): settings_of(stage)} for stage in self.stages]
        return {"index": self.index.to_dict(), "budget": asdict(self.budget), "stages": stages}

    @property
    def hash(self) -> str:
        """The hash of the resolved settings, equal for equivalent files."""
        return hashlib.sha256(json.dumps(self.resolved(), sort_keys=True).encode()).hexdigest()[:16]
