"""A retriever, or the first stages of a pipeline, as a LangChain retriever."""

from __future__ import annotations

import threading

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, PrivateAttr, SkipValidation

from pipeline.contracts import Compressor, Reranker, Retriever, Runtime
from pipeline.errors import ConfigError
from pipeline.langchain.documents import to_document
from pipeline.pipeline import Pipeline
from pipeline.types import Question


class LongthreadRetriever(BaseRetriever):
    """Retrieves passages, best first, as documents with their places as metadata: source, start, end, line.

    `rerankers` then reorder them, and `compressors` make them smaller. Handles one question at a time; others wait.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    retriever: SkipValidation[Retriever]
    runtime: SkipValidation[Runtime]
    rerankers: SkipValidation[tuple[Reranker, ...]] = ()
    compressors: SkipValidation[tuple[Compressor, ...]] = ()
    glob: str | None = None
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    @classmethod
    def of(cls, pipeline: Pipeline, glob: str | None = None) -> LongthreadRetriever:
        """The retriever of a pipeline with its rerankers and compressors. The pipeline's owner closes it."""
        config = pipeline.config
        if config.retriever is None:
            raise ConfigError(f"{config.path}: there is no retrieve stage to search with")
        return cls(
            retriever=config.retriever,
            runtime=pipeline,
            rerankers=config.rerankers,
            compressors=config.compressors,
            glob=glob,
        )

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        question = Question(query, glob=self.glob)
        with self._lock:
            passages = self.retriever.search(question, self.runtime)
            for reranker in self.rerankers:
                passages = reranker.rerank(question, passages, self.runtime)
            for compressor in self.compressors:
                passages = compressor.compress(question, passages, self.runtime)
        return [to_document(passage) for passage in passages]
