"""Leave-one-out on real weights: the fast path against the slow one, waves, cells left behind, characters of tokens."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ModelError
from pipeline.models.engine import Engine, open_engine
from pipeline.models.settings import EngineSettings
from pipeline.models.weights import Vocabulary
from pipeline.types import Prompt, Soft, Text
from tests.models.test_engine import all_cells_are_free, text

PROMPT: Prompt = tuple(
    Text(f" {words}")
    for words in (text(24), "The bell at Aldmoor was cast in 1904.", text(30, 5), "When was the bell at Aldmoor cast?")
)
TARGET: Prompt = (Text(" It was cast"), Text(" in 1904."))


def edges(engine: Engine) -> list[int]:
    """The cells at which the spans of the prompt begin, and the number of all."""
    return [engine.count(PROMPT[:n]) for n in range(len(PROMPT) + 1)]


def without(engine: Engine, cut: tuple[int, int], tail: int) -> np.ndarray:
    """The slow path: the prompt is read, the cut removed, and all from the tail on read again."""
    whole = (*PROMPT, *TARGET)
    return engine.logprobs(whole, tail + 1, cut)[-engine.count(TARGET) :]


def test_a_hidden_stretch_gives_what_reading_and_removing_it_gives(exact: Engine) -> None:
    _, second, third, tail, _ = edges(exact)
    cuts = [(0, second), (second, third), (second + 3, third - 1)]
    fast = exact.ablate(PROMPT, TARGET, cuts, tail)
    assert fast.shape == (3, exact.count(TARGET))
    np.testing.assert_allclose(fast, [without(exact, cut, tail) for cut in cuts], atol=0.02)
    assert fast[1].sum() < fast[0].sum() - 1  # the passage that says the year


def test_an_empty_cut_gives_what_the_whole_prompt_gives(exact: Engine) -> None:
    *_, tail, n = edges(exact)
    (row,) = exact.ablate(PROMPT, TARGET, [(0, 0)], tail)
    np.testing.assert_allclose(row, exact.logprobs((*PROMPT, *TARGET), n), atol=0.02)


def test_a_cut_up_to_the_tail_gives_what_a_prompt_without_it_gives(exact: Engine) -> None:
    """Nothing behind it can have taken it in, and the tail moves up."""
    _, second, _, tail, _ = edges(exact)
    (row,) = exact.ablate(PROMPT, TARGET, [(second, tail)], tail)
    shorter = (PROMPT[0], PROMPT[3])
    np.testing.assert_allclose(row, exact.logprobs((*shorter, *TARGET), exact.count(shorter)), atol=0.02)


def test_an_ending_stands_in_the_place_of_the_prompts(exact: Engine) -> None:
    _, second, third, tail, _ = edges(exact)
    ending = (Text(" Say when the bell was cast:"),)
    rows = exact.ablate(PROMPT, TARGET, [(0, 0), (second, third), (second, third)], tail, [ending, None, PROMPT[3:]])
    prompt = (*PROMPT[:3], *ending)
    np.testing.assert_allclose(rows[0], exact.logprobs((*prompt, *TARGET), exact.count(prompt)), atol=0.02)
    np.testing.assert_allclose(rows[1:], [without(exact, (second, third), tail)] * 2, atol=0.02)
    with pytest.raises(ModelError, match="ablate: an ending must have at least one token"):
        exact.ablate(PROMPT, TARGET, [(0, 0)], tail, [()])


def test_with_few_sequences_and_cells_it_takes_several_waves_and_gives_the_same(exact: Engine, f16: Path) -> None:
    _, _, third, tail, n = edges(exact)
    cuts = [(0, 0), *((low, low + 9) for low in range(0, third, 9))]
    expected = exact.ablate(PROMPT, TARGET, cuts, tail)
    tight = EngineSettings(n_ctx=256, n_cells=256, n_batch=32, n_ubatch=32, n_seq_max=1, n_cached=1)
    with open_engine(tight, f16) as engine:
        before = engine.n_decoded
        np.testing.assert_allclose(engine.ablate(PROMPT, TARGET, cuts, tail), expected, atol=0.03)
        n_target = engine.count(TARGET)
        n_again = len(cuts[1:]) * (n - tail + n_target - 1) + n_target
        assert engine.n_decoded - before == n - 1 + n_again
        assert all_cells_are_free(engine)


def test_what_was_answered_is_not_read_again(exact: Engine) -> None:
    *_, tail, n = edges(exact)
    exact.pool.forget()
    exact.logprobs((*PROMPT, *TARGET))
    before = exact.n_decoded
    exact.ablate(PROMPT, TARGET, [(0, 5)], tail)
    assert exact.n_decoded - before == n - tail + exact.count(TARGET) - 1
    assert all_cells_are_free(exact)


@pytest.mark.parametrize(
    ("target", "cuts", "tail", "match"),
    [
        ((), [(0, 1)], 5, "target must have at least one token"),
        (TARGET, [(3, 2)], 5, r"a cut must lie in \[0, 5\), was: \(3, 2\)"),
        (TARGET, [(0, 6)], 5, r"a cut must lie in \[0, 5\), was: \(0, 6\)"),
        (TARGET, [(0, 1)], 9999, r"tail must be in \[0, \d+\), was: 9999"),
        ((Text(" word" * 3000),), [(0, 1)], 5, "raise n_ctx"),
    ],
    ids=["no target", "backwards", "behind the tail", "tail outside", "too long"],
)
def test_what_cannot_be_is_refused(
    shipped: Engine, target: Prompt, cuts: list[tuple[int, int]], tail: int, match: str
) -> None:
    with pytest.raises(ModelError, match=match):
        shipped.ablate(PROMPT, target, cuts, tail)


def test_soft_vectors_can_be_hidden_but_not_read_again(shipped: Engine) -> None:
    soft = Soft(np.zeros((4, shipped.weights.n_embd), np.float32))
    prompt: Prompt = (Text("Here is"), soft, Text(" and a question?"))
    low = shipped.count(prompt[:1])
    rows = shipped.ablate(prompt, TARGET, [(0, 0), (low, low + 4)], low + 4)
    assert np.isfinite(rows).all()
    with pytest.raises(ModelError, match="must be tokens, not soft vectors"):
        shipped.ablate(prompt, TARGET, [(0, 1)], low)


# ------------------------------------------------------------------------------------------------ characters of tokens
@pytest.fixture(scope="module")
def vocabulary(q4: Path) -> Vocabulary:
    return Vocabulary(q4)


def test_the_characters_of_tokens(vocabulary: Vocabulary) -> None:
    words = "The bell of Şişli: 34 µm 🐝."
    spans = vocabulary.token_spans(words)
    assert len(spans) == len(vocabulary.tokenize(words))
    assert words[slice(*spans[0])] == "The"
    assert words[slice(*spans[1])] == " bell"
    bee = words.index("🐝")
    assert [span for span in spans if span[0] <= bee < span[1]][-1] == (bee, bee + 1)


@given(st.text(max_size=40) | st.text(alphabet="ab .,\n19", max_size=40))
@settings(max_examples=60, deadline=None)
def test_tokens_cover_the_text_in_order(vocabulary: Vocabulary, words: str) -> None:
    spans = vocabulary.token_spans(words)
    assert len(spans) == len(vocabulary.tokenize(words))
    assert spans == sorted(spans)
    assert all(0 <= start <= end <= len(words) for start, end in spans)
    if words.isascii():  # six control characters are no tokens of this vocabulary
        spelt = [n for n, char in enumerate(words) if len(vocabulary.tokenize(char))]
        assert [n for start, end in spans for n in range(start, end)] == spelt


def test_a_character_that_the_vocabulary_cannot_spell_moves_no_other(vocabulary: Vocabulary) -> None:
    """Two of its four bytes are no tokens here."""
    words = "one \U00040000 two"
    assert sum(len(vocabulary.piece(token)) for token in vocabulary.tokenize(words)) < len(words.encode())
    spelt = [words[slice(*span)] for span in vocabulary.token_spans(words)]
    assert (spelt[0], spelt[-1]) == ("one", " two")
