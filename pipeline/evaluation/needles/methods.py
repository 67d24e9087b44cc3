"""The methods: pipelines that answer a trial in different ways, in the files of configs/needles.

full        the whole text in the prompt
one-shot    one word search, then the model
hops        repeated search, each for what the last one named; the model copies the value of the last pair
hops-chain  like hops, but the model reads all pairs of the chain
hops-prose  for sentences: the model reads all that were retrieved; one-shot-prose: one search
hops-prose-end  the model reads only the last sentence of the chain
exit, probe the text in chunks, compressed to the relevant sentences, then the model
memory      a memory reads the text in segments, and the model reads what it recalls
oracle      only the needles in the prompt: an upper bound for the model
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pipeline.answers.llama import Llama
from pipeline.answers.scripted import Scripted
from pipeline.config import PipelineConfig, load_config
from pipeline.default import with_generator_settings
from pipeline.errors import ConfigError
from pipeline.presets import presets_folder
from pipeline.registry import stage_name
from pipeline.settings import nearest

Given = Literal["haystack", "needles", "index", "memory"]
"""Where a question's evidence comes from: the whole text, only the needles, an index of the texts, or a memory that
has read the text segment by segment."""

METHODS = (
    "full",
    "oracle",
    "one-shot",
    "hops",
    "hops-chain",
    "one-shot-prose",
    "hops-prose",
    "hops-prose-end",
    "memory",
    "exit",
    "probe",
)
MAX_TOKENS = 100
"""Room for one answer, in the files of the methods."""


@dataclass(frozen=True)
class NeedleMethod:
    """A pipeline, and where the evidence of its questions comes from."""

    name: str
    config: PipelineConfig
    given: Given


def method(name: str) -> NeedleMethod:
    """The method with a name, or the method of a pipeline file. Raises ConfigError for anything else."""
    if name in METHODS:
        preset = _of_file(name, presets_folder() / "needles" / f"{name}.yaml")
        return replace(preset, given="needles") if name == "oracle" else preset
    if name.endswith((".yaml", ".yml")) or Path(name).is_file():
        return _of_file(Path(name).stem, Path(name))
    hint = nearest(name, list(METHODS))
    raise ConfigError(
        f"`method`: there is no method '{name}'{hint}; there are {', '.join(METHODS)}, or a pipeline file"
    )


def _of_file(name: str, path: Path) -> NeedleMethod:
    config = load_config(path)
    if config.retriever is None:
        return NeedleMethod(name, config, "memory")
    return NeedleMethod(name, config, "index" if config.searches_index else "haystack")


def with_reader(config: PipelineConfig, changes: dict[str, object]) -> PipelineConfig:
    """The same pipeline with changed settings of its model. A change to None keeps the setting."""
    changes = {name: value for name, value in changes.items() if value is not None}
    if not isinstance(config.generator, Llama):
        known = {"max_tokens", "n_ctx"}
        if not set(changes) <= known:
            name = stage_name(config.generator)
            raise ConfigError(f"{config.path} answers with {name}, which has no {', '.join(set(changes) - known)}")
    return with_generator_settings(config, changes)


def scripted(config: PipelineConfig, n_ctx: int = 1 << 20) -> PipelineConfig:
    """The same pipeline with the scripted model, which needs no weights: for a first try, and for tests."""
    return config.replacing("generate", Scripted(n_ctx=n_ctx))
