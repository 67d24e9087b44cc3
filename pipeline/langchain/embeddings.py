"""An embedder as LangChain embeddings."""

from __future__ import annotations

import threading

from langchain_core.embeddings import Embeddings

from pipeline.contracts import Embedder, QuestionEmbedder


class LongthreadEmbeddings(Embeddings):
    """Unit vectors of texts. A text longer than the embedder reads raises ValueError: nothing is cut in silence."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        self._lock = threading.Lock()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        with self._lock:
            vectors: list[list[float]] = self.embedder.embed(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """With the instruction for questions, where the embedder has one."""
        if not isinstance(self.embedder, QuestionEmbedder):
            return self.embed_documents([text])[0]
        with self._lock:
            (vector,) = self.embedder.embed_questions([text]).tolist()
        return list(vector)
