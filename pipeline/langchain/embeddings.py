"""An embedder as LangChain embeddings."""

from __future__ import annotations

import threading

from langchain_core.embeddings import Embeddings

from pipeline.contracts import Embedder, QuestionEmbedder


class LongthreadEmbeddings(Embeddings):
    """Unit vectors of texts. Raises ValueError for a text longer than the embedder's limit instead of cutting it."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        self._lock = threading.Lock()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        with self._lock:
            vectors: list[list[float]] = self.embedder.embed(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Embeds a question, with the embedder's instruction for questions if it has one."""
        if not isinstance(self.embedder, QuestionEmbedder):
            return self.embed_documents([text])[0]
        with self._lock:
            (vector,) = self.embedder.embed_questions([text]).tolist()
        return list(vector)
