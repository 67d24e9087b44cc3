"""A small real embedder: a text's vector counts its words in 64 drawers. The same everywhere, without weights."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts import Progress


class Letters:
    """One token a word. `pause_s` is slept for each text, so that a test can come in between."""

    name = "letters"
    max_tokens = 64

    def __init__(self, dimension: int = 64, pause_s: float = 0.0) -> None:
        self.dimension = dimension
        self.pause_s = pause_s
        self.fingerprint = f"letters-{dimension}"
        self.embedded: list[str] = []

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def embed(self, texts: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]:
        vectors = np.full((len(texts), self.dimension), 0.01, np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                vectors[row, crc32(word.encode()) % self.dimension] += 1
            time.sleep(self.pause_s)
            if progress is not None:
                progress("embed passages", row + 1, len(texts))
        self.embedded += texts
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    def token_vectors(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        return self.embed(texts), [self.embed(text.split()) for text in texts]

    def token_spans(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        return [[word.span() for word in re.finditer(r"\S+", text)] for text in texts]
