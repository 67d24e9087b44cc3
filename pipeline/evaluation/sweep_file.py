"""Reads a sweep's file: a pipeline, questions, and a list of values for each setting to vary.

pipeline: cosine.yaml                  # paths are relative to this file
data: questions.jsonl
kind: jsonl
docs: [manual]                         # optional: search these files
sample: 200
vary:                                  # every combination is run
  compress.sentences.top_k: [3, 5, 8]  # a component's setting,
  index.chunk_tokens: [120, 200]       # a section's setting,
  stages[2]: [compress.sentences, compress.probe]  # or a whole stage, by its number from 0
halving: {start: 25, factor: 2}        # optional: start with few questions, keep the better half, and so on
"""

from __future__ import annotations

import copy
import itertools
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pipeline.checks import at_least
from pipeline.config import SECTIONS, FileFault, PipelineConfig, check_file
from pipeline.errors import ConfigError, SettingError
from pipeline.evaluation.data.kinds import KINDS
from pipeline.evaluation.metrics import BY_NAME
from pipeline.settings import build_dataclass, nearest
from pipeline.yaml import KeyPath, YamlFile, dotted, read_yaml

T = TypeVar("T")
MAX_VARIANTS = 500
_TOKEN = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


@dataclass(frozen=True)
class Halving:
    """Successive halving (https://arxiv.org/abs/1502.07943): all variants on `start` questions, then the best on more.

    Each round keeps the best 1 / `factor` and asks `factor` times as many questions, until the sample is used up.
    """

    start: int = 25
    factor: int = 2

    def __post_init__(self) -> None:
        at_least("start", self.start, 1)
        at_least("factor", self.factor, 2)


@dataclass(frozen=True)
class SweepSettings:
    """The settings in a sweep's file, without `vary` and `halving`."""

    pipeline: str
    data: str
    kind: str
    docs: tuple[str, ...] = ()
    limit: int | None = None
    sample: int | None = None
    seed: int = 0
    model: str | None = None
    metric: str = "f1"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise SettingError("kind", f"must be one of {', '.join(KINDS)}, was: {self.kind}")
        if self.metric not in BY_NAME:
            raise SettingError("metric", f"must be one of {', '.join(BY_NAME)}, was: {self.metric}")
        for name in ("limit", "sample"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingError(name, f"must be at least 1, was: {value}")


@dataclass(frozen=True)
class Variant:
    """One combination: its name, its chosen values, and its pipeline as the value of a file and as a config."""

    name: str
    chosen: tuple[tuple[str, object], ...]
    value: dict[str, Any]
    config: PipelineConfig


@dataclass(frozen=True)
class Sweep:
    """A checked sweep. `data` and `docs` are paths relative to the working directory."""

    path: str
    settings: SweepSettings
    data: Path
    docs: tuple[str, ...]
    variants: tuple[Variant, ...]
    halving: Halving | None = None


def load_sweep(path: str | Path) -> Sweep:
    """Reads a sweep. Raises ConfigError with all faults, one per line, those of its pipelines included."""
    file = read_yaml(path)
    checker = _SweepChecker(file)
    sweep = checker.sweep()
    faults = [FileFault(file.path, fault.line, fault.message) for fault in file.faults] + checker.faults
    if faults or sweep is None:
        raise ConfigError("\n".join(dict.fromkeys(map(str, sorted(faults, key=lambda f: (f.path, f.line, f.message))))))
    return sweep


class _SweepChecker:
    """Builds a sweep from a file's value and collects all faults."""

    def __init__(self, file: YamlFile) -> None:
        self.file = file
        self.faults: list[FileFault] = []

    def sweep(self) -> Sweep | None:
        """The sweep; None if there are faults."""
        value = self.file.value
        if not isinstance(value, dict):
            if not self.file.faults:
                self.fault((), "a sweep's file must hold a mapping with 'pipeline', 'data', 'kind' and 'vary'")
            return None
        value = dict(value)
        vary, halving = value.pop("vary", None), value.pop("halving", None)
        settings = self.section(SweepSettings, value, (), "sweep")
        stages = None if halving is None else self.section(Halving, halving, ("halving",), "halving")
        lists = self.lists(vary)
        if settings is None or lists is None or self.faults:
            return None
        folder = Path(self.file.path).parent
        base = read_yaml(folder / settings.pipeline)
        variants = self.variants(base, lists)
        if self.faults:
            return None
        docs = tuple(str(folder / path) for path in settings.docs)
        return Sweep(self.file.path, settings, folder / settings.data, docs, tuple(variants), stages)

    def section(self, cls: type[T], value: object, path: KeyPath, name: str) -> T | None:
        if not isinstance(value, dict):
            self.fault(path, f"{name}: must be a mapping")
            return None
        built, faults = build_dataclass(cls, value, name)
        # One fault per path: a setting with a wrong value is reported as missing as well.
        first = {fault.path: fault for fault in reversed(faults)}
        for fault in first.values():
            dotted = ".".join(map(str, (*path, *fault.path)))
            self.fault((*path, *fault.path), f"{dotted}: {fault.message}" if dotted else fault.message)
        return built

    def lists(self, vary: object) -> dict[str, list[object]] | None:
        """Checks the lists of values: none empty, no value twice, at most MAX_VARIANTS combinations."""
        if not isinstance(vary, dict) or not vary:
            self.fault(
                ("vary",), "vary: must name settings with a list of values each: compress.sentences.top_k: [3, 5]"
            )
            return None
        for key, values in vary.items():
            if not isinstance(values, list) or not values:
                self.fault(("vary", key), f"vary: {key}: must have a list of values, was: {json.dumps(values)[:60]}")
            elif len({json.dumps(value, sort_keys=True) for value in values}) < len(values):
                self.fault(("vary", key), f"vary: {key}: a value stands twice in the list")
        n = 1
        for values in vary.values():
            n *= len(values) if isinstance(values, list) else 1
        if n > MAX_VARIANTS:
            self.fault(
                ("vary",), f"vary: these lists make {n} pipelines, and {MAX_VARIANTS} are the most: shorten them"
            )
        return None if self.faults else vary

    def variants(self, base: YamlFile, lists: dict[str, list[object]]) -> list[Variant]:
        """Builds all combinations. Checks each value alone first, so that a fault names the line of its value."""
        _, faults = check_file(base)
        if faults:
            self.faults += faults
            return []
        plain = spelt_out(base.value)
        places: dict[str, KeyPath] = {}
        for key, values in lists.items():
            try:
                places[key] = locate(plain, key)
            except ValueError as error:
                self.fault(("vary", key), f"vary: {key}: {error}")
                continue
            for n, option in enumerate(values):
                _, faults = check_file(replace_value(base, put(plain, places[key], option)))
                for fault in faults:
                    self.fault(("vary", key, n), f"vary: {key}: {_tail(fault.message)}")
        if self.faults:
            return []
        names = short_names(lists)
        variants = []
        for combination in itertools.product(*lists.values()):
            chosen = tuple(zip(lists, combination, strict=True))
            value = plain
            for key, option in chosen:
                value = put(value, places[key], option)
            name = "_".join(f"{names[key]}-{word(option)}" for key, option in chosen)
            config, faults = check_file(replace_value(base, value))
            for fault in faults:
                self.fault(("vary",), f"vary: {name}: {fault.message}")
            if config is not None:
                variants.append(Variant(name, chosen, value, replace(config, path=f"{name} of {self.file.path}")))
        return _numbered(variants)

    def fault(self, path: KeyPath, message: str) -> None:
        self.faults.append(FileFault(self.file.path, self.file.line(path), message))


def _tail(message: str) -> str:
    """A fault's message without its place in the pipeline, which the key already names."""
    return re.sub(r"^(?:[\w.]+|\[\d+\])+: ", "", message)


def replace_value(file: YamlFile, value: object) -> YamlFile:
    return YamlFile(file.path, value, file.lines)


def spelt_out(value: dict[str, Any]) -> dict[str, Any]:
    """A pipeline's value with each stage as `{name: settings}` and all sections present, for `vary` to name them."""
    stages = [
        {stage: {}} if isinstance(stage, str) else {n: s or {} for n, s in stage.items()} for stage in value["stages"]
    ]
    return {**{name: value.get(name) or {} for name in SECTIONS}, "stages": stages}


def locate(value: dict[str, Any], text: str) -> KeyPath:
    """Translates a dotted text into a path of keys. Raises ValueError that says what it should be."""
    if _TOKEN.sub("", text).strip(".") or not text:
        raise ValueError("must be names with dots between, and numbers in brackets: stages[2].compress.sentences.top_k")
    tokens: list[str | int] = [int(n) if n else name for n, name in _TOKEN.findall(text)]
    if tokens[0] in value:
        return _walk(value, tokens)
    named: dict[str, list[int]] = {}
    for n, stage in enumerate(value["stages"]):
        named.setdefault(next(iter(stage)), []).append(n)
    component = ".".join(map(str, tokens[:2]))
    if component not in named:
        known = [*value, *named]
        hint = nearest(component, known) or f"; there are: {', '.join(known)}"
        raise ValueError(f"the pipeline has no '{component}'{hint}")
    if len(named[component]) > 1:
        raise ValueError(f"the pipeline has {component} {len(named[component])} times: write stages[n].{text}")
    return _walk(value, ["stages", named[component][0], *tokens])


def _walk(value: object, tokens: Sequence[str | int], before: KeyPath = ()) -> KeyPath:
    if not tokens:
        return before
    if isinstance(value, list):
        n = tokens[0]
        if not isinstance(n, int) or n >= len(value):
            raise ValueError(f"'{dotted(before)}' is a list of {len(value)}: go on with a number in brackets, from 0")
        return _walk(value[n], tokens[1:], (*before, n))
    if isinstance(value, dict):
        for end in range(len(tokens), 0, -1):
            key = ".".join(map(str, tokens[:end]))
            if key in value:
                return _walk(value[key], tokens[end:], (*before, key))
        if len(before) == 2 and before[0] == "stages":  # a stage's settings, without the component's name
            ((name, settings),) = value.items()
            return _walk(settings, tokens, (*before, name))
        if len(tokens) == 1 and isinstance(tokens[0], str):  # a setting that the file leaves at its default
            return (*before, tokens[0])
        raise ValueError(f"'{dotted(before)}' has no '{dotted(tuple(tokens))}'")
    raise ValueError(f"'{dotted(before)}' has nothing below it")


def put(value: dict[str, Any], path: KeyPath, replacement: object) -> dict[str, Any]:
    """A copy of the value with a replacement at the path."""
    changed = copy.deepcopy(value)
    parent: Any = changed
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = copy.deepcopy(replacement)
    return changed


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """Shortens the keys to their last words, as few as tell them apart."""
    words = {key: [str(n or name) for n, name in _TOKEN.findall(key)] for key in keys}
    n = 1
    while len({".".join(parts[-n:]) for parts in words.values()}) < len(words):
        n += 1
    return {
        key: ".".join(parts[-n:]) if not parts[-1].isdigit() else "".join(parts[-2:]) for key, parts in words.items()
    }


def word(value: object) -> str:
    """Formats a value as part of a folder's name."""
    if isinstance(value, dict) and len(value) == 1:
        ((name, settings),) = value.items()
        details = (
            "-".join(f"{key}-{word(setting)}" for key, setting in settings.items())
            if isinstance(settings, dict)
            else ""
        )
        value = f"{name}-{details}" if details else name
    text = value if isinstance(value, str) else json.dumps(value)
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")[:40] or "empty"


def _numbered(variants: list[Variant]) -> list[Variant]:
    """The variants with unique names: a repeated name gets a number."""
    seen: dict[str, int] = {}
    result = []
    for variant in variants:
        seen[variant.name] = n = seen.get(variant.name, 0) + 1
        result.append(variant if n == 1 else replace(variant, name=f"{variant.name}-{n}"))
    return result
