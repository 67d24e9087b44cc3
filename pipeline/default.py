"""The pipelines that run when no file is named: configs/default.yaml and chat.yaml say the same, to read and change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from pipeline.config import IndexSettings, PipelineConfig, load_config
from pipeline.errors import ConfigError
from pipeline.registry import COMPONENTS, Spec, component_class
from pipeline.retrieval.filters import FilterError, read_filter
from pipeline.user import user_file, user_settings

DEFAULT = PipelineConfig(
    path="the built-in pipeline",
    index=IndexSettings(),
    stages=(
        Spec("retrieve.hybrid", (("k", 8),)),
        Spec("gate.support"),
        Spec("compress.exit_mini", (("keep_ratio", None), ("top_k", 5))),
        Spec("assemble.cited"),
        Spec("generate.llama", (("model", "smollm2-135m"), ("max_tokens", 128))),
    ),
)

CHAT = PipelineConfig(
    path="the built-in chat pipeline",
    index=IndexSettings(),
    stages=(  # without a gate: it would refuse what the conversation alone can answer
        Spec("retrieve.hybrid", (("k", 8),)),
        Spec("compress.exit_mini", (("keep_ratio", None), ("top_k", 5))),
        Spec("memory.hierarchical"),
        Spec("assemble.cited"),
        Spec("generate.llama", (("model", "smollm2-135m"), ("max_tokens", 256))),
    ),
)


def default_config(path: str | None) -> PipelineConfig:
    """The pipeline of the file, or the built-in one, read by the user's default model where the file names none."""
    return with_default_model(DEFAULT if path is None else load_config(path))


def with_default_model(config: PipelineConfig) -> PipelineConfig:
    """The same pipeline with the model of `longthread models default`, unless its file names a model to read.

    Raises ConfigError for a default that is a path and is gone: nobody named it in this command.
    """
    last = config.stages[-1]
    is_built_in = config.path in (DEFAULT.path, CHAT.path)
    if last.name != "generate.llama" or (not is_built_in and "model" in dict(last.settings)):
        return config
    model = user_settings().model
    if model is None:
        return config
    if Path(model).is_absolute() and not Path(model).exists():
        raise ConfigError(
            f"{user_file()}: the default model is gone: {model}; choose another with 'longthread models default "
            "MODEL', or go back to the built-in one with 'longthread models default --reset'"
        )
    return with_model(config, model)


def with_model(config: PipelineConfig, model: str) -> PipelineConfig:
    """The same pipeline with another model to read. Raises ConfigError for one that has no model to choose."""
    last = config.stages[-1]
    if last.name not in COMPONENTS or last.name != "generate.llama":
        raise ConfigError(f"{config.path} answers with {last.name}: `model` needs a pipeline with generate.llama")
    settings = (*((key, value) for key, value in last.settings if key != "model"), ("model", model))
    return replace(config, stages=(*config.stages[:-1], Spec(last.name, settings)))


def with_filter(config: PipelineConfig, text: str | None) -> PipelineConfig:
    """The same pipeline, which searches only what a filter matches, beside what its file says of that.

    Raises ConfigError for a filter that cannot be read, and for a pipeline that searches no index.
    """
    if not text:
        return config
    first = config.stages[0]
    settings = dict(first.settings)
    if "filter" not in {field.name for field in fields(component_class(first.name))}:
        raise ConfigError(f"{config.path} finds passages by {first.name}: a filter needs a retriever with an index")
    try:
        read_filter(text)
    except FilterError as error:
        raise ConfigError(str(error)) from None
    own = settings.get("filter")
    settings["filter"] = f"({own}) and ({text})" if own else text
    return replace(config, stages=(Spec(first.name, tuple(settings.items())), *config.stages[1:]))


def with_thinking(config: PipelineConfig) -> PipelineConfig:
    """The same pipeline, whose model thinks before it answers unless a setting says otherwise."""
    last = config.stages[-1]
    if last.name != "generate.llama" or dict(last.settings).get("thinking", "auto") != "auto":
        return config
    return with_settings(config, {"thinking": "on"})


def with_settings(config: PipelineConfig, settings: Mapping[str, Any]) -> PipelineConfig:
    """The same pipeline with some settings of its last stage changed. Raises ConfigError for those that are wrong."""
    if not settings:
        return config
    last = config.stages[-1]
    spec = Spec(last.name, tuple({**dict(last.settings), **settings}.items()))
    spec.build()
    return replace(config, stages=(*config.stages[:-1], spec))


def without_documents(config: PipelineConfig) -> PipelineConfig:
    """The same pipeline for a chat about nothing but the conversation: what finds and chooses passages is left out."""
    return replace(config, stages=tuple(spec for spec in config.stages if spec.kind in _OF_A_CONVERSATION))


_OF_A_CONVERSATION = ("memory", "assemble", "generate")


def with_memory(config: PipelineConfig) -> PipelineConfig:
    """The same pipeline with hierarchical memory, by words alone where there are no vectors, if it has no memory."""
    if any(spec.kind == "memory" for spec in config.stages):
        return config
    memory = Spec("memory.hierarchical", (("dense_weight", 0.0),) if config.index.embedder == "none" else ())
    return replace(config, stages=(*config.stages[:-2], memory, *config.stages[-2:]))
