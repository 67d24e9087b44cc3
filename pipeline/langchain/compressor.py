"""A compressor as a LangChain document compressor."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import ConfigDict, PrivateAttr, SkipValidation

from pipeline.contracts import Compressor, Runtime
from pipeline.langchain.documents import to_document, to_passage
from pipeline.types import Question


class LongthreadCompressor(BaseDocumentCompressor):
    """Compresses documents. Keeps their metadata and updates the place of the kept text.

    A document of another retriever may have no offsets. It then counts as a separate source that starts at 0.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    compressor: SkipValidation[Compressor]
    runtime: SkipValidation[Runtime]
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        passages = [to_passage(document, n) for n, document in enumerate(documents, 1)]
        with self._lock:
            kept = self.compressor.compress(Question(query), passages, self.runtime)
        result = []
        for passage in kept:
            document = to_document(passage)
            for original, given in zip(passages, documents, strict=True):
                if (
                    original.source == passage.source
                    and original.start <= passage.start
                    and passage.end <= original.end
                ):
                    source = {"source": given.metadata["source"]} if "source" in given.metadata else {}
                    document.metadata = {**given.metadata, **document.metadata, **source}
                    break
            result.append(document)
        return result
