"""Saved states: who holds them, how far they reach, which go first; and a recurrent model that goes on from them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ModelError
from pipeline.gguf.layers import layers_of
from pipeline.models.checkpoints import Checkpoints
from pipeline.models.engine import Engine, open_engine
from pipeline.models.pool import MIN_GAP, distant
from pipeline.models.resolving import N_SPARE
from pipeline.models.settings import EngineSettings
from pipeline.types import Generation, Prompt, Sampling, Text
from tests.models.gguf_file import tiny_mamba


def state(n_bytes: int = 10) -> np.ndarray:
    return np.zeros(n_bytes, np.uint8)


def test_the_last_place_before_a_cell_is_found() -> None:
    book = Checkpoints(100)
    for n in (40, 90):
        book.add(1, n, state())
    assert [book.before(1, n) for n in (39, 40, 89, 90, 500)] == [0, 40, 40, 90, 90]
    assert book.before(2, 500) == 0


def test_a_state_is_shared_and_stays_as_long_as_one_holds_it() -> None:
    book = Checkpoints(100)
    book.add(1, 40, state())
    book.add(1, 90, state())
    book.share(1, 2, 60)
    assert book.places(2) == [40]
    assert book.state(2, 40) is book.state(1, 40)
    book.cut(1, 0)
    assert (book.places(1), book.places(2), book.n_bytes) == ([], [40], 10)
    book.cut(2, 39)
    assert (len(book), book.n_bytes) == (0, 0)


def test_the_least_recently_used_goes_first() -> None:
    book = Checkpoints(30)
    for n in (40, 80, 120):
        book.add(1, n, state())
    book.state(1, 40)
    book.add(1, 160, state())
    assert book.places(1) == [40, 120, 160]


def test_what_does_not_fit_at_all_is_not_kept() -> None:
    book = Checkpoints(9)
    book.add(1, 40, state())
    assert (len(book), book.n_bytes) == (0, 0)


@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "share", "cut"]), st.integers(0, 3), st.integers(0, 3), st.integers(1, 99)),
        max_size=40,
    )
)
def test_the_limit_holds_and_bytes_are_counted_once(steps: list[tuple[str, int, int, int]]) -> None:
    book = Checkpoints(50)
    for action, sequence, other, n in steps:
        if action == "add":
            book.add(sequence, n, state())
        elif action == "share" and sequence != other:
            book.share(sequence, other, n)
        elif action == "cut":
            book.cut(sequence, n)
        assert book.n_bytes == 10 * len(book) <= 50
        states = {id(book.state(s, place)) for s in range(4) for place in book.places(s)}
        assert len(states) == len(book)


def test_places_lie_apart_and_the_first_of_a_crowd_is_kept() -> None:
    assert distant([10, MIN_GAP, MIN_GAP + 1, 3 * MIN_GAP, 9 * MIN_GAP], 0, 8 * MIN_GAP) == [MIN_GAP, 3 * MIN_GAP]
    assert distant([MIN_GAP], 1, 99) == []


# -------------------------------------------------------------------------------------------------- a recurrent model
DOCUMENT = "A garden has seven hives, and a keeper who counts all of us every morning before bees are awake. " * 3


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A token for each byte, but one for each "th"."""
    (tmp_path / "mamba.gguf").write_bytes(tiny_mamba())
    return tmp_path / "mamba.gguf"


def engine_on(path: Path, **settings: Any) -> Engine:
    given = {"n_ctx": 512, "n_seq_max": 4, "n_cached": 4, "threads": 1, **settings}
    return open_engine(EngineSettings(model=str(path), **given), path)


@pytest.fixture
def engine(path: Path) -> Iterator[Engine]:
    with engine_on(path) as engine:
        yield engine


def answers(engine: Engine, *prompts: Prompt) -> list[Generation]:
    return [stream.result() for stream in engine.generate(prompts, Sampling(max_tokens=6))]


def asking(question: str) -> Prompt:
    return (Text(DOCUMENT, "passages"), Text(question, "question"))


def test_questions_on_one_document_go_on_from_its_end(engine: Engine, path: Path) -> None:
    prompts = [asking(question) for question in (" How many hives?", " Who counts them?", " When is that?")]
    results = [answers(engine, prompt)[0] for prompt in prompts]
    assert [result.reused_tokens for result in results] == [0, len(DOCUMENT), len(DOCUMENT)]
    assert engine.pool.checkpoints.n_bytes <= engine.resolved.checkpoint_bytes
    for prompt, result in zip(prompts, results, strict=True):
        with engine_on(path) as fresh:
            assert answers(fresh, prompt)[0].text == result.text


def test_where_prompts_part_is_learned(engine: Engine) -> None:
    """Nothing says where the sections end: the second prompt shows it, and the third goes on from there."""
    results = [answers(engine, (Text(DOCUMENT + f"{n} hives?"),))[0] for n in range(3)]
    assert [result.reused_tokens for result in results] == [0, 0, len(DOCUMENT)]


def test_a_prefix_is_read_once_for_all_suffixes(engine: Engine) -> None:
    before = engine.n_decoded
    scores = engine.score((Text(DOCUMENT),), [f" {n} hives" for n in range(9)], [" yes", " no"])
    assert engine.n_decoded - before == len(DOCUMENT) + 9 * (len(" n hives") + 3 + 2)
    alone = [engine.score((Text(DOCUMENT),), [f" {n} hives"], [target]) for n in range(9) for target in (" yes", " no")]
    assert np.abs(scores - np.concatenate(alone).reshape(9, 2)).max() < 0.05


def test_one_sequence_is_enough_to_score(path: Path) -> None:
    with engine_on(path, n_seq_max=1, n_cached=0) as engine:
        assert np.isfinite(engine.score((Text("The garden"),), [" has", " is"], [" seven", " hives"])).all()


def test_a_part_cannot_be_left_out(engine: Engine) -> None:
    assert not engine.can_forget
    with pytest.raises(ModelError, match="cannot forget a part of what it read"):
        engine.logprobs((Text(DOCUMENT),), start=40, without=(5, 10))


def test_a_model_without_attention_says_so(engine: Engine) -> None:
    with pytest.raises(ModelError, match="recurrent layers only: there is no attention"):
        engine.attend((Text("a"),), (Text("b"),))


def test_the_states_of_many_sequences_are_held_to_the_free_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = layers_of(path, is_recurrent=True).state_bytes
    assert state == 4 * (3 * 128 + 16 * 128)
    with engine_on(path, n_ctx=256, n_seq_max=16, n_cached=8) as engine:
        assert (engine.resolved.n_seq_max, engine.resolved.n_cached) == (16, 8)
        assert engine.resolved.kv_bytes == (16 + 8 + N_SPARE) * state
    monkeypatch.setattr("pipeline.models.resolving.free_memory", lambda: 4 * 12 * state)
    with engine_on(path, n_ctx=256, n_seq_max=16, n_cached=8) as engine:
        assert (engine.resolved.n_seq_max, engine.resolved.n_cached) == (7, 3)
        assert answers(engine, *[(Text(f"{n} bees"),) for n in range(9)])[8].answer_tokens
    monkeypatch.setattr("pipeline.models.resolving.free_memory", lambda: 3 * state)
    with pytest.raises(ModelError, match="the recurrent states of 4 sequences take"):
        engine_on(path, n_ctx=256)
