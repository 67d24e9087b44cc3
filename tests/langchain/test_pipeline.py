"""A pipeline as a runnable and as a tool, and LangChain's own parts as stages of ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain_core.callbacks import CallbackManagerForRetrieverRun, Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.retrievers import BaseRetriever

from compressors.exit import Exit
from compressors.probe import Probe
from compressors.sentences import Sentences
from pipeline.config import PipelineConfig, load_config
from pipeline.docs_index import update_index
from pipeline.langchain.compressor import LongthreadCompressor
from pipeline.langchain.retriever import LongthreadRetriever
from pipeline.langchain.runnable import LongthreadPipeline
from pipeline.langchain.stages import placed, with_compressor, with_retriever
from pipeline.pipeline import Pipeline
from pipeline.retrieval.hybrid import Hybrid
from pipeline.types import Passage, Question

ROOT = Path(__file__).parent.parent.parent
CONFIG: PipelineConfig = load_config(ROOT / "configs" / "offline.yaml")
QUESTION = "How much is a return ticket for a child on the ferry?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("index")
    update_index(folder, [str(ROOT / "configs" / "demo" / "documents")], CONFIG.index, lambda *_: None)
    return folder


@pytest.fixture
def pipeline(folder: Path) -> Iterator[Pipeline]:
    with Pipeline(CONFIG, folder) as pipeline:
        yield pipeline


def test_a_pipeline_answers_as_it_does_without_langchain(pipeline: Pipeline) -> None:
    result = LongthreadPipeline(pipeline=pipeline).invoke(QUESTION)
    state = pipeline.ask(Question(QUESTION))
    assert state.answer is not None
    assert result["answer"] == state.answer.text
    assert [document.page_content for document in result["documents"]] == [passage.text for passage in state.shown]
    assert result["ledger"]["prompt_tokens"] == state.ledger.prompt_tokens


def without_times(result: dict[str, Any]) -> dict[str, Any]:
    ledger = {key: value for key, value in result["ledger"].items() if key not in ("stages", "generation")}
    return {**result, "ledger": ledger}


def test_chunks_add_up_to_what_invoke_gives_and_the_draft(pipeline: Pipeline) -> None:
    thread = LongthreadPipeline(pipeline=pipeline)
    chunks = list(thread.stream({"question": QUESTION, "glob": "*ferry*"}))
    assert len(chunks) > 5
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole = whole + chunk  # type: ignore[operator]
    draft = whole.pop("draft")
    assert draft.strip() == whole["answer"]  # the scripted model's first answer is good
    assert without_times(whole) == without_times(thread.invoke({"question": QUESTION, "glob": "*ferry*"}))


def test_a_stream_that_nobody_reads_on_frees_the_pipeline(pipeline: Pipeline) -> None:
    thread = LongthreadPipeline(pipeline=pipeline)
    for _ in thread.stream(QUESTION):
        break
    assert thread.invoke(QUESTION)["answer"]


def test_a_batch_and_a_chain(pipeline: Pipeline) -> None:
    thread = LongthreadPipeline(pipeline=pipeline)
    first, second = thread.batch([QUESTION, "Who may enter the garden?"])
    assert first["answer"] == thread.invoke(QUESTION)["answer"] != second["answer"]
    assert (thread | (lambda result: len(result["documents"]))).invoke(QUESTION) > 0
    with pytest.raises(ValueError, match="must be a question, or hold one under 'question'; it has: query"):
        thread.invoke({"query": QUESTION})


def test_the_tool_says_where_its_answer_stands(pipeline: Pipeline) -> None:
    tool = LongthreadPipeline(pipeline=pipeline).tool("papers", "Looks things up.")
    assert tool.name == "papers"
    answer, *places = tool.invoke({"question": QUESTION}).splitlines()
    assert "marks" in answer
    assert places[0].startswith("[")
    assert "ferry.md" in places[0]


class Shelf(BaseRetriever):
    """A retriever of someone else: it gives what it has."""

    documents: list[Document]

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return self.documents


class FirstSentence(BaseDocumentCompressor):
    """A compressor of someone else; what it says is in capitals where it is told to shout."""

    is_loud: bool = False

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        texts = [document.page_content.partition(".")[0] + "." for document in documents]
        return [
            Document(text.upper() if self.is_loud else text, metadata=document.metadata)
            for text, document in zip(texts, documents, strict=True)
        ]


def test_parts_of_langchain_as_stages(tmp_path: Path) -> None:
    shelf = Shelf(documents=[Document("The child pays six marks. The ferry is old."), Document("A ferry. Green.")])
    plain = replace(CONFIG, stages=(CONFIG.stages[0], *CONFIG.stages[-2:]))
    config = with_compressor(with_retriever(plain, shelf), FirstSentence())
    with Pipeline(config, tmp_path) as pipeline:
        state = pipeline.ask(Question("What does a child pay on the ferry?"))
    assert [passage.text for passage in state.shown] == ["The child pays six marks.", "A ferry."]
    assert state.answer is not None
    assert state.answer.text == "The child pays six marks. [1]"
    assert [drop.text for entry in state.ledger.stages for drop in entry.dropped] == ["The ferry is old.", "Green."]
    assert len(config.hash) == 16


def test_what_a_compressor_wrote_itself_carries_the_spans_of_its_document() -> None:
    passages = [Passage("a", 5, 14, "One. Two."), Passage("b", 0, 6, "Three.")]
    with Pipeline(with_compressor(CONFIG, FirstSentence(is_loud=True)), Path("nowhere")) as pipeline:
        loud = pipeline.config.compressors[-1].compress(Question("?"), passages, pipeline)
    assert [(passage.text, passage.spans) for passage in loud] == [
        ("ONE.", (passages[0].span,)),
        ("THREE.", (passages[1].span,)),
    ]
    assert placed(Document("Two."), passages) == passages[0].part(10, 14)
    assert placed(Document("  "), passages) is None


@pytest.mark.parametrize(
    "compressor",
    [Sentences(top_k=2, score="cosine"), Exit(threshold=0.3), Probe(model=None, keep_ratio=0.2)],
    ids=lambda stage: type(stage).__name__,
)
def test_inside_of_langchains_compression_retriever(compressor: Any, tmp_path: Path) -> None:
    classic = pytest.importorskip(
        "langchain_classic.retrievers", reason="langchain-classic is not installed: pip install longthread[langchain]"
    )
    demo = [str(ROOT / "configs" / "demo" / "documents")]
    settings = replace(CONFIG.index, embedder="minilm")
    update_index(tmp_path, demo, settings, lambda *_: None)
    with Pipeline(replace(CONFIG, index=settings), tmp_path) as pipeline:
        retriever = LongthreadRetriever(retriever=CONFIG.retriever or Hybrid(), runtime=pipeline)
        ours = LongthreadCompressor(compressor=compressor, runtime=pipeline)
        documents = classic.ContextualCompressionRetriever(base_compressor=ours, base_retriever=retriever).invoke(
            QUESTION
        )
        assert documents
        assert any("ticket" in document.page_content for document in documents)
        for document in documents:
            metadata = document.metadata
            assert (
                document.page_content
                == pipeline.index.document(metadata["source"]).text[metadata["start"] : metadata["end"]]
            )
