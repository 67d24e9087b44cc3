"""A pipeline file, checked: every fault of it at once, each with its line, before anything is loaded.

index:                          # optional: how documents are cut and embedded
  embedder: minilm
  chunk_tokens: 200
budget:                         # optional: how much the model may be given
  window: 4096
  on_overflow: shed
stages:                         # in the order in which a question passes them
  - retrieve.hybrid: {k: 8}
  - compress.sentences
  - assemble.cited
  - generate.llama: {model: smollm2-135m}
executor:                       # optional: where a batch runs
  kind: ray
  stages: {generate: {replicas: 2}}
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pipeline.checks import at_least
from pipeline.contracts import Assembler, Component, Compressor, Generator, Memory, NeedsEmbedder, Reranker, Retriever
from pipeline.errors import ConfigError, SettingError
from pipeline.executors.settings import ExecutorSettings
from pipeline.presets import preset_or_path
from pipeline.registry import (
    ALIASES,
    COMPONENTS,
    Fault,
    build,
    build_dataclass,
    changed_settings,
    kind_of,
    name_of,
    nearest,
    settings_of,
    stage_name,
    unknown_component,
)
from pipeline.yaml import YamlFile, read_yaml


@dataclass(frozen=True)
class IndexSettings:
    """How documents are cut and embedded.

    :param embedder: `minilm`, the path of a GGUF file or of a sentence-transformers folder, or `none` (words only: no
        weights needed).
    :param chunk_tokens: the longest chunk, in the embedder's tokens (words with `none`); a chunk never exceeds what the
        embedder reads.
    :param overlap: how many of these tokens neighbouring chunks share.
    :param chunks: `tokens` fills chunks up to chunk_tokens as far as headings allow; `structure` makes one of each
        section, function or paragraph, and puts neighbours together that fit.
    :param pooling: how a GGUF file's embedder makes a text's vector of its tokens' states. auto: as the file says.
    :param question_prefix: what a GGUF file's embedder reads before a question. None: what its family was trained with,
        known by the name in the file; '' for nothing.
    :param passage_prefix: the same before a passage.
    """

    embedder: str = "minilm"
    chunk_tokens: int = 200
    overlap: int = 0
    chunks: Literal["tokens", "structure"] = "tokens"
    pooling: Literal["auto", "mean", "cls", "last"] = "auto"
    question_prefix: str | None = None
    passage_prefix: str | None = None

    def __post_init__(self) -> None:
        if not self.embedder:
            raise SettingError("embedder", "must be a name or a path, was: ''")
        at_least("chunk_tokens", self.chunk_tokens, 16)
        if not 0 <= self.overlap < self.chunk_tokens // 2:
            raise SettingError("overlap", f"must be in [0, chunk_tokens / 2), was: {self.overlap}")
        if self.overlap and self.chunks == "structure":
            raise SettingError("overlap", f"must be 0 with chunks: structure, was: {self.overlap}")
        for name, default in (("pooling", "auto"), ("question_prefix", None), ("passage_prefix", None)):
            if getattr(self, name) != default and not self.embedder.lower().endswith(".gguf"):
                raise SettingError(name, f"is for an embedder that is a GGUF file, and embedder is {self.embedder}")

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values. Those of GGUF files, and `chunks`, are left out where nothing is set: they are
        younger than kept indexes and records, which are found by these values.
        """
        values = asdict(self)
        if self.chunks == "tokens":
            del values["chunks"]
        for name in ("pooling", "question_prefix", "passage_prefix"):
            if values[name] in ("auto", None):
                del values[name]
        return values

    @property
    def reading(self) -> tuple[str | None, ...]:
        """What decides which embedder it is, and what it gives."""
        return self.embedder, self.pooling, self.question_prefix, self.passage_prefix


@dataclass(frozen=True)
class Budget:
    """How much the reader may be given.

    :param window: cells that prompt and answer share; by default all that the model's context holds. `effective`: as
        many as the model was found to use well, by `longthread needle calibrate`.
    :param on_overflow: `shed` leaves out the lowest-ranked passages and lists them; `refuse` stops with the numbers.
    :param task: what the model must do well within the effective window: a task of `longthread needle calibrate`.
    """

    window: int | Literal["effective"] | None = None
    on_overflow: Literal["shed", "refuse"] = "shed"
    task: str = "sentences"

    def __post_init__(self) -> None:
        if isinstance(self.window, int) and self.window < 1:
            raise SettingError("window", f"must be greater than 0, was: {self.window}")


SECTIONS: dict[str, type] = {"index": IndexSettings, "budget": Budget, "executor": ExecutorSettings}


@dataclass(frozen=True)
class PipelineConfig:
    """A checked pipeline.

    :param path: the file that it was read from, or a name for reports.
    :param stages: the components, in the order in which a question passes them.
    :param names_model: whether somebody chose the model. If not, the user's default model may take its place.
    """

    path: str
    stages: tuple[Component, ...]
    index: IndexSettings = field(default_factory=IndexSettings)
    budget: Budget = field(default_factory=Budget)
    executor: ExecutorSettings = field(default_factory=ExecutorSettings)
    names_model: bool = True

    @property
    def retriever(self) -> Retriever | None:
        """The first stage, if it finds passages."""
        retriever: Retriever | None = self._first("retrieve")
        return retriever

    @property
    def rerankers(self) -> tuple[Reranker, ...]:
        return self.of_kind("rerank")

    @property
    def compressors(self) -> tuple[Compressor, ...]:
        return self.of_kind("compress")

    @property
    def memory(self) -> Memory | None:
        memory: Memory | None = self._first("memory")
        return memory

    @property
    def assembler(self) -> Assembler:
        """Raises ConfigError for a pipeline without one, as `generator` does."""
        assembler: Assembler = self._required("assemble")
        return assembler

    @property
    def generator(self) -> Generator:
        generator: Generator = self._required("generate")
        return generator

    @property
    def searches_index(self) -> bool:
        """Whether passages come from an index of documents."""
        return self.retriever is not None and self.retriever.searches_index

    def of_kind(self, kind: str) -> tuple[Any, ...]:
        """The stages of one kind, in order."""
        return tuple(stage for stage in self.stages if kind_of(stage) == kind)

    def _first(self, kind: str) -> Any:
        return next(iter(self.of_kind(kind)), None)

    def _required(self, kind: str) -> Any:
        stage = self._first(kind)
        if stage is None:
            raise ConfigError(f"{self.path}: a pipeline needs one {kind} stage, there is none")
        return stage

    def replacing(self, kind: str, *stages: Component) -> PipelineConfig:
        """The same pipeline with these stages in the place of those of a kind; without any, the kind goes."""
        places = [place for place, stage in enumerate(self.stages) if kind_of(stage) == kind]
        if not places:
            raise ConfigError(f"{self.path}: there is no {kind} stage to replace")
        rest = [stage for stage in self.stages if kind_of(stage) != kind]
        return replace(self, stages=(*rest[: places[0]], *stages, *rest[places[0] :]))

    def before(self, kind: str, stage: Component) -> PipelineConfig:
        """The same pipeline with one more stage, right before the first of a kind, or at the end without one."""
        places = [place for place, other in enumerate(self.stages) if kind_of(other) == kind]
        place = places[0] if places else len(self.stages)
        return replace(self, stages=(*self.stages[:place], stage, *self.stages[place:]))

    def resolved(self) -> dict[str, Any]:
        """Every setting that an answer depends on, defaults included: what a run's record keeps."""
        stages = [{stage_name(stage): settings_of(stage)} for stage in self.stages]
        return {"index": self.index.to_dict(), "budget": asdict(self.budget), "stages": stages}

    @property
    def hash(self) -> str:
        """Of the resolved settings: two files that say the same have the same hash."""
        return hashlib.sha256(json.dumps(self.resolved(), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class FileFault:
    """A fault in a file; its `str` is the line that the user sees."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}" if self.line else f"{self.path}: {self.message}"


def load_config(path: str | Path) -> PipelineConfig:
    """The pipeline in a file, or the preset of that name. Raises ConfigError with every fault, one a line."""
    config, faults = check_config(path)
    if config is None:
        raise ConfigError("\n".join(map(str, faults)))
    return config


def check_config(path: str | Path) -> tuple[PipelineConfig | None, list[FileFault]]:
    """The pipeline in a file, or all that is wrong with it, in the order of its lines."""
    return check_file(read_yaml(preset_or_path(path)))


def check_file(file: YamlFile) -> tuple[PipelineConfig | None, list[FileFault]]:
    """The same of a file that was read, and whose value may have been changed since."""
    file.value = with_absolute_paths(file.value, Path(file.path).absolute().parent)
    check = _Check(file)
    config = check.config()
    faults = sorted([FileFault(file.path, fault.line, fault.message) for fault in file.faults] + check.faults, key=_by)
    return (None, faults) if faults else (config, [])


def _by(fault: FileFault) -> tuple[int, str]:
    return fault.line, fault.message


def with_absolute_paths(value: Any, folder: Path) -> Any:
    """The value of a pipeline file with its relative paths made absolute: they are relative to the file's folder."""
    if isinstance(value, list):
        return [with_absolute_paths(item, folder) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: str(folder / item) if _is_relative_path(key, item) else with_absolute_paths(item, folder)
        for key, item in value.items()
    }


def _is_relative_path(key: str, value: Any) -> bool:
    if not isinstance(value, str) or not value or value.startswith(("~", "hf:")) or Path(value).is_absolute():
        return False
    looks_like_one = "/" in value or value.lower().endswith((".gguf", ".jinja"))
    return key in _PATHS or (key in _NAMES_OR_PATHS and looks_like_one)


def _is_missing(path: str) -> bool:
    file = Path(path).expanduser()
    return file.is_absolute() and not file.exists()


_PATHS = ("path", "lora", "json_schema", "grammar")
"""Settings whose value is a path."""
_NAMES_OR_PATHS = ("model", "embedder", "weights", "chat_template")
"""Settings whose value is a path if it looks like one, else a name."""


def missing_paths(config: PipelineConfig) -> list[str]:
    """What a pipeline names by its path and is not there, each with the setting's key; for `longthread check`."""
    found: list[str] = []

    def look(value: Any, where: str) -> None:
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            place = f"{where}[{key}]" if isinstance(key, int) else f"{where}.{key}"
            if isinstance(item, dict | list | tuple):
                look(item, place)
            elif key in (*_PATHS, *_NAMES_OR_PATHS) and isinstance(item, str) and _is_missing(item):
                found.append(f"{place}: there is no such file: {item} (paths are relative to the pipeline file)")

    for i, stage in enumerate(config.stages):
        look(settings_of(stage), f"stages[{i}]")
    look({"embedder": config.index.embedder}, "index")
    return found


class _Check:
    """Checks the value of one file, collecting faults."""

    def __init__(self, file: YamlFile) -> None:
        self.file = file
        self.faults: list[FileFault] = []
        self.given: list[dict[str, Any]] = []
        """The settings that the file gives each stage."""

    def config(self) -> PipelineConfig | None:
        value = self.file.value
        if value is None:
            return None
        if not isinstance(value, dict):
            self.fault((), "a pipeline file must hold a mapping with 'stages'")
            return None
        known = [*SECTIONS, "stages"]
        for key in value:
            if key not in known:
                self.fault((key,), f"{key}: there is no such section{nearest(key, known)}")
        sections = {name: self.section(name, value.get(name, {})) for name in SECTIONS}
        stages = self.stages(value)
        if self.faults or self.file.faults or stages is None:
            return None
        config = PipelineConfig(
            self.file.path,
            tuple(stages),
            sections["index"],
            sections["budget"],
            sections["executor"],
            names_model="model" in self.given[-1],
        )
        self.order(config)
        return None if self.faults else config

    def section(self, name: str, settings: Any) -> Any:
        if settings is None:
            settings = {}
        if not isinstance(settings, dict):
            self.fault((name,), f"{name}: must be a mapping")
            return None
        section, faults = build_dataclass(SECTIONS[name], settings, name)
        self.all(faults, (name,), name)
        return section

    def stages(self, value: dict[str, Any]) -> list[Component] | None:
        stages = value.get("stages")
        if not isinstance(stages, list) or not stages:
            self.fault(("stages",), "stages: must be a list of stages, such as '- retrieve.hybrid'")
            return None
        components = [self.stage(item, ("stages", i)) for i, item in enumerate(stages)]
        return [component for component in components if component is not None]

    def stage(self, item: Any, path: tuple[str | int, ...]) -> Component | None:
        where = _dotted(path)
        if isinstance(item, str):
            item = {item: {}}
        if not isinstance(item, dict) or len(item) != 1:
            self.fault(path, f"{where}: must be one name, with its settings below it: '- retrieve.hybrid: {{k: 8}}'")
            return None
        ((keyed, settings),) = item.items()
        name = str(ALIASES.get(keyed, keyed))
        if name not in COMPONENTS:
            self.fault((*path, keyed), f"{where}: {unknown_component(name)}")
            return None
        settings = {} if settings is None else settings
        if not isinstance(settings, dict):
            self.fault((*path, keyed), f"{where}: the settings of {name} must be a mapping")
            return None
        component, faults = build(name, settings)
        self.all(faults, (*path, keyed), where)
        self.given.append(settings)
        return component

    def order(self, config: PipelineConfig) -> None:
        for path, message in misordered(config, self.given):
            self.fault(path, f"{_dotted(path)}: {message}")

        for name in config.executor.stages:
            known = [stage_name(stage) for stage in config.stages] + [kind_of(stage) for stage in config.stages]
            if name not in known:
                path = ("executor", "stages", name)
                self.fault(path, f"{_dotted(path)}: this pipeline has no such stage{nearest(name, known)}")

    def all(self, faults: Sequence[Fault], path: tuple[str | int, ...], where: str) -> None:
        for fault in faults:
            below = _dotted(fault.path)
            self.fault((*path, *fault.path), f"{where}{'.' if below else ''}{below}: {fault.message}")

    def fault(self, path: tuple[str | int, ...], message: str) -> None:
        self.faults.append(FileFault(self.file.path, self.file.line(path), message))


def misordered(
    config: PipelineConfig, given: Sequence[dict[str, Any]] | None = None
) -> list[tuple[tuple[str | int, ...], str]]:
    """What is wrong with the stages as a sequence: (key path, message) for each fault.

    `given` are the settings that somebody wrote for each stage. Without them, those that are not defaults count.
    """
    found: list[tuple[tuple[str | int, ...], str]] = []
    if given is None:
        given = [changed_settings(stage) for stage in config.stages]
    kinds = [kind_of(stage) for stage in config.stages]
    n = len(kinds)
    optional = {"memory", *(["retrieve"] if "memory" in kinds else [])}
    for kind, position in (("retrieve", 0), ("memory", n - 3), ("assemble", n - 2), ("generate", n - 1)):
        places = [i for i, other in enumerate(kinds) if other == kind]
        if not places and kind not in optional:
            found.append((("stages",), f"a pipeline needs one {kind} stage, there is none"))
        for i in places[1:]:
            found.append((("stages", i), f"a pipeline has one {kind} stage, this is another"))
        if places and places[0] != position:
            rule = {
                "retrieve": "comes first",
                "memory": "comes right before assemble",
                "assemble": "comes right before generate",
                "generate": "comes last",
            }[kind]
            name = stage_name(config.stages[places[0]])
            found.append((("stages", places[0]), f"{name} is out of order: {kind} {rule}"))
    for i, kind in enumerate(kinds):
        if kind == "rerank" and (i == 0 or kinds[i - 1] not in ("retrieve", "rerank")):
            where = "comes between retrieve and compress"
            found.append((("stages", i), f"{stage_name(config.stages[i])} is out of order: rerank {where}"))
    found += [(("stages", i), message) for i, message in _second_compressors(config, given)]
    if config.index.embedder == "none":
        for i, stage in enumerate(config.stages):
            if isinstance(stage, NeedsEmbedder) and stage.needs_embedder:
                found.append((("stages", i), f"{stage_name(stage)} needs vectors, but index.embedder is none"))
    return found


def _second_compressors(config: PipelineConfig, given: Sequence[dict[str, Any]]) -> list[tuple[int, str]]:
    """Wrappers that follow a compressor and do not name the one inside: (position, message) for each.

    Such a wrapper would run its default compressor on what the step before has left.
    """
    found: list[tuple[int, str]] = []
    before: tuple[str, dict[str, Any]] | None = None
    for i, (stage, settings) in enumerate(zip(config.stages, given, strict=True)):
        if kind_of(stage) != "compress":
            continue
        name = stage_name(stage)
        inner = _inner_compressors(stage)
        if before is not None and inner and not settings.keys() & inner.keys():
            field_name, default = next(iter(inner.items()))
            wrapped = {before[0]: before[1]} if before[1] else before[0]
            found.append(
                (
                    i,
                    f"{name} runs a compressor of its own, {default}, after {before[0]}. To wrap "
                    f"{before[0]}, put this step in the place of both: '{_flow(name, settings, field_name, wrapped)}'. "
                    f"To run one after the other, name the second: '{_flow(name, settings, field_name, default)}'",
                )
            )
        before = name, settings
    return found


def _inner_compressors(stage: Component) -> dict[str, str]:
    """The names of the compressors in a wrapper's settings, by field."""
    if not is_dataclass(stage):
        return {}
    names = {field.name: name_of(getattr(stage, field.name)) for field in fields(stage) if field.init}
    return {name: inner for name, inner in names.items() if inner is not None and inner.startswith("compress.")}


def _flow(name: str, settings: dict[str, Any], field_name: str, inner: Any) -> str:
    """The step on one line of YAML, with that compressor inside."""
    return f"- {name}: {_yaml({field_name: inner, **settings})}"


def _yaml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(one)}" for key, one in value.items()) + "}"
    return value if isinstance(value, str) and re.fullmatch(r"[\w.]+", value) else json.dumps(value, ensure_ascii=False)


def _dotted(path: tuple[str | int, ...]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f"{'.' if text else ''}{part}"
    return text
