"""What every reranker promises, over the registry, and what only the right one gives."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.config import load_config
from pipeline.default import default_pipeline
from pipeline.errors import ConfigError, ModelError
from pipeline.models.cross_encoder import CrossEncoder
from pipeline.pipeline import Pipeline
from pipeline.registry import COMPONENTS, build, kind_of, make
from pipeline.retrieval import rerank_yes_no
from pipeline.retrieval.embedder import SentenceEmbedder, minilm_folder
from pipeline.retrieval.rerank_yes_no import YesNo
from pipeline.stages import run_stage
from pipeline.types import Passage, Question, State, Text
from tests.compressors.workbench import passage, scripted_runtime
from tests.models.embedder_file import cross_encoder, minilm_file
from tests.models.gguf_file import tiny_llama

NAMES = sorted(name for name in COMPONENTS if name.startswith("rerank."))
QUESTION = Question("When does the ferry leave in winter?")
GIVEN = [
    passage("The town hall opens at eight. It was built in 1901.", 0, "a.txt"),
    passage("In winter the ferry leaves at nine.", 5, "b.txt", "Ferry"),
    passage("The ferry is green.", 0, "c.txt"),
    passage("", 3, "d.txt"),
    passage("In winter the ferry leaves at nine.", 5, "e.txt"),
]
DENSE = np.random.default_rng(0).normal(0, 0.05, (384, 384)).astype(np.float32)
ROW = np.random.default_rng(1).normal(0, 0.1, 384).astype(np.float32)


@pytest.fixture(scope="module")
def ranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cross_encoder(tmp_path_factory.mktemp("ranker") / "ranker.gguf", DENSE, ROW, 0.25)


@pytest.fixture(scope="module")
def runtime() -> Iterator[Pipeline]:
    with scripted_runtime() as runtime:
        yield runtime


def component(name: str, ranker: Path, **more: Any) -> Any:
    reranker, faults = build(name, {**({"model": str(ranker)} if name == "rerank.gguf" else {}), **more})
    assert reranker is not None, faults
    return reranker


# ---------------------------------------------------------------------------------------------------- over the registry
@pytest.mark.parametrize("name", NAMES)
def test_passages_come_back_as_they_are_best_first_and_always_the_same(
    name: str, ranker: Path, runtime: Pipeline
) -> None:
    ranked = component(name, ranker).rerank(QUESTION, GIVEN, runtime)
    assert {(p.span, p.text, p.title) for p in ranked} == {(p.span, p.text, p.title) for p in GIVEN}
    assert len(ranked) == len(GIVEN)
    scores = [p.score for p in ranked]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) > 1
    assert ranked == component(name, ranker).rerank(QUESTION, GIVEN, runtime)
    assert component(name, ranker).rerank(QUESTION, [], runtime) == []


@pytest.mark.parametrize("name", NAMES)
def test_k_keeps_the_best_and_the_ledger_lists_the_others(name: str, ranker: Path, runtime: Pipeline) -> None:
    whole = component(name, ranker).rerank(QUESTION, GIVEN, runtime)
    assert component(name, ranker, k=2).rerank(QUESTION, GIVEN, runtime) == whole[:2]
    assert component(name, ranker, k=99).rerank(QUESTION, GIVEN, runtime) == whole
    stage = make(name, {"k": 2, **dict((("model", str(ranker)),) if name == "rerank.gguf" else ())})
    state = State(QUESTION, ledger=runtime.ledger, passages=tuple(GIVEN))
    after = run_stage(stage, state, runtime, 10)
    (entry,) = after.ledger.stages
    assert (entry.passages_in, entry.passages_out) == (5, 2)
    assert {drop.why for drop in entry.dropped} == {"ranked below the 2 best"}
    assert [ranked.span for ranked in entry.ranked] == [p.span for p in whole[:2]]
    with pytest.raises(AssertionError, match="k must be at least 1, was: 0"):
        component(name, ranker, k=0)


@pytest.mark.parametrize("name", NAMES)
def test_equal_passages_stay_in_their_order(name: str, ranker: Path, runtime: Pipeline) -> None:
    same = [passage("A boat sails.", 0, f"{n}.txt") for n in range(5)]
    assert [p.source for p in component(name, ranker).rerank(QUESTION, same, runtime)] == [p.source for p in same]


@pytest.mark.parametrize("name", NAMES)
def test_a_long_passage_counts_by_its_best_piece(name: str, ranker: Path, runtime: Pipeline) -> None:
    long = passage("word " * 3000 + "In winter the ferry leaves at nine. " + "word " * 3000, 0, "long.txt")
    ranked = component(name, ranker).rerank(QUESTION, [GIVEN[0], long], runtime)
    assert {p.source for p in ranked} == {"a.txt", "long.txt"}
    if name == "rerank.yes_no":
        assert ranked[0].source == "long.txt"


@pytest.mark.parametrize("name", NAMES)
def test_a_question_that_leaves_no_room_is_refused(name: str, ranker: Path, runtime: Pipeline) -> None:
    with pytest.raises(ModelError, match=r"ask shorter"):
        component(name, ranker).rerank(Question("ferry " * 2000), GIVEN, runtime)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(texts=st.lists(st.text(max_size=60), max_size=4))
def test_any_text(name: str, ranker: Path, runtime: Pipeline, texts: list[str]) -> None:
    given_ = [passage(text, 3, f"{n}.txt") for n, text in enumerate(texts)]
    ranked = component(name, ranker).rerank(QUESTION, given_, runtime)
    assert sorted(p.source for p in ranked) == sorted(p.source for p in given_)
    assert all(np.isfinite(p.score) for p in ranked)


@pytest.mark.parametrize("name", NAMES)
def test_a_reranker_survives_the_way_to_another_process(name: str, ranker: Path) -> None:
    one = component(name, ranker)
    assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301
    assert len(one.why_dropped) > 5


# --------------------------------------------------------------------------------------------------------- rerank.gguf
def test_the_rank_head_gives_what_its_formula_says(ranker: Path) -> None:
    """The first token's state, a dense layer, tanh, one output: over the pair, [CLS] question [SEP] passage [SEP].

    Both texts have the first token type, which is all that llama.cpp knows.
    """
    import torch

    reference = SentenceEmbedder("torch", minilm_folder())
    texts = ["In winter it leaves at nine.", "The [SEP] town hall.", ""]
    encoder = CrossEncoder(ranker)
    expected = []
    for text in texts:
        ids = [list(encoder._pair(QUESTION.text, text))]
        model = reference._model[0].auto_model
        with torch.inference_mode():
            state = model(input_ids=torch.tensor(ids)).last_hidden_state[0, 0].numpy()
        expected.append(float(ROW @ np.tanh(DENSE @ state) + 0.25))
    assert encoder.rank(QUESTION.text, texts) == pytest.approx(expected, abs=5e-3)
    pair = encoder._pair("herons", "sea")
    assert (pair[0], pair[-1], pair.count(102)) == (101, 102, 2)
    assert encoder._pair("a", "b [SEP]").count(102) == 2
    encoder.close()


def test_two_token_types_are_noted_once(ranker: Path) -> None:
    with scripted_runtime() as runtime:
        for _ in range(2):
            component("rerank.gguf", ranker).rerank(QUESTION, GIVEN, runtime)
        (note,) = runtime.take_notes()
    assert note.startswith(
        "ranker.gguf was trained with two token types, and llama.cpp reads both texts with the first"
    )


def test_a_template_lays_the_pair_out_and_reads_no_marks_out_of_texts(tmp_path: Path) -> None:
    template = "judge: {query} :: {document} !"
    path = cross_encoder(tmp_path / "a.gguf", DENSE, ROW, 0.0, **{"tokenizer.chat_template.rerank": template})
    encoder = CrossEncoder(path)
    plain = encoder._tokenizer.ids(["judge: herons :: {query} [SEP] !"])[0]
    assert encoder._pair("herons", "{query} [SEP]") == plain
    encoder.close()


def test_files_without_a_rank_head_are_refused(tmp_path: Path) -> None:
    path = minilm_file(tmp_path / "embedder.gguf")
    with pytest.raises(ModelError, match=r"embedder\.gguf has no rank head \(no tensor cls\), so it is no reranker"):
        CrossEncoder(path)
    with scripted_runtime() as runtime, pytest.raises(ModelError, match=r"no such model file: .*nowhere\.gguf"):
        component("rerank.gguf", tmp_path / "nowhere.gguf").rerank(QUESTION, GIVEN, runtime)


# ------------------------------------------------------------------------------------------------------- rerank.yes_no
def test_log_odds_of_yes_by_hand(runtime: Pipeline) -> None:
    """The scripted model says Yes with (1 + shared words) / (2 + words of the question)."""
    ranked = YesNo().rerank(Question("ferry winter"), [GIVEN[0], GIVEN[1]], runtime)
    words = {p.source: p.score for p in ranked}
    assert words["b.txt"] == pytest.approx(max(words.values()))
    assert ranked[0].source == "b.txt"


def test_a_real_model_is_asked_in_its_template_with_the_question_read_once(tmp_path: Path) -> None:
    """The scores are log P(Yes) - log P(No) of whole prompts, each read alone."""
    path = tmp_path / "tiny.gguf"
    path.write_bytes(tiny_llama())
    with scripted_runtime() as runtime:
        stage = YesNo(model=str(path), window=256)
        question = Question("the sea?")
        given_ = [passage("the ferry", 0, "a"), passage("salt", 0, "b")]
        ranked = {p.source: p.score for p in stage.rerank(question, given_, runtime)}
        model: Any = stage._judge(runtime)
        prefix, after = rerank_yes_no.prompt(question.text, model)
        for one in given_:
            whole = (*prefix, Text(one.text + rerank_yes_no.ASK, "passages"), *after)
            ((yes, no),) = model.score(whole, [""], ["Yes", "No"])
            assert ranked[one.source] == pytest.approx(float(yes - no), abs=2e-2)
        before = model.n_decoded
        stage.rerank(question, given_ * 8, runtime)
        n_suffixes = 8 * sum(model.count((Text(p.text + rerank_yes_no.ASK), *after)) for p in given_)
        assert model.n_decoded - before <= n_suffixes + 16 * 12


def test_a_model_that_cannot_score_is_refused(runtime: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(YesNo, "_judge", lambda self, runtime: SimpleNamespace(name="mute", window=1000))
    with pytest.raises(ModelError, match=r"rerank\.yes_no: mute cannot score; set 'model' to a GGUF file"):
        YesNo().rerank(QUESTION, GIVEN, runtime)


# ---------------------------------------------------------------------------------------------------------- a pipeline
def config_with(tmp_path: Path, *stages: str) -> Path:
    path = tmp_path / "a.yaml"
    lines = "".join(f"  - {stage}\n" for stage in stages)
    path.write_text(f"index: {{embedder: none}}\nstages:\n{lines}")
    return path


def test_rerankers_stand_between_retrieve_and_compress(tmp_path: Path) -> None:
    ends = ("assemble.cited", "generate.scripted")
    good = config_with(tmp_path, "retrieve.bm25", "rerank.yes_no: {k: 4}", "rerank.yes_no", "compress.exit", *ends)
    assert [kind_of(stage) for stage in load_config(good).stages][:3] == ["retrieve", "rerank", "rerank"]
    late = config_with(tmp_path, "retrieve.bm25", "compress.exit", "rerank.yes_no", *ends)
    with pytest.raises(ConfigError, match=r"5: stages\[2\]: rerank\.yes_no is out of order: rerank comes between"):
        load_config(late)
    with pytest.raises(ConfigError, match=r"rerank\.gguf needs this field"):
        load_config(config_with(tmp_path, "retrieve.bm25", "rerank.gguf", *ends))


def test_a_pipeline_says_beforehand_that_a_file_is_missing(tmp_path: Path) -> None:
    missing = make("rerank.gguf", {"model": "/no.gguf"})
    config = replace(default_pipeline(), stages=(default_pipeline().stages[0], missing, *default_pipeline().stages[1:]))
    with Pipeline(config, tmp_path) as pipeline, pytest.raises(ModelError, match=r"no such model file: /no\.gguf"):
        pipeline.check()


@pytest.mark.parametrize("name", NAMES)
def test_langchain_gets_the_same_order_with_scores(name: str, ranker: Path, runtime: Pipeline) -> None:
    from langchain_core.documents import Document

    from pipeline.langchain.documents import to_document
    from pipeline.langchain.reranker import LongthreadReranker

    reranker = component(name, ranker, k=3)
    expected: list[Passage] = reranker.rerank(QUESTION, GIVEN, runtime)
    adapter = LongthreadReranker(reranker=reranker, runtime=runtime)
    found = adapter.compress_documents([to_document(p) for p in GIVEN], QUESTION.text)
    assert [document.metadata["source"] for document in found] == [p.source for p in expected]
    assert [document.metadata["relevance_score"] for document in found] == [p.score for p in expected]
    foreign = [Document("The ferry leaves.", metadata={"page": 3, "mine": 1}), Document("Bread."), Document("Bread.")]
    assert sorted(d.page_content for d in adapter.compress_documents(foreign, "Bread?")) == sorted(
        d.page_content for d in foreign
    )
    assert {"page": 3, "mine": 1}.items() <= next(
        d for d in adapter.compress_documents(foreign, "ferry") if d.page_content.startswith("The")
    ).metadata.items()
