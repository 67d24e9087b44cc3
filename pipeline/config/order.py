"""The order of a pipeline's stages."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from pipeline.config.pipeline_config import PipelineConfig
from pipeline.contracts import Component, NeedsEmbedder
from pipeline.registry import (
    changed_settings,
    kind_of,
    name_of,
    stage_name,
)


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
