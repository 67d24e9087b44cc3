"""`index.embedder: /path/embedder.gguf`: pooling, instructions, places, fingerprint, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config import IndexSettings, load_config
from pipeline.contracts import QuestionEmbedder
from pipeline.docs_index import docs_folder, update_index
from pipeline.errors import ConfigError, StoreError
from pipeline.langchain.embeddings import LongthreadEmbeddings
from pipeline.models.engine import open_engine
from pipeline.models.settings import EngineSettings
from pipeline.pipeline import chunker, open_embedder
from pipeline.retrieval.embedder import SentenceEmbedder, minilm_folder
from pipeline.retrieval.gguf_embedder import GgufEmbedder
from pipeline.retrieval.instructions import known_instructions
from pipeline.retrieval.open_index import open_index
from pipeline.retrieval.questions import question_vector
from tests.models.embedder_file import cross_encoder, minilm_file
from tests.models.gguf_file import tiny_llama

TEXTS = ["Seven grey herons stand on the wall.", "", "İstanbul'da İZMİR 🚢 gemisi", "harbour " * 200]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return minilm_file(tmp_path_factory.mktemp("embedder") / "minilm.gguf")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    path.write_bytes(tiny_llama())
    return path


def opened(path: Path, **settings: Any) -> GgufEmbedder:
    embedder = open_embedder(IndexSettings(embedder=str(path), **settings))
    assert isinstance(embedder, GgufEmbedder)
    return embedder


def test_a_minilm_with_its_vocabulary_gives_the_vectors_tokens_and_places_of_sentence_transformers(file: Path) -> None:
    embedder, expected = opened(file), SentenceEmbedder("torch", minilm_folder())
    assert (embedder.pooling, embedder.dimension, embedder.max_tokens) == ("mean", 384, 512)
    assert embedder.instructions.question == embedder.instructions.passage == ""
    vectors, states = embedder.token_vectors(TEXTS)
    theirs, their_states = expected.token_vectors(TEXTS)
    assert (vectors * theirs).sum(axis=1).min() > 0.9999
    assert [state.shape for state in states] == [state.shape for state in their_states]
    assert min((a * b).sum(axis=1).min() for a, b in zip(states, their_states, strict=True) if len(a)) > 0.999
    assert embedder.token_spans(TEXTS) == expected.token_spans(TEXTS)
    assert embedder.count_tokens(TEXTS) == expected.count_tokens(TEXTS)
    assert np.abs(embedder.embed(TEXTS) - vectors).max() < 1e-3


def test_pooling_is_the_files_unless_it_is_named(file: Path, tiny: Path) -> None:
    mean, cls = opened(file), opened(file, pooling="cls")
    assert mean.fingerprint != cls.fingerprint
    assert (mean.embed(["grey herons"]) * cls.embed(["grey herons"])).sum() < 0.99
    with pytest.raises(ConfigError, match=r"tiny\.gguf names no pooling: .* set index\.pooling"):
        opened(tiny).embed(["x"])


def test_a_decoder_gives_the_state_of_its_last_token_whatever_shares_the_batch(tiny: Path) -> None:
    texts = ["the ferry leaves", "a", "the the the " * 8]
    with open_engine(EngineSettings(n_ctx=256), tiny) as engine:
        expected = np.concatenate(engine.embed(texts))
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    embedder = opened(tiny, pooling="last")
    assert np.abs(embedder.embed(texts) - expected).max() < 2e-3
    assert np.abs(embedder.embed(texts[:1]) - expected[:1]).max() < 2e-3
    assert embedder.embed([""]).shape == (1, 64)
    assert [len(spans) for spans in embedder.token_spans(texts)] == [len(s) for s in embedder.token_vectors(texts)[1]]


def test_texts_longer_than_a_batch_are_read_whole_and_longer_ones_refused(file: Path) -> None:
    embedder = opened(file)
    long = "harbour " * 510
    assert embedder.count_tokens([long]) == [512]
    assert embedder.embed(["short", long, "short"]).shape == (3, 384)
    with pytest.raises(ValueError, match="a text must have at most 512 tokens, was: 513"):
        embedder.embed([long + "harbour"])


def test_large_vocabularies_and_long_contexts_cost_bounded_memory() -> None:
    from pipeline.models.encoder import longest_text

    assert longest_text(512, 30522) == 512
    assert longest_text(8192, 30522) == 2048
    assert longest_text(32768, 151_669) * 151_669 * 4 <= 512 << 20
    assert longest_text(2048, 262_144) == 512


# ------------------------------------------------------------------------------------------------------ instructions
def test_questions_and_passages_are_read_behind_their_instructions(file: Path) -> None:
    plain = opened(file)
    embedder = opened(file, question_prefix="search query: ", passage_prefix="search document: ")
    assert isinstance(embedder, QuestionEmbedder)
    assert np.abs(embedder.embed(["herons"]) - plain.embed(["search document: herons"])).max() < 1e-3
    assert np.abs(embedder.embed_questions(["herons"]) - plain.embed(["search query: herons"])).max() < 1e-3
    assert np.abs(question_vector(embedder, "herons") - embedder.embed_questions(["herons"])[0]).max() < 1e-3
    adapter = LongthreadEmbeddings(embedder)
    assert adapter.embed_query("herons") == pytest.approx(embedder.embed_questions(["herons"])[0].tolist(), abs=1e-3)
    assert adapter.embed_documents(["herons"])[0] == pytest.approx(embedder.embed(["herons"])[0].tolist(), abs=1e-3)
    assert embedder.fingerprint != plain.fingerprint


def test_token_vectors_and_places_are_of_the_text_without_its_instruction(file: Path) -> None:
    embedder = opened(file, passage_prefix="search document: ")
    assert embedder.max_tokens == 512 - 3 - 2
    text = "Grey herons fly."
    _, (states,) = embedder.token_vectors([text])
    (spans,) = embedder.token_spans([text])
    assert [text[start:end] for start, end in spans] == ["Grey", "heron", "s", "fly", "."]
    assert len(states) == len(spans)
    assert embedder.count_tokens([text]) == [len(spans) + 2]


def test_an_instruction_that_leaves_no_room_is_refused(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"its instruction takes 302 of them: shorten index\.question_prefix"):
        opened(file, question_prefix="harbour " * 300).embed(["x"])


@pytest.mark.parametrize(
    ("metadata", "name", "question", "passage"),
    [
        ({"general.name": "nomic-embed-text-v1.5"}, "x.gguf", "search_query: ", "search_document: "),
        ({"general.name": "Qwen3 Embedding 0.6B"}, "x.gguf", "Instruct: ", ""),
        ({}, "embeddinggemma-300m-q8_0.gguf", "task: search result | query: ", "title: none | text: "),
        ({"general.basename": "multilingual-e5"}, "x.gguf", "query: ", "passage: "),
        ({"general.name": "Bge M3"}, "x.gguf", "", ""),
        ({"general.name": "Bge Small En v1.5"}, "x.gguf", "Represent this sentence", ""),
        ({"general.name": "something new"}, "model.gguf", "", ""),
    ],
)
def test_instructions_are_known_by_the_files_name(
    metadata: dict[str, str], name: str, question: str, passage: str
) -> None:
    known = known_instructions(metadata, name)
    assert known.question.startswith(question)
    assert bool(known.question) == bool(question)
    assert known.passage == passage


# ------------------------------------------------------------------------------------------------- an index, and faults
def test_an_index_belongs_to_the_file_its_pooling_and_its_instructions(file: Path, tmp_path: Path) -> None:
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "a.txt").write_text("The ferry leaves at nine. The town hall is green.")
    (tmp_path / "documents" / "b.txt").write_text("Bread is baked in the morning, and eaten at once.")
    settings = IndexSettings(embedder=str(file))
    update_index(tmp_path / "index", [str(tmp_path / "documents")], settings, lambda *_: None)
    with open_index(tmp_path / "index", open_embedder(settings), chunker(settings)) as index:
        (best, *_) = index.search_dense("When does the boat sail?", 2)
    assert best.source.endswith("a.txt")
    other = IndexSettings(embedder=str(file), pooling="cls")
    with pytest.raises(StoreError, match="the index was made with the embedder"):
        open_index(tmp_path / "index", open_embedder(other), chunker(other))


def test_what_is_no_embedder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"index\.embedder: no such model file: .*nowhere\.gguf"):
        open_embedder(IndexSettings(embedder=str(tmp_path / "nowhere.gguf")))
    (tmp_path / "text.gguf").write_text("no model")
    with pytest.raises(ConfigError, match=r"index\.embedder: .*is no GGUF file"):
        open_embedder(IndexSettings(embedder=str(tmp_path / "text.gguf")))
    ranker = cross_encoder(tmp_path / "ranker.gguf", np.eye(384, dtype=np.float32), np.ones(384, np.float32), 0.0)
    with pytest.raises(ConfigError, match=r"ranks pairs and gives no vectors: it is for rerank\.gguf"):
        opened(ranker).embed(["x"])


def test_settings_of_files_are_refused_for_other_embedders_and_kept_out_of_old_keys(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    stages = "stages:\n  - retrieve.hybrid\n  - assemble.cited\n  - generate.llama\n"
    path.write_text(f"index: {{embedder: minilm, pooling: mean}}\n{stages}")
    with pytest.raises(ConfigError, match="pooling is for an embedder that is a GGUF file, and embedder is minilm"):
        load_config(path)
    old = {"embedder": "minilm", "chunk_tokens": 200, "overlap": 0}
    assert IndexSettings().to_dict() == old
    assert IndexSettings(chunks="tokens").to_dict() == {**old, "chunks": "tokens"}
    assert IndexSettings(chunks="structure").to_dict() == {**old, "chunks": "structure"}
    named = IndexSettings(embedder="x.gguf", pooling="cls", question_prefix="")
    assert named.to_dict()["question_prefix"] == ""
    assert docs_folder(["a"], named) != docs_folder(["a"], IndexSettings(embedder="x.gguf"))
