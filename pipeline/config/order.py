"""Checks the order of a pipeline's stages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass

from pipeline.config.pipeline_config import PipelineConfig
from pipeline.contracts import ChoosesAgain, Component, NeedsEmbedder
from pipeline.registry import changed_settings, kind_of, name_of, stage_name
from pipeline.settings import nearest


def misordered(
    config: PipelineConfig, given: Sequence[Mapping[str, object]] | None = None
) -> list[tuple[tuple[str | int, ...], str]]:
    """Checks the sequence of stages, and the stages that the executor names; returns (key path, message) per fault.

    `given` holds each stage's settings as written; by default the non-default ones.
    """
    faults: list[tuple[tuple[str | int, ...], str]] = []
    if given is None:
        given = [changed_settings(stage) for stage in config.stages]
    kinds = [kind_of(stage) for stage in config.stages]
    n = len(kinds)
    optional = {"memory", *(["retrieve"] if "memory" in kinds else [])}
    for kind, position in (("retrieve", 0), ("memory", n - 3), ("assemble", n - 2), ("generate", n - 1)):
        places = [i for i, other in enumerate(kinds) if other == kind]
        if not places and kind not in optional:
            faults.append((("stages",), f"a pipeline needs one {kind} stage, there is none"))
        for i in places[1:]:
            faults.append((("stages", i), f"a pipeline has one {kind} stage, this is another"))
        if places and places[0] != position:
            rule = {
                "retrieve": "comes first",
                "memory": "comes right before assemble",
                "assemble": "comes right before generate",
                "generate": "comes last",
            }[kind]
            name = stage_name(config.stages[places[0]])
            faults.append((("stages", places[0]), f"{name} is out of order: {kind} {rule}"))
    for i, kind in enumerate(kinds):
        if kind == "rerank" and (i == 0 or kinds[i - 1] not in ("retrieve", "rerank")):
            where = "comes between retrieve and compress"
            faults.append((("stages", i), f"{stage_name(config.stages[i])} is out of order: rerank {where}"))
    faults += [(("stages", i), message) for i, message in _second_compressors(config, given)]
    faults += [(("stages", i), message) for i, message in _choosing_again(config)]
    if config.index.embedder == "none":
        for i, stage in enumerate(config.stages):
            if isinstance(stage, NeedsEmbedder) and stage.needs_embedder:
                faults.append((("stages", i), f"{stage_name(stage)} needs vectors, but index.embedder is none"))
    known = [*map(stage_name, config.stages), *kinds]
    for name in config.executor.stages:
        if name not in known:
            path = ("executor", "stages", name)
            faults.append((path, f"this pipeline has no such stage{nearest(name, known)}"))
    return faults


def _second_compressors(config: PipelineConfig, given: Sequence[Mapping[str, object]]) -> list[tuple[int, str]]:
    """Finds wrappers that follow a compressor without naming an inner one; returns (position, message) for each.

    Such a wrapper would run its default compressor on the previous step's result.
    """
    faults: list[tuple[int, str]] = []
    before: tuple[str, Mapping[str, object]] | None = None
    for i, (stage, settings) in enumerate(zip(config.stages, given, strict=True)):
        if kind_of(stage) != "compress":
            continue
        name = stage_name(stage)
        inner = _inner_compressors(stage)
        if before is not None and inner and not settings.keys() & inner.keys():
            field_name, default = next(iter(inner.items()))
            wrapped = {before[0]: before[1]} if before[1] else before[0]
            faults.append(
                (
                    i,
                    f"{name} runs a compressor of its own, {default}, after {before[0]}. To wrap "
                    f"{before[0]}, put this step in the place of both: '{_flow(name, settings, field_name, wrapped)}'. "
                    f"To run one after the other, name the second: '{_flow(name, settings, field_name, default)}'",
                )
            )
        before = name, settings
    return faults


def _choosing_again(config: PipelineConfig) -> list[tuple[int, str]]:
    """Finds compressors that are to choose again and cannot; returns (position, message) for each."""
    faults: list[tuple[int, str]] = []
    compressors = [i for i, stage in enumerate(config.stages) if kind_of(stage) == "compress"]
    for i in compressors:
        stage, name = config.stages[i], stage_name(config.stages[i])
        if _is_choosing_again(stage) and i != compressors[-1]:
            last = stage_name(config.stages[compressors[-1]])
            faults.append((i, f"{name} chooses again while the answer is written, so no {last} can follow it"))
        inside = [name_of(inner) for inner in _inside(stage) if _is_choosing_again(inner)]
        faults += [(i, f"{inner} chooses once inside of {name}: leave out its 'again'") for inner in inside]
    return faults


def _is_choosing_again(stage: object) -> bool:
    return isinstance(stage, ChoosesAgain) and stage.again is not None


def _inside(stage: object) -> Iterator[object]:
    """All components in a component's settings, however deep."""
    values = [getattr(stage, one.name) for one in fields(stage) if one.init] if is_dataclass(stage) else []
    for value in values:
        for inner in value if isinstance(value, tuple) else (value,):
            if is_dataclass(inner):
                yield inner
                yield from _inside(inner)


def _inner_compressors(stage: Component) -> dict[str, str]:
    """Returns the names of the compressors in a wrapper's settings, by field."""
    if not is_dataclass(stage):
        return {}
    names = {field.name: name_of(getattr(stage, field.name)) for field in fields(stage) if field.init}
    return {name: inner for name, inner in names.items() if inner is not None and inner.startswith("compress.")}


def _flow(name: str, settings: Mapping[str, object], field_name: str, inner: object) -> str:
    """Formats the step as one line of YAML, with that inner compressor."""
    return f"- {name}: {_yaml({field_name: inner, **settings})}"


def _yaml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_yaml(item)}" for key, item in value.items()) + "}"
    return value if isinstance(value, str) and re.fullmatch(r"[\w.]+", value) else json.dumps(value, ensure_ascii=False)
