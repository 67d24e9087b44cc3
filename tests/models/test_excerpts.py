"""Excerpts: texts that a model reads once. Exact in their own place, blind to one another, all accounted for."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import ModelError
from pipeline.models.engine import Engine, open_engine
from pipeline.models.excerpts import token_ranges, visible_spans
from pipeline.models.settings import EngineSettings
from pipeline.types import Excerpt, Generation, Prompt, Sampling, Text
from tests.models.random_file import random_model

HOME: Prompt = (Text("You answer from the passages.\n", "system"),)
HIVES = (
    "<passage>\n",
    "The blue hive has nine frames. The red hive has four frames, and a lid of oak.",
    "\n</passage>\n",
)
FERRY = ("<passage>\n", "The ferry sails at seven. The garden opens at nine. The key is 7431.", "\n</passage>\n")
QUESTION = Text("What is the key?\n", "question")
QUICK = settings(
    max_examples=20, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("excerpts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LONGTHREAD_CACHE", str(folder))
        with open_engine(
            EngineSettings(n_ctx=1024, n_seq_max=4, n_cached=3, threads=1), random_model(folder)
        ) as engine:
            yield engine


def whole(texts: tuple[str, ...], reread: int = 0) -> Excerpt:
    return Excerpt(HOME, texts, ((0, len("".join(texts))),), reread)


def sentence(texts: tuple[str, ...], text: str, reread: int = 0) -> Excerpt:
    start = "".join(texts).index(text)
    return Excerpt(HOME, texts, ((start, start + len(text)),), reread)


def done(engine: Engine, prompt: Prompt, n: int = 4) -> Generation:
    engine.pool.forget()
    (stream,) = engine.generate([prompt], Sampling(max_tokens=n))
    return stream.result()


@QUICK
@given(st.lists(WORDS, min_size=1, max_size=3), st.data())
def test_the_tokens_of_a_stretch_are_those_that_spell_it(engine: Engine, texts: list[str], data: st.DataObject) -> None:
    n = len("".join(texts))
    ends = sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=4, unique=True)))
    stretches = tuple(zip(ends[::2], ends[1::2], strict=False))
    excerpt = Excerpt(HOME, tuple(texts), stretches)
    tokens = np.concatenate([engine.tokenize(text) for text in texts])
    kept = [tokens[low:high] for low, high in token_ranges(excerpt, engine.weights)]
    spelt = b"".join(engine.weights.piece(token) for part in kept for token in part.tolist())
    assert len(spelt) >= len(excerpt.text.encode())
    assert (
        engine.count((excerpt,))
        == sum(map(len, kept))
        == len(engine.cells((excerpt, QUESTION))) - len(engine.cells((QUESTION,)))
    )
    spans = visible_spans(excerpt, engine.weights)
    assert len(spans) == sum(map(len, kept))
    assert {n for low, high in spans for n in range(low, high)} == set(range(len(excerpt.text)))


@QUICK
@given(WORDS, WORDS, WORDS)
def test_one_excerpt_at_its_own_place_is_the_same_as_reading(engine: Engine, before: str, text: str, end: str) -> None:
    home: Prompt = (Text(before, "system"),)
    excerpt = Excerpt(home, (text, end), ((0, len(text + end)),))
    composed: Prompt = (*home, excerpt, QUESTION)
    plain: Prompt = (*home, Text(text), Text(end), QUESTION)
    assert engine.cells(composed).is_exact
    assert engine.cells(composed).digest == engine.cells(plain).digest
    engine.pool.forget()
    logprobs = engine.next_logprobs(composed)
    engine.pool.forget()
    read = engine.next_logprobs(plain)
    assert float((np.exp(read) * (read - logprobs)).sum()) < 1e-5


@QUICK
@given(st.permutations([HIVES, FERRY]), st.booleans())
def test_two_composed_at_once_do_not_see_one_another(
    engine: Engine, order: list[tuple[str, ...]], is_cut: bool
) -> None:
    first = sentence(HIVES, "The red hive has four frames") if is_cut else whole(HIVES)
    prompts: list[Prompt] = [
        (*HOME, first, whole(order[0]), QUESTION),
        (*HOME, *(whole(texts) for texts in order), QUESTION),
    ]
    alone = [done(engine, prompt, 8).text for prompt in prompts]
    engine.pool.forget()
    together = [stream.result().text for stream in engine.generate(prompts, Sampling(max_tokens=8))]
    assert together == alone


def test_the_first_time_is_reading_and_the_second_is_not(engine: Engine) -> None:
    texts = ("<passage>\n", "Nobody has read this. It is about otters.", "\n</passage>\n")
    prompt: Prompt = (*HOME, whole(FERRY), sentence(texts, "It is about otters."), QUESTION)
    done(engine, (*HOME, whole(FERRY), QUESTION))
    first, second = done(engine, prompt), done(engine, prompt)
    n_passage = sum(len(engine.tokenize(text)) for text in texts)
    n_fresh = engine.count((*HOME, QUESTION))
    assert (first.stored_tokens, first.read_tokens) == (
        n_passage,
        n_passage + n_fresh - first.reused_tokens,
    )
    assert first.prefill_s >= first.stored_s > 0
    assert (second.stored_tokens, second.stored_s, second.read_tokens) == (0, 0.0, n_fresh)
    assert first.restored_tokens == second.restored_tokens == engine.count(prompt[1:3])
    assert second.shifted_tokens == engine.count(prompt[2:3])
    assert second.saved_s > 0
    assert first.text == second.text


def test_the_first_tokens_are_read_anew_where_that_is_wanted(engine: Engine) -> None:
    texts = sentence(FERRY, "The garden opens at nine. The key is 7431.", reread=3)
    prompt: Prompt = (*HOME, whole(HIVES), texts, QUESTION)
    answer = done(engine, prompt)
    assert answer.restored_tokens == engine.count(prompt[1:3]) - 3
    cells = engine.cells(prompt)
    low, _ = token_ranges(texts, engine.weights)[0]
    tokens = np.concatenate([engine.tokenize(text) for text in FERRY])
    n = engine.count(prompt[:2])
    assert cells.keys[n : n + 3].tolist() == tokens[low : low + 3].tolist()


def test_a_passage_of_the_store_comes_from_disk_in_another_process(engine: Engine, tmp_path: Path) -> None:
    prompt: Prompt = (*HOME, whole(HIVES), whole(FERRY), QUESTION)
    expected = done(engine, prompt).text
    engine.pieces.store.flush()
    with open_engine(engine.settings, engine.path) as other:
        answer = done(other, prompt)
    assert (answer.stored_tokens, answer.text) == (0, expected)


def test_a_model_that_cannot_compose_reads_the_same_tokens(engine: Engine) -> None:
    prompt: Prompt = (*HOME, sentence(HIVES, "The red hive has four frames"), whole(FERRY), QUESTION)
    with open_engine(EngineSettings(n_ctx=512, kv_k="q8_0", threads=1), engine.path) as other:
        assert "q8_0" in other.why_not_compose
        cells = other.cells(prompt)
        assert cells.is_exact
        assert len(cells) == other.count(prompt) == engine.count(prompt)
        assert (cells.keys >= 0).all()
        assert done(other, prompt).restored_tokens == 0


def test_a_prompt_that_does_not_fit_is_refused_before_its_passages_are_read(engine: Engine) -> None:
    new = ("A text that is not read. " * 30,)
    n_before = engine.n_decoded
    with pytest.raises(ModelError, match=r"the window of .* holds 1024"):
        engine.generate([(*HOME, *(whole((f"{n} ", *new)) for n in range(40)), QUESTION)], Sampling(max_tokens=8))
    assert engine.n_decoded == n_before
