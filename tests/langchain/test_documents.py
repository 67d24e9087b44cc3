"""Retriever, compressor and embeddings, over a real index of the demo's documents."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from langchain_core.documents import Document

from compressors.sentences import Sentences
from pipeline.config import PipelineConfig
from pipeline.default import default_pipeline
from pipeline.docs_index import update_index
from pipeline.langchain.compressor import LongthreadCompressor
from pipeline.langchain.documents import to_document, to_passage
from pipeline.langchain.embeddings import LongthreadEmbeddings
from pipeline.langchain.retriever import LongthreadRetriever
from pipeline.pipeline import Pipeline
from pipeline.registry import make
from pipeline.retrieval.hybrid import Hybrid
from pipeline.types import Passage, Place, Question

ROOT = Path(__file__).parent.parent.parent
DEMO = ROOT / "configs" / "demo" / "documents"
CONFIG: PipelineConfig = replace(
    default_pipeline(), stages=(*default_pipeline().stages[:-1], make("generate.scripted"))
)
QUESTION = "When does the ferry leave?"


def silent(what: str, done: int, total: int) -> None:
    """No progress display."""


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    folder = tmp_path_factory.mktemp("index")
    update_index(folder, [str(DEMO)], CONFIG.index, silent)
    with Pipeline(CONFIG, folder) as pipeline:
        yield pipeline


def test_the_retriever_finds_what_the_pipeline_finds(pipeline: Pipeline) -> None:
    component = CONFIG.retriever
    assert component is not None
    documents = LongthreadRetriever(retriever=component, runtime=pipeline).invoke(QUESTION)
    passages = component.search(Question(QUESTION), pipeline)
    assert [document.page_content for document in documents] == [passage.text for passage in passages]
    for document in documents:
        metadata = document.metadata
        source = pipeline.index.document(metadata["source"])
        assert document.page_content == source.text[metadata["start"] : metadata["end"]]
        assert metadata["line"] == source.place(metadata["start"]).line


def test_the_retriever_of_a_pipeline_compresses_too(pipeline: Pipeline) -> None:
    documents = LongthreadRetriever.of(pipeline, glob="*ferry*").invoke(QUESTION)
    assert 0 < sum(len(document.page_content) for document in documents) < 1500
    assert {Path(document.metadata["source"]).name for document in documents} == {"ferry.md"}


def test_questions_may_come_in_a_batch(pipeline: Pipeline) -> None:
    retriever = LongthreadRetriever.of(pipeline)
    questions = [QUESTION, "Who built the observatory?", "What grows in the garden?"]
    assert retriever.batch(questions) == [retriever.invoke(question) for question in questions]


def test_the_compressor_keeps_places_and_what_documents_say_of_themselves(pipeline: Pipeline) -> None:
    documents = LongthreadRetriever(retriever=CONFIG.retriever or Hybrid(), runtime=pipeline).invoke(QUESTION)
    for document in documents:
        document.metadata["mine"] = document.id
    kept = LongthreadCompressor(compressor=Sentences(top_k=2), runtime=pipeline).compress_documents(documents, QUESTION)
    assert 0 < len(kept) <= 2
    for document in kept:
        metadata = document.metadata
        assert (
            document.page_content
            == pipeline.index.document(metadata["source"]).text[metadata["start"] : metadata["end"]]
        )
        assert metadata["mine"].startswith(metadata["source"])


def test_documents_of_others_need_no_offsets(pipeline: Pipeline) -> None:
    text = "Cats sleep a lot. The ferry leaves at noon. Bread is baked at night."
    others = [Document(text, metadata={"source": "mine.txt", "id": 7}), Document("Nothing of the kind.")]
    kept = LongthreadCompressor(compressor=Sentences(top_k=1), runtime=pipeline).compress_documents(others, QUESTION)
    assert [document.page_content.strip() for document in kept] == ["The ferry leaves at noon."]
    metadata = kept[0].metadata
    assert (metadata["source"], metadata["id"], text[metadata["start"] : metadata["end"]]) == (
        "mine.txt",
        7,
        kept[0].page_content,
    )
    assert LongthreadCompressor(compressor=Sentences(), runtime=pipeline).compress_documents([], QUESTION) == []


def test_a_passage_survives_the_way_there_and_back() -> None:
    passage = Passage("/a.md", 5, 9, "text", 0.5, Place(2, 3, ("A", "B")), "Title")
    assert to_passage(to_document(passage), 1) == passage


def test_embeddings_are_the_embedders_vectors(pipeline: Pipeline) -> None:
    embeddings = LongthreadEmbeddings(pipeline.embedder)
    vectors = embeddings.embed_documents(["a ferry", "a boat", "tax law"])
    assert np.allclose(vectors, pipeline.embedder.embed(["a ferry", "a boat", "tax law"]))
    query = np.array(embeddings.embed_query("a ferry"))
    assert query @ vectors[1] > query @ vectors[2]
    with pytest.raises(ValueError, match="256"):
        embeddings.embed_query("word " * 400)


def test_tracing_is_off_even_where_the_environment_asks_for_it() -> None:
    code = (
        "import json\n"
        "from pipeline.langchain.chat_model import LongthreadChat\n"
        "from pipeline.models.scripted import ScriptedModel\n"
        "import langsmith.utils, langsmith.client\n"
        "def refuse(*_, **__): raise SystemExit('a client of LangSmith was made')\n"
        "langsmith.client.Client.__init__ = refuse\n"
        "text = LongthreadChat(model=ScriptedModel()).invoke('hello').text\n"
        "print(json.dumps([text, bool(langsmith.utils.tracing_is_enabled())]))\n"
    )
    variables = {"LANGSMITH_TRACING": "true", "LANGCHAIN_TRACING_V2": "true", "LANGSMITH_API_KEY": "none"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert json.loads(done.stdout) == ["Not in the documents.", False]
