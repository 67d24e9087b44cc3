"""The runtime of compressors in tests: the scripted model reads, and an embedder counts words. No weights."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from compressors.selection import split
from pipeline.contracts import Progress, Runtime
from pipeline.default import default_pipeline
from pipeline.pipeline import Pipeline
from pipeline.registry import make
from pipeline.types import Passage, Question


class WordCounts:
    """A text's vector counts its words in 256 drawers. One token a word."""

    name = fingerprint = "word counts"
    dimension = 256
    max_tokens = 64

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def embed(self, texts: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]:
        vectors = np.full((len(texts), self.dimension), 0.01, np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                vectors[row, crc32(word.strip(".,?!").encode("utf-8", "surrogatepass")) % self.dimension] += 1
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    def token_vectors(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        return self.embed(texts), [self.embed(text.split()) for text in texts]

    def token_spans(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        return [[word.span() for word in re.finditer(r"\S+", text)] for text in texts]


@dataclass(frozen=True)
class Chooser:
    """Keeps the first passage's first unit, and at each further choice that with the next number of `steps`, if any is
    left. `heard` is what was written at each of these choices; with a `fault` they raise it.
    """

    again: int | None
    steps: tuple[int, ...] = ()
    heard: list[str] = field(default_factory=list)
    fault: Exception | None = None
    stage_name: str = "compress.steps"

    def compress(self, question: Question, passages: Sequence[Passage], runtime: Runtime) -> list[Passage]:
        return split(passages[0])[:1] if passages else []

    def choose_again(
        self, question: Question, passages: Sequence[Passage], kept: Sequence[Passage], written: str, runtime: Runtime
    ) -> list[Passage]:
        self.heard.append(written)
        if self.fault is not None:
            raise self.fault
        n = len(self.heard) - 1
        more = [split(passages[0])[self.steps[n]]] if n < len(self.steps) else []
        return sorted({one.span: one for one in (*kept, *more)}.values(), key=lambda one: one.start)


def scripted_runtime(n_ctx: int = 4096) -> Pipeline:
    """A pipeline whose reader is the scripted model, and whose embedder counts words."""
    config = replace(
        default_pipeline(), stages=(*default_pipeline().stages[:-1], make("generate.scripted", {"n_ctx": n_ctx}))
    )
    pipeline = Pipeline(config, Path("nowhere"))
    pipeline.use(embedder=WordCounts())
    return pipeline


def passage(text: str, start: int = 0, source: str = "a.txt", title: str = "") -> Passage:
    return Passage(source, start, start + len(text), text, title=title)
