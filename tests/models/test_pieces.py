"""Cells that are read once: exact at their own place, stable however often they are moved, and never left behind."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import ModelError
from pipeline.models.compose import judge
from pipeline.models.engine import Engine, open_engine
from pipeline.models.kv_state import State
from pipeline.models.llama import library
from pipeline.models.placing import cut, take_out
from pipeline.models.scoring import hold
from pipeline.models.settings import EngineSettings
from pipeline.types import Cached, Piece, Prompt, Sampling, Soft, Text
from tests.models.random_file import random_model
from tests.models.zoo import TINY, needs_zoo

PREFIX: Prompt = (Text("You answer from the passages.\n"),)
HIVES = "The blue hive has nine frames. The red hive has four frames and a lid of oak.\n"
FERRY = "The ferry sails at seven. The garden opens at nine. The key of the tower is 7431.\n"
QUESTION = Text("What is the key?\n", "question")
QUICK = settings(
    max_examples=20, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
TEXTS = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=40)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("pieces")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LONGTHREAD_CACHE", str(folder))
        path = random_model(folder)
        with open_engine(EngineSettings(n_ctx=1024, n_seq_max=4, n_cached=3, threads=1), path) as engine:
            yield engine


def answer(engine: Engine, *prompts: Prompt, n: int = 6) -> list[str]:
    return [stream.result().text for stream in engine.generate(list(prompts), Sampling(max_tokens=n))]


def n_used(engine: Engine) -> int:
    """Cells in use as llama.cpp counts them: those that a saved state of the whole context holds."""
    lib, context = library(), engine.context
    size = lib.llama_state_get_size(context.pointer)
    data = np.empty(size, np.uint8)
    n = lib.llama_state_get_data(context.pointer, data.ctypes.data_as(lib.ctypes.POINTER(lib.ctypes.c_uint8)), size)
    name = data[:8].view(np.uint32)[0] if n else 0
    offset = 4 + int(data[:4].view(np.uint32)[0])  # the architecture's name stands before the cache
    assert bytes(data[4:offset]) == b"llama", name
    assert int(data[offset : offset + 4].copy().view(np.uint32)[0]) == 1, "one stream"
    return int(data[offset + 4 : offset + 8].copy().view(np.uint32)[0])


def is_empty(engine: Engine) -> bool:
    engine.pool.forget()
    ends = [engine.context.last_position(sequence) for sequence in range(engine.context.n_sequences)]
    return set(ends) == {-1} and engine.pool.book.n_free == engine.context.n_cells and n_used(engine) == 0


# ------------------------------------------------------------------------------------------------------------- exact
@QUICK
@given(TEXTS, TEXTS, TEXTS)
def test_a_piece_at_its_own_place_is_the_same_as_reading(engine: Engine, before: str, text: str, end: str) -> None:
    prefix, ending = (Text(before),), Text(end)
    engine.pieces.store.remove(engine.piece(prefix, (Text(text),)).key)
    engine.pool.forget()  # what is shared is read in other calls, and rounded otherwise
    piece = engine.piece(prefix, (Text(text),))
    composed: Prompt = (*prefix, Cached(piece), ending)
    plain: Prompt = (*prefix, Text(text), ending)
    assert engine.cells(composed).is_exact
    assert engine.cells(composed).digest == engine.cells(plain).digest
    logprobs = []
    for prompt in (composed, plain):
        engine.pool.forget()
        begin = engine.cells(prompt[:2])
        sequence = hold(engine.pool, begin)
        n = len(engine.cells(prefix))
        cells = take_out(engine.context, engine.pool.spare, sequence, n, n + len(piece)).to_bytes()
        assert np.array_equal(cells, piece.state), "bit for bit"
        engine.pool.retire(sequence, begin.keys)
        logprobs.append(engine.next_logprobs(prompt))
    assert kl(logprobs[1], logprobs[0]) < 1e-5  # not 0: where cells lie in memory decides the order of sums


def test_what_was_composed_is_said(engine: Engine) -> None:
    hives, ferry = (engine.piece(PREFIX, (Text(text),)) for text in (HIVES, FERRY))
    engine.pool.forget()
    (stream,) = engine.generate([(*PREFIX, Cached(hives), Cached(ferry), QUESTION)], Sampling(max_tokens=2))
    done = stream.result()
    n_read = engine.count((*PREFIX, QUESTION))
    assert (done.restored_tokens, done.shifted_tokens) == (len(hives) + len(ferry), len(ferry))
    assert (done.reused_tokens, done.read_tokens, done.is_composed) == (0, n_read, True)
    (stream,) = engine.generate([(*PREFIX, Cached(hives), QUESTION)], Sampling(max_tokens=2))
    done = stream.result()
    assert not done.is_composed
    assert done.shifted_tokens == 0
    assert done.reused_tokens == engine.count((*PREFIX, Text(HIVES))), "the exact beginning is shared as ever"


def test_moved_cells_are_those_that_reading_there_would_give(engine: Engine) -> None:
    """A whole text moved by d, against the text read from position d on: rotary positions are relative."""
    verdict = judge(engine)
    assert verdict.why == ""
    assert verdict.kl < 1e-3
    assert 0 < verdict.key_error < 5e-3


def test_a_piece_behind_another_passage_is_near_to_reading_and_far_from_another_text(engine: Engine) -> None:
    ferry = engine.piece(PREFIX, (Text(FERRY),))
    composed: Prompt = (*PREFIX, Text(HIVES), Cached(ferry), QUESTION)
    read = engine.next_logprobs((*PREFIX, Text(HIVES), Text(FERRY), QUESTION))
    other = engine.next_logprobs((*PREFIX, Text(HIVES), Text(FERRY[::-1]), QUESTION))
    composed_logprobs = engine.next_logprobs(composed)
    assert not engine.cells(composed).is_exact
    assert kl(read, composed_logprobs) < 0.5 * kl(read, other)


def kl(p: np.ndarray, q: np.ndarray) -> float:
    return float((np.exp(p) * (p - q)).sum())


# ------------------------------------------------------------------------------------------------------------ stable
def test_a_hundred_uses_of_the_original_are_the_same(engine: Engine) -> None:
    ferry = engine.piece(PREFIX, (Text(FERRY),))
    state = ferry.state.copy()
    moved: Prompt = (*PREFIX, Text("Hm. "), Cached(ferry, 4, 30), QUESTION)
    home: Prompt = (*PREFIX, Cached(ferry), QUESTION)
    engine.pool.forget()
    first = engine.next_logprobs(moved), engine.next_logprobs(home)
    for _ in range(100):
        engine.pool.forget()
        assert np.array_equal(engine.next_logprobs(moved), first[0])
        assert np.array_equal(engine.next_logprobs(home), first[1])
    assert np.array_equal(ferry.state, state)


@QUICK
@given(st.data())
def test_random_lists_of_pieces_leave_no_cell_behind(engine: Engine, data: st.DataObject) -> None:
    pieces = [engine.piece(PREFIX, (Text(text),)) for text in (HIVES, FERRY, "Bees.\n")]
    prompts = data.draw(st.lists(st.lists(stretches(pieces), min_size=1, max_size=5), min_size=1, max_size=6))
    answer(engine, *[(*PREFIX, *spans, QUESTION) for spans in prompts], n=3)
    assert n_used(engine) == engine.context.n_cells - engine.pool.book.n_free, "our book and llama.cpp agree"
    assert is_empty(engine)


def stretches(pieces: list[Piece]) -> st.SearchStrategy[Cached | Text]:
    def of(piece: Piece) -> st.SearchStrategy[Cached]:
        ends = st.tuples(st.integers(0, len(piece) - 1), st.integers(1, len(piece)))
        return ends.map(lambda pair: Cached(piece, min(pair[0], pair[1] - 1), max(pair[0] + 1, pair[1])))

    return st.one_of(st.sampled_from(pieces).flatmap(of), st.just(Text("- ")))


def test_a_cancelled_answer_leaves_no_cell_behind(engine: Engine) -> None:
    ferry = engine.piece(PREFIX, (Text(FERRY),))
    streams = engine.generate([(*PREFIX, Cached(ferry, 3), QUESTION)] * 2, Sampling(max_tokens=30))
    next(iter(streams[0]))
    for stream in streams:
        stream.cancel()
    assert is_empty(engine)


# ---------------------------------------------------------------------------------------------------------- together
def test_prompts_in_one_batch_do_not_see_one_another(engine: Engine) -> None:
    hives, ferry = (engine.piece(PREFIX, (Text(text),)) for text in (HIVES, FERRY))
    prompts: list[Prompt] = [
        (*PREFIX, Cached(hives, 5, 40), Cached(ferry), QUESTION),
        (*PREFIX, Cached(ferry, 10), Text("Also: "), Cached(hives, 0, 12), QUESTION),
        (*PREFIX, Text(HIVES), QUESTION),
        (*PREFIX, Cached(ferry), Cached(hives), Text("Which?")),
    ]
    alone = []
    for prompt in prompts:
        engine.pool.forget()
        alone += answer(engine, prompt, n=12)
    engine.pool.forget()
    before = engine.batcher.n_steps
    assert answer(engine, *prompts, n=12) == alone
    assert engine.batcher.n_steps - before < 12 * len(prompts), "in common calls"
    assert len(set(alone)) > 1


def test_scores_and_ablations_go_on_from_composed_cells(engine: Engine) -> None:
    ferry = engine.piece(PREFIX, (Text(FERRY),))
    composed: Prompt = (*PREFIX, Text("Hm. "), Cached(ferry, 4), QUESTION)
    expected = [engine.next_logprobs((*composed, Text(end)))[ord("7")] for end in ("a", "b")]
    assert engine.score(composed, ["a", "b"], ["7"])[:, 0] == pytest.approx(expected, abs=5e-3)
    suffixes: list[Prompt] = [(Cached(ferry, 4), QUESTION, Text(end)) for end in ("a", "b")]
    assert engine.score((*PREFIX, Text("Hm. ")), suffixes, ["7"])[:, 0] == pytest.approx(expected, abs=5e-3)
    n = engine.count(composed)
    tail = n - engine.count((QUESTION,))
    whole, without = engine.ablate(composed, (Text("7"),), [(0, 0), (tail - 20, tail)], tail)[:, 0]
    assert whole == pytest.approx(engine.next_logprobs(composed)[ord("7")], abs=5e-3)
    assert abs(without - whole) > 1e-4
    log_p = engine.logprobs((*composed, Text("abc")))
    assert np.isnan(log_p).sum() == len(ferry) - 4 + 1, "cached cells, and the one behind them"
    assert np.isfinite(log_p[-3:]).all()


def test_attention_to_cached_cells_is_that_to_read_ones(engine: Engine) -> None:
    ferry = engine.piece(PREFIX, (Text(FERRY),))
    read = engine.attend((*PREFIX, Text(FERRY)), (QUESTION,)).mass
    engine._probe._keys = np.empty(0, np.int64)  # type: ignore[union-attr]  # nothing is shared with the prompt before
    placed = engine.attend((*PREFIX, Cached(ferry)), (QUESTION,)).mass
    assert np.abs(read - placed).max() < 1e-2
    moved = engine.attend((*PREFIX, Text("Hm. "), Cached(ferry)), (QUESTION,)).mass
    assert moved.shape[2] == read.shape[2] + 4
    plain = engine.attend((*PREFIX, Text("Hm. "), Text(FERRY)), (QUESTION,)).mass
    assert np.abs(moved - plain).mean() < 0.5 * np.abs(np.roll(moved, 7, 2) - plain).mean()


# ------------------------------------------------------------------------------------------------------ what is wrong
def test_a_prompt_must_end_in_a_token_that_is_read(engine: Engine) -> None:
    ferry = engine.piece(PREFIX, (Text(FERRY),))
    prompt: Prompt = (*PREFIX, Cached(ferry))
    with pytest.raises(ModelError, match="ends in cached cells: put at least one token behind them"):
        engine.generate([prompt], Sampling())
    with pytest.raises(ModelError, match="ends in cached cells"):
        engine.next_logprobs(prompt)
    with pytest.raises(ModelError, match="ends in cached cells"):
        engine.score(prompt, [""], ["7"])
    with pytest.raises(ModelError, match="hold cached cells, which are not read"):
        engine.embed([prompt])
    with pytest.raises(ValueError, match=r"must lie in \[0, \d+\), were: \[5, 5\)"):
        Cached(ferry, 5, 5)


def test_a_piece_is_text(engine: Engine) -> None:
    with pytest.raises(ModelError, match="at least one token, and neither soft vectors nor cached cells"):
        engine.piece(PREFIX, ())
    with pytest.raises(ModelError, match="at least one token"):
        engine.piece(PREFIX, (Soft(np.ones((2, 128), np.float32)),))
    with pytest.raises(ModelError, match=r"a piece of \d+ tokens behind 30 does not fit the window of 1024"):
        engine.piece(PREFIX, (Text("a" * 1000),))


def test_cells_of_other_settings_are_refused(engine: Engine) -> None:
    ferry = engine.piece(PREFIX, (Text(FERRY),))
    with (
        open_engine(EngineSettings(n_ctx=256, kv_k="f32", threads=1), engine.path) as other,
        pytest.raises(ModelError, match=r"read by another model than random-0\.gguf, or with other settings"),
    ):
        other.generate([(*PREFIX, Cached(ferry), QUESTION)], Sampling(max_tokens=1))


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"kv_unified": "off"}, "each sequence has a cache of its own"),
        ({"kv_k": "q8_0"}, r"can move keys in f16 or f32 alone \(kv_k: q8_0\)"),
        ({"rope_scaling": "yarn", "rope_factor": 2.0}, "moving some cells changes others"),
        ({"rope_scaling": "linear", "rope_factor": 2.0}, None),
        ({"kv_v": "q8_0"}, None),
        ({"flash_attention": "off"}, None),
    ],
    ids=str,
)
def test_it_says_why_cells_cannot_be_put_together(engine: Engine, changed: dict[str, str], why: str | None) -> None:
    with open_engine(EngineSettings(n_ctx=256, n_seq_max=2, threads=1, **changed), engine.path) as other:  # type: ignore[arg-type]
        if why is None:
            assert other.why_not_compose == ""
            ferry = other.piece(PREFIX, (Text(FERRY),))
            assert answer(other, (*PREFIX, Text("Hm. "), Cached(ferry), QUESTION))
        else:
            with pytest.raises(ModelError, match=f"its cells cannot be put together: .*{why}"):
                other.piece(PREFIX, (Text(FERRY),))


def test_a_state_is_cut_as_llama_cpp_would_save_the_part(engine: Engine) -> None:
    ferry = engine.piece(PREFIX, (Text(FERRY),))
    part = State.parse(cut(ferry.state, ferry.position + 3, ferry.position + 9))
    assert part.caches[0].positions.tolist() == list(range(ferry.position + 3, ferry.position + 9))
    for damage in (ferry.state[:-5], ferry.state[:20], np.concatenate([ferry.state, ferry.state[:3]])):
        with pytest.raises(ValueError, match="another layout than is known here"):
            State.parse(damage)


# --------------------------------------------------------------------------------------------------------------- zoo
CANNOT = {
    "gpt2": "learned positions",
    "lfm2": "recurrent layers",
    "mamba": "recurrent layers",
    "qwen35": "recurrent layers",
}


@needs_zoo
@pytest.mark.parametrize("path", TINY, ids=lambda path: path.stem)
def test_each_file_of_the_zoo_says_whether_it_can_compose(path: Path) -> None:
    given_settings = EngineSettings(model=str(path), n_ctx=256, threads=1, n_seq_max=2, n_cached=2)
    try:
        opened = open_engine(given_settings, path)
    except ModelError:
        pytest.skip("it does not open: test_zoo.py says why")
    with opened as engine:
        verdict = judge(engine)
        if reason := CANNOT.get(path.stem):
            assert reason in verdict.why
            return
        assert verdict.why == ""
        assert verdict.kl < 0.01
        prefix, text, end = (Text("The garden has "),), Text("seven hives and nine frames. "), Text("The hives")
        engine.pieces.store.max_disk_bytes = 0
        piece = engine.piece(prefix, (text,))
        assert answer(engine, (Text("One more: "), Cached(piece, 1), end))
