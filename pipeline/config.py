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
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pipeline.errors import ConfigError
from pipeline.executors.settings import ExecutorSettings
from pipeline.presets import preset_or_path
from pipeline.registry import COMPONENTS, Fault, Spec, build, build_dataclass, nearest, settings_of, unknown_component
from pipeline.yaml import YamlFile, read_yaml


@dataclass(frozen=True)
class IndexSettings:
    """How documents are cut and embedded.

    :param embedder: `minilm`, the path of a GGUF file or of a sentence-transformers folder, or `none` (words only: no
        weights needed).
    :param chunk_tokens: the longest chunk, in the embedder's tokens (words with `none`); a chunk never exceeds what the
        embedder reads.
    :param overlap: how many of these tokens neighbouring chunks share.
    :param chunks: `structure` makes a chunk of each section, function or paragraph, and joins neighbours that fit;
        `tokens` fills chunks up to chunk_tokens as far as headings allow; `information` begins chunks where a model
        finds a new topic, and reads all documents with it. auto: as the index was cut, a new one by tokens.
    :param ocr: recognises text in pictures and in scanned pages of PDF files. auto: where the extra `ocr` is installed.
    :param pooling: how a GGUF file's embedder makes a text's vector of its tokens' states. auto: as the file says.
    :param question_prefix: what a GGUF file's embedder reads before a question. None: what its family was trained with,
        known by the name in the file; '' for nothing.
    :param passage_prefix: the same before a passage.
    """

    embedder: str = "minilm"
    chunk_tokens: int = 200
    overlap: int = 0
    chunks: Literal["auto", "tokens", "structure", "information"] = "auto"
    ocr: Literal["auto", "off"] = "auto"
    pooling: Literal["auto", "mean", "cls", "last"] = "auto"
    question_prefix: str | None = None
    passage_prefix: str | None = None

    def __post_init__(self) -> None:
        if not self.embedder:
            raise ValueError("embedder must be a name or a path, was: ''")
        if self.chunk_tokens < 16:
            raise ValueError(f"chunk_tokens must be at least 16, was: {self.chunk_tokens}")
        if not 0 <= self.overlap < self.chunk_tokens // 2:
            raise ValueError(f"overlap must be in [0, chunk_tokens / 2), was: {self.overlap}")
        if self.overlap and self.chunks in ("structure", "information"):
            raise ValueError(f"overlap must be 0 with chunks: {self.chunks}, was: {self.overlap}")
        for name, default in (("pooling", "auto"), ("question_prefix", None), ("passage_prefix", None)):
            if getattr(self, name) != default and not self.embedder.lower().endswith(".gguf"):
                raise ValueError(f"{name} is for an embedder that is a GGUF file, and embedder is {self.embedder}")

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values. Those of GGUF files, `chunks` and `ocr` are left out where nothing is set: they
        are younger than kept indexes and records, which are found by these values.
        """
        values = asdict(self)
        for name in ("chunks", "ocr", "pooling", "question_prefix", "passage_prefix"):
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
            raise ValueError(f"window must be greater than 0, was: {self.window}")


SECTIONS: dict[str, type] = {"index": IndexSettings, "budget": Budget, "executor": ExecutorSettings}


@dataclass(frozen=True)
class PipelineConfig:
    """A checked pipeline: every stage has been built once, so its settings are known to be right."""

    path: str
    stages: tuple[Spec, ...]
    index: IndexSettings = field(default_factory=IndexSettings)
    budget: Budget = field(default_factory=Budget)
    executor: ExecutorSettings = field(default_factory=ExecutorSettings)

    @cached_property
    def components(self) -> tuple[Any, ...]:
        """The stages' components, in order; built anew by each process from the specs."""
        return tuple(spec.build() for spec in self.stages)

    def resolved(self) -> dict[str, Any]:
        """Every setting that an answer depends on, defaults included: what a run's record keeps."""
        stages = [
            {spec.name: settings_of(component)} for spec, component in zip(self.stages, self.components, strict=True)
        ]
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

    for i, spec in enumerate(config.stages):
        look(dict(spec.settings), f"stages[{i}]")
    look({"embedder": config.index.embedder}, "index")
    return found


class _Check:
    """Checks the value of one file, collecting faults."""

    def __init__(self, file: YamlFile) -> None:
        self.file = file
        self.faults: list[FileFault] = []

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
        specs = self.stages(value)
        if self.faults or self.file.faults or specs is None:
            return None
        config = PipelineConfig(
            self.file.path, tuple(specs), sections["index"], sections["budget"], sections["executor"]
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

    def stages(self, value: dict[str, Any]) -> list[Spec] | None:
        stages = value.get("stages")
        if not isinstance(stages, list) or not stages:
            self.fault(("stages",), "stages: must be a list of stages, such as '- retrieve.hybrid'")
            return None
        specs = [self.stage(item, ("stages", i)) for i, item in enumerate(stages)]
        return [spec for spec in specs if spec is not None]

    def stage(self, item: Any, path: tuple[str | int, ...]) -> Spec | None:
        where = _dotted(path)
        if isinstance(item, str):
            item = {item: {}}
        if not isinstance(item, dict) or len(item) != 1:
            self.fault(path, f"{where}: must be one name, with its settings below it: '- retrieve.hybrid: {{k: 8}}'")
            return None
        ((name, settings),) = item.items()
        if name not in COMPONENTS:
            self.fault((*path, name), f"{where}: {unknown_component(name)}")
            return None
        settings = {} if settings is None else settings
        if not isinstance(settings, dict):
            self.fault((*path, name), f"{where}: the settings of {name} must be a mapping")
            return None
        _, faults = build(name, settings)
        self.all(faults, (*path, name), where)
        return Spec(name, tuple(settings.items()))

    def order(self, config: PipelineConfig) -> None:
        for path, message in misordered(config):
            self.fault(path, f"{_dotted(path)}: {message}")

        for name in config.executor.stages:
            known = [spec.name for spec in config.stages] + [spec.kind for spec in config.stages]
            if name not in known:
                path = ("executor", "stages", name)
                self.fault(path, f"{_dotted(path)}: this pipeline has no such stage{nearest(name, known)}")

    def all(self, faults: Sequence[Fault], path: tuple[str | int, ...], where: str) -> None:
        for fault in faults:
            below = _dotted(fault.path)
            self.fault((*path, *fault.path), f"{where}{'.' if below else ''}{below}: {fault.message}")

    def fault(self, path: tuple[str | int, ...], message: str) -> None:
        self.faults.append(FileFault(self.file.path, self.file.line(path), message))


def misordered(config: PipelineConfig) -> list[tuple[tuple[str | int, ...], str]]:
    """What is wrong with the stages as a sequence: (key path, message) for each fault."""
    found: list[tuple[tuple[str | int, ...], str]] = []
    kinds = [spec.kind for spec in config.stages]
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
            found.append((("stages", places[0]), f"{config.stages[places[0]].name} is out of order: {kind} {rule}"))
    for i, kind in enumerate(kinds):
        if kind == "rerank" and (i == 0 or kinds[i - 1] not in ("retrieve", "rerank")):
            where = "comes between retrieve and compress"
            found.append((("stages", i), f"{config.stages[i].name} is out of order: rerank {where}"))
    found += [(("stages", i), message) for i, message in _second_compressors(config)]
    if config.index.embedder == "none":
        for i, (spec, component) in enumerate(zip(config.stages, config.components, strict=True)):
            if "embedder" in needs(component):
                found.append((("stages", i), f"{spec.name} needs vectors, but index.embedder is none"))
    return found


def _second_compressors(config: PipelineConfig) -> list[tuple[int, str]]:
    """Wrappers that follow a compressor and do not name the one inside: (position, message) for each.

    Such a wrapper would run its default compressor on what the step before has left.
    """
    found: list[tuple[int, str]] = []
    before: Spec | None = None
    for i, (spec, component) in enumerate(zip(config.stages, config.components, strict=True)):
        if spec.kind != "compress":
            continue
        settings = dict(spec.settings)
        inner = {f.name: v for f in fields(component) if f.init and isinstance(v := getattr(component, f.name), Spec)}
        if before is not None and inner and not settings.keys() & inner.keys():
            name, default = next(iter(inner.items()))
            wrapped = {before.name: dict(before.settings)} if before.settings else before.name
            found.append(
                (
                    i,
                    f"{spec.name} runs a compressor of its own, {default.name}, after {before.name}. To wrap "
                    f"{before.name}, put this step in the place of both: '{_flow(spec, name, wrapped)}'. To run one "
                    f"after the other, name the second: '{_flow(spec, name, default.name)}'",
                )
            )
        before = spec
    return found


def _flow(spec: Spec, name: str, inner: Any) -> str:
    """The step on one line of YAML, with that compressor inside."""
    return f"- {spec.name}: {_yaml({name: inner, **dict(spec.settings)})}"


def _yaml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(one)}" for key, one in value.items()) + "}"
    return value if isinstance(value, str) and re.fullmatch(r"[\w.]+", value) else json.dumps(value, ensure_ascii=False)


def needs(component: Any) -> frozenset[str]:
    """What a component cannot do without, beside the reader: `embedder` or nothing."""
    found: Any = getattr(component, "needs", frozenset())
    return found if isinstance(found, frozenset) else frozenset()


def _dotted(path: tuple[str | int, ...]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f"{'.' if text else ''}{part}"
    return text
