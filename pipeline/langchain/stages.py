"""LangChain retrievers and document compressors as stages of a longthread pipeline.

    config = with_retriever(load_config("configs/default.yaml"), my_langchain_retriever)
    config = with_compressor(config, my_langchain_compressor)
    with Pipeline(config, Path("unused")) as pipeline: ...

Such a pipeline runs only in this process: its stages are objects, which no file can name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.retrievers import BaseRetriever

from pipeline.config import PipelineConfig
from pipeline.contracts import Runtime
from pipeline.langchain.documents import to_document, to_passage
from pipeline.registry import kind_of
from pipeline.types import Passage, Question


@dataclass(frozen=True)
class FromRetriever:
    """Searches with a LangChain retriever. A document without offsets becomes a separate source."""

    retriever: BaseRetriever

    searches_index = False
    stage_name = "retrieve.langchain"

    def search(self, question: Question, runtime: Runtime) -> list[Passage]:
        if question.glob is not None:
            runtime.note("the glob was not applied: a retriever from LangChain does not know it")
        passages = [to_passage(document, n) for n, document in enumerate(self.retriever.invoke(question.query), 1)]
        return list({passage.span: passage for passage in passages}.values())


@dataclass(frozen=True)
class FromCompressor:
    """Compresses with a LangChain document compressor.

    Each result is searched for in the input. Text found there becomes a part of its passage. Other text was written by
    the compressor: it carries the spans of its document, or of all documents if that is unknown.
    """

    compressor: BaseDocumentCompressor

    why_dropped = "not kept by a compressor of LangChain"
    stage_name = "compress.langchain"

    def compress(self, question: Question, passages: Sequence[Passage], runtime: Runtime) -> list[Passage]:
        if not passages:
            return []
        documents = [to_document(passage) for passage in passages]
        for n, document in enumerate(documents):
            document.metadata[_NUMBER] = n
        kept = self.compressor.compress_documents(documents, question.query)
        return [passage for document in kept if (passage := placed(document, passages)) is not None]


_NUMBER = "longthread_passage"


def placed(document: Document, passages: Sequence[Passage]) -> Passage | None:
    """The passage of a compressed document; None for a document without text."""
    text = document.page_content.strip()
    if not text:
        return None
    number = document.metadata.get(_NUMBER)
    likely = [passages[number]] if isinstance(number, int) and 0 <= number < len(passages) else list(passages)
    score = document.metadata.get("relevance_score")
    for passage in likely:
        offset = passage.text.find(text)
        if offset >= 0 and not passage.spans:
            start = passage.start + offset
            return passage.part(start, start + len(text), float(score) if score is not None else None)
    spans = tuple(span for passage in likely for span in (passage.spans or (passage.span,)))
    return replace(likely[0], text=text, spans=spans)


def with_retriever(config: PipelineConfig, retriever: BaseRetriever) -> PipelineConfig:
    """The same pipeline with this retriever instead of its own."""
    rest = (stage for stage in config.stages if kind_of(stage) != "retrieve")
    return replace(config, stages=(FromRetriever(retriever), *rest))


def with_compressor(config: PipelineConfig, compressor: BaseDocumentCompressor) -> PipelineConfig:
    """The same pipeline with one more compressor, right before the prompt is assembled."""
    return config.before("assemble", FromCompressor(compressor))
