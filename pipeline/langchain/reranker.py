"""A reranker as a LangChain document compressor."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import ConfigDict, PrivateAttr, SkipValidation

from pipeline.contracts import Reranker, Runtime
from pipeline.langchain.documents import to_passage
from pipeline.types import Question


class LongthreadReranker(BaseDocumentCompressor):
    """Reorders documents and keeps the best. `relevance_score` in their metadata is the new score.

    For `ContextualCompressionRetriever`, before a compressor or alone. Handles one question at a time; others wait.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    reranker: SkipValidation[Reranker]
    runtime: SkipValidation[Runtime]
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        passages = [to_passage(document, n) for n, document in enumerate(documents, 1)]
        with self._lock:
            best = self.reranker.rerank(Question(query), passages, self.runtime)
        left = list(zip(passages, documents, strict=True))
        result = []
        for passage in best:
            wanted = passage.span, passage.text  # a reranker returns copies with a new score
            index = next(n for n, (given, _) in enumerate(left) if (given.span, given.text) == wanted)
            _, document = left.pop(index)
            metadata = {**document.metadata, "relevance_score": passage.score}
            result.append(document.model_copy(update={"metadata": metadata}))
        return result
