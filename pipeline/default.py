"""The default pipelines, and the changes that command-line options make to a pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from pipeline.answers.llama import Llama
from pipeline.config import PipelineConfig, load_config
from pipeline.contracts import Scoped
from pipeline.errors import ConfigError
from pipeline.presets import presets_folder
from pipeline.registry import kind_of, make, stage_name, with_settings
from pipeline.retrieval.filters import FilterError, read_filter
from pipeline.user import user_file, user_settings


@cache
def default_pipeline() -> PipelineConfig:
    """Loads the pipeline of `ask` and `run`: configs/default.yaml."""
    return _built_in("default", "the built-in pipeline")


@cache
def chat_pipeline() -> PipelineConfig:
    """Loads the pipeline of `chat`: configs/chat.yaml."""
    return _built_in("chat", "the built-in chat pipeline")


def _built_in(preset: str, name: str) -> PipelineConfig:
    return replace(load_config(presets_folder() / f"{preset}.yaml"), path=name, names_model=False)


def default_config(path: str | None) -> PipelineConfig:
    """Loads the file or the built-in pipeline, with the user's default model if the file names none."""
    return with_default_model(default_pipeline() if path is None else load_config(path))


def with_default_model(config: PipelineConfig) -> PipelineConfig:
    """Applies the model of `longthread models default`, unless the pipeline's file names a model.

    Raises ConfigError for a default path that no longer exists, since this command did not name it.
    """
    if config.names_model or not isinstance(config.generator, Llama):
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
    """Replaces the reader's model. Raises ConfigError for a pipeline whose generator takes no model."""
    if not isinstance(config.generator, Llama):
        name = stage_name(config.generator)
        raise ConfigError(f"{config.path} answers with {name}: `model` needs a pipeline with generate.llama")
    return _with_generator(config, {"model": model}, names_model=True)


def with_filter(config: PipelineConfig, text: str | None) -> PipelineConfig:
    """Restricts the search to documents that match a filter, in addition to the file's own filter.

    Raises ConfigError for a bad filter, and for a pipeline that searches no index.
    """
    if not text:
        return config
    retriever = config.stages[0]
    if not isinstance(retriever, Scoped):
        name = stage_name(retriever)
        raise ConfigError(f"{config.path} finds passages by {name}: a filter needs a retriever with an index")
    try:
        read_filter(text)
    except FilterError as error:
        raise ConfigError(str(error)) from None
    both = f"({retriever.filter}) and ({text})" if retriever.filter else text
    return replace(config, stages=(with_settings(retriever, {"filter": both}), *config.stages[1:]))


def with_thinking(config: PipelineConfig) -> PipelineConfig:
    """Switches thinking on, unless the pipeline sets it."""
    generator = config.generator
    if not isinstance(generator, Llama) or generator.thinking != "auto":
        return config
    return with_generator_settings(config, {"thinking": "on"})


def with_generator_settings(config: PipelineConfig, settings: Mapping[str, object]) -> PipelineConfig:
    """Changes some settings of the generator. Raises ConfigError for wrong settings."""
    return _with_generator(config, settings, config.names_model or "model" in settings) if settings else config


def _with_generator(config: PipelineConfig, settings: Mapping[str, object], names_model: bool) -> PipelineConfig:
    generator = with_settings(config.generator, settings)
    return replace(config.replacing("generate", generator), names_model=names_model)


def without_documents(config: PipelineConfig) -> PipelineConfig:
    """Removes the stages that find and choose passages, for a chat without documents."""
    return replace(config, stages=tuple(stage for stage in config.stages if kind_of(stage) in _OF_A_CONVERSATION))


_OF_A_CONVERSATION = ("memory", "assemble", "generate")


def with_memory(config: PipelineConfig) -> PipelineConfig:
    """Adds hierarchical memory if the pipeline has no memory; it works by words alone if there are no vectors."""
    if config.memory is not None:
        return config
    settings = {"dense_weight": 0.0} if config.index.embedder == "none" else {}
    return config.before("assemble", make("memory.hierarchical", settings))
