"""The arms: pipelines that answer a trial in different ways. configs/needles/ has the same ones as files.

full        the whole text in the prompt
one-shot    one word search, then the model
hops        repeated search, each for what the last one named; the model copies the value of the last pair
hops-chain  the same, but the model reads all pairs of the chain
hops-prose  the same for sentences: the model reads all that were retrieved; one-shot-prose: one search
hops-prose-end  the model reads only the last sentence of the chain
exit, probe the text in chunks, compressed to the relevant sentences, then the model
memory      a memory reads the text in segments, and the model reads what it recalls
oracle      only the needles in the prompt: an upper bound for the model
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pipeline.config import IndexSettings, PipelineConfig, load_config
from pipeline.errors import ConfigError
from pipeline.registry import Spec, nearest

Given = Literal["haystack", "needles", "index", "memory"]
"""Where a question's evidence comes from: the whole text, only the needles, an index of the texts, or a memory that
has read the text segment by segment."""

MAX_TOKENS = 100
LONG = {"n_seq_max": 4, "n_cached": 1}
"""Settings for prompts as long as the context: few other sequences, because attention reads their KV cells too."""
WORDS = IndexSettings(embedder="none", chunk_tokens=32)
PROSE = IndexSettings(embedder="none", chunk_tokens=120)

FOUND_PAIRS = (
    "{question}\n\nA search followed the chain of keys and values. Its pairs, in the order of the chain:\n{passages}\n"
    "The chain ends with the last pair. What is the final value?"
)
FOUND_END = (
    "{question}\n\nA search followed the chain of keys and values. It ends with this pair:\n{passages}\n"
    "What is the final value?"
)

FOUND_SENTENCE = (
    "{question}\n\nA search followed the names from sentence to sentence. It ends with this sentence:\n{passages}\n"
    "Which person is the last one that it names? Answer with the name alone."
)


@dataclass(frozen=True)
class NeedleArm:
    """A pipeline, and where the evidence of its questions comes from."""

    name: str
    config: PipelineConfig
    given: Given


def _spec(name: str, **settings: Any) -> Spec:
    return Spec(name, tuple(settings.items()))


def _config(name: str, index: IndexSettings, *stages: Spec, **generate: Any) -> PipelineConfig:
    reader = _spec("generate.llama", model="smollm2-135m", max_tokens=MAX_TOKENS, **generate)
    return PipelineConfig(f"the built-in arm {name}", (*stages, reader), index)


ARMS: dict[str, NeedleArm] = {
    "full": NeedleArm(
        "full",
        _config("full", WORDS, _spec("retrieve.given"), _spec("assemble.plain"), **LONG),
        "haystack",
    ),
    "oracle": NeedleArm(
        "oracle", _config("oracle", WORDS, _spec("retrieve.given"), _spec("assemble.plain")), "needles"
    ),
    "one-shot": NeedleArm(
        "one-shot",
        _config("one-shot", WORDS, _spec("retrieve.bm25", k=8), _spec("assemble.plain", order="source")),
        "index",
    ),
    "hops": NeedleArm(
        "hops",
        _config(
            "hops",
            WORDS,
            _spec("retrieve.hops", by="keys", give="end"),
            _spec("assemble.plain", template=FOUND_END, begin="{lead}"),
            stop=['"'],
        ),
        "index",
    ),
    "hops-chain": NeedleArm(
        "hops-chain",
        _config(
            "hops-chain",
            WORDS,
            _spec("retrieve.hops", by="keys", give="chain"),
            _spec("assemble.plain", template=FOUND_PAIRS, begin="{lead}"),
            stop=['"'],
        ),
        "index",
    ),
    "one-shot-prose": NeedleArm(
        "one-shot-prose",
        _config("one-shot-prose", PROSE, _spec("retrieve.bm25", k=8), _spec("assemble.plain", order="source")),
        "index",
    ),
    "hops-prose": NeedleArm(
        "hops-prose",
        _config("hops-prose", PROSE, _spec("retrieve.hops", by="names"), _spec("assemble.plain")),
        "index",
    ),
    "hops-prose-end": NeedleArm(
        "hops-prose-end",
        _config(
            "hops-prose-end",
            PROSE,
            _spec("retrieve.hops", by="names", give="end"),
            _spec("assemble.plain", template=FOUND_SENTENCE),
        ),
        "index",
    ),
    "memory": NeedleArm(
        "memory",
        _config(
            "memory",
            PROSE,
            _spec("memory.hierarchical", dense_weight=0.0, summarise="none", summary_tokens=0),
            _spec("assemble.plain"),
        ),
        "memory",
    ),
    "exit": NeedleArm(
        "exit",
        _config(
            "exit",
            PROSE,
            _spec("retrieve.given", whole=False),
            _spec("compress.exit", keep_ratio=0.2),
            _spec("assemble.plain", order="source"),
        ),
        "haystack",
    ),
    "probe": NeedleArm(
        "probe",
        _config(
            "probe",
            PROSE,
            _spec("retrieve.given", whole=False),
            _spec("compress.probe", keep_ratio=0.2, similarity=False),
            _spec("assemble.plain", order="source"),
        ),
        "haystack",
    ),
}


def arm(name: str) -> NeedleArm:
    """The arm with a name, or the arm of a pipeline file. Raises ConfigError for anything else."""
    if name in ARMS:
        return ARMS[name]
    if name.endswith((".yaml", ".yml")) or Path(name).is_file():
        config = load_config(name)
        if config.stages[0].kind == "memory":
            return NeedleArm(Path(name).stem, config, "memory")
        searches = getattr(config.components[0], "searches_index", True)
        return NeedleArm(Path(name).stem, config, "index" if searches else "haystack")
    raise ConfigError(
        f"`arm`: there is no arm '{name}'{nearest(name, list(ARMS))}; there are {', '.join(ARMS)}, or a pipeline file"
    )


def with_reader(config: PipelineConfig, changes: dict[str, Any]) -> PipelineConfig:
    """The same pipeline with changed settings of its model. A change to None keeps the setting."""
    changes = {name: value for name, value in changes.items() if value is not None}
    last = config.stages[-1]
    if not changes:
        return config
    if last.name != "generate.llama":
        known = {"max_tokens", "n_ctx"}
        if not set(changes) <= known:
            raise ConfigError(f"{config.path} answers with {last.name}, which has no {', '.join(set(changes) - known)}")
    settings = {**dict(last.settings), **changes}
    changed = replace(config, stages=(*config.stages[:-1], Spec(last.name, tuple(settings.items()))))
    changed.stages[-1].build()
    return changed


def scripted(config: PipelineConfig, n_ctx: int = 1 << 20) -> PipelineConfig:
    """The same pipeline with the scripted model, which needs no weights: for a first try, and for tests."""
    return replace(config, stages=(*config.stages[:-1], _spec("generate.scripted", n_ctx=n_ctx)))
