"""A compressor without a pipeline: a question and texts in, what it keeps of them out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.answers.cited import Cited
from pipeline.answers.llama import Llama
from pipeline.config import IndexSettings, PipelineConfig
from pipeline.contracts import Compressor
from pipeline.errors import ConfigError
from pipeline.pipeline import Pipeline
from pipeline.registry import checked, kind_of
from pipeline.retrieval.given import Given
from pipeline.types import Passage, Question


def compress(
    compressor: Compressor,
    question: str,
    texts: Sequence[str | Passage],
    *,
    model: str = "smollm2-135m",
    embedder: str = "minilm",
) -> list[Passage]:
    """What a compressor keeps of some texts, in its order.

        for passage in longthread.compress(longthread.ExitMini(keep_ratio=0.3), "Who keeps the bees?", texts):
            print(passage.source, passage.start, passage.end, passage.text)

    :param texts: the texts, each a document of its own named `text 1`, `text 2`, ...; or passages.
    :param model: the reader, for compressors that read with it, and in whose tokens budgets are counted.
    :param embedder: what makes sentence vectors, for compressors that need them.

    `start` and `end` are characters of the text. Raises ConfigError for what is no compressor.
    """
    compressor = checked(compressor)
    if kind_of(compressor) != "compress":
        raise ConfigError(f"{compressor!r} is no compressor: take one such as longthread.ExitMini()")
    passages = [
        Passage(f"text {n}", 0, len(one), one) if isinstance(one, str) else one for n, one in enumerate(texts, 1)
    ]
    stages = (Given(), Cited(), Llama(model=model))
    config = PipelineConfig("compress", stages, IndexSettings(embedder=embedder))
    with Pipeline(config, Path("nowhere")) as runtime:
        return compressor.compress(Question(question), passages, runtime)
