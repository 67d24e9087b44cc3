"""The pipeline that runs when no file is named: configs/default.yaml says the same, for reading and changing."""

from __future__ import annotations

from dataclasses import replace

from pipeline.config import IndexSettings, PipelineConfig, load_config
from pipeline.errors import ConfigError
from pipeline.registry import COMPONENTS, Spec

DEFAULT = PipelineConfig(
    path="the built-in pipeline",
    index=IndexSettings(),
    stages=(
        Spec("retrieve.hybrid", (("k", 8),)),
        Spec("gate.support"),
        Spec("compress.sentences", (("top_k", 5),)),
        Spec("assemble.cited"),
        Spec("generate.llama", (("model", "smollm2-135m"), ("max_tokens", 96))),
    ),
)


def default_config(path: str | None) -> PipelineConfig:
    """The pipeline of the file, or the built-in one."""
    return DEFAULT if path is None else load_config(path)


def with_model(config: PipelineConfig, model: str) -> PipelineConfig:
    """The same pipeline with another model to read. Raises ConfigError for one that has no model to choose."""
    last = config.stages[-1]
    if last.name not in COMPONENTS or last.name != "generate.llama":
        raise ConfigError(f"{config.path} answers with {last.name}: --model needs a pipeline with generate.llama")
    settings = (*((key, value) for key, value in last.settings if key != "model"), ("model", model))
    return replace(config, stages=(*config.stages[:-1], Spec(last.name, settings)))
