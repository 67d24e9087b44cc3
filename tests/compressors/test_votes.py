"""Votes of a question's tokens: the arithmetic by hand, what is read at once, and what reading in context gains."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressors.selection import Units
from compressors.sentences import Sentences
from compressors.votes import nearest_tokens, votes
from pipeline.retrieval import remembered
from pipeline.retrieval.embedder import open_embedder
from pipeline.retrieval.remembered import Kept
from pipeline.types import Passage, Question
from tests.compressors.workbench import WordCounts, passage, scripted_runtime


class Noting(WordCounts):
    """Notes every text that it reads, and refuses those that are too long, as real embedders do."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def token_vectors(self, texts: Sequence[str]) -> tuple[np.ndarray, list[np.ndarray]]:
        self.read += texts
        assert max(self.count_tokens(texts)) <= self.max_tokens
        return super().token_vectors(texts)


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept from other tests."""
    monkeypatch.setattr(remembered, "KEPT", Kept())


def units_of(*passages: Passage) -> Units:
    with scripted_runtime() as runtime:
        return Units.of(passages, runtime)


def test_each_token_shares_one_vote() -> None:
    """The first token is near to the first unit alone, the second to both alike; exp(0.1 / 0.1) is e."""
    shares = votes(np.array([[0.9, 0.5], [0.8, 0.5]]), 0.1)
    first = math.e / (math.e + 1)
    assert shares == pytest.approx([(first + 0.5) / 2, (1 - first + 0.5) / 2])


def test_a_low_temperature_gives_the_whole_vote_to_the_nearest() -> None:
    nearest = np.array([[0.9, 0.1], [0.8, 0.7], [0.2, 0.6]])
    assert votes(nearest, 1e-3) == pytest.approx([0.5, 0.5, 0])
    assert votes(nearest, 1e3) == pytest.approx([1 / 3] * 3, abs=1e-3)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 8), st.integers(0, 6), st.floats(0.01, 2), st.integers(0, 1000))
def test_votes_are_shares(n_units: int, n_tokens: int, temperature: float, seed: int) -> None:
    shares = votes(np.random.default_rng(seed).uniform(-1, 1, (n_units, n_tokens)), temperature)
    assert shares.shape == (n_units,)
    assert shares.min() >= 0
    assert shares.sum() == pytest.approx(1)


def test_each_unit_is_asked_for_its_own_tokens() -> None:
    """In a title or in another sentence a word is not the sentence's own."""
    units = units_of(passage("The ferry sails. It leaves at nine.", 7, title="Harbour"), passage("Nothing sails."))
    shares = nearest_tokens("ferry nine harbour sails", units, WordCounts())
    assert shares.shape == (3, 4)
    assert (shares > 0.99).tolist() == [[True, False, False, True], [False, True, False, False], [False] * 3 + [True]]


def test_a_passage_is_read_whole_behind_its_title() -> None:
    embedder = Noting()
    nearest_tokens("nine", units_of(passage("The ferry sails. It leaves at nine.", 7, title="Harbour")), embedder)
    assert embedder.read == ["nine", "Harbour: The ferry sails. It leaves at nine."]


def test_what_is_too_long_is_read_in_parts_and_nothing_is_left_out() -> None:
    """150 words in sentences of three, and a giant sentence of 300, for an embedder that reads 64 at once."""
    words = [f"w{n}" for n in range(450)]
    small = " ".join(f"{' '.join(words[n : n + 3])}." for n in range(0, 150, 3))
    units = units_of(passage(small, title="A title"), passage(" ".join(words[150:]) + ".", source="b.txt"))
    assert len(units) == 51
    embedder = Noting()
    for index in (0, 75, 149, 150, 300, 449):
        nearest = nearest_tokens(words[index], units, embedder)[:, 0]
        assert int(nearest.argmax()) == min(index // 3, 50)
        assert nearest.max() > 0.99
    n_words = sum(len(text.removeprefix("A title: ").split()) for text in embedder.read[1:] if " " in text)
    assert n_words == 450


def test_a_title_that_is_too_long_is_not_read() -> None:
    embedder = Noting()
    nearest_tokens("a", units_of(passage("One. Two.", title="word " * 40)), embedder)
    assert embedder.read[1:] == ["One. Two."]


def test_nothing_to_ask_and_nothing_to_read() -> None:
    units = units_of(passage("One."), passage("  \n", source="b.txt"))
    assert nearest_tokens("", units, WordCounts()).shape == (2, 0)
    nearest = nearest_tokens("one", units, WordCounts())
    assert nearest[:, 0].tolist() == [pytest.approx(1, abs=0.01), -1]
    assert votes(nearest, 0.05)[0] > 0.99


def test_a_summary_is_read_where_its_text_is() -> None:
    """A passage that stands on spans elsewhere has a text that does not lie at its offsets."""
    summary = Passage("a.txt", 900, 990, "The ferry sails.", spans=(("a.txt", 900, 990),))  # type: ignore[arg-type]
    assert nearest_tokens("ferry", units_of(summary), WordCounts())[0, 0] > 0.99


def test_reading_in_the_document_says_what_a_pronoun_stands_for() -> None:
    """Both documents have the same sentence; alone it cannot be told apart, behind its document it can."""
    answer = "He died there in the winter of 1902."
    embedder = open_embedder("minilm")
    question = "When did the painter Gustav Lindqvist die?"

    def shares(*passages: Passage) -> np.ndarray:
        return votes(nearest_tokens(question, units_of(*passages), embedder), 0.05)

    alone = shares(passage(answer), passage(answer, source="b.txt"))
    painter = passage(f"Gustav Lindqvist was a Swedish painter of the sea. {answer}")
    baker = passage(f"The bakery was bought by a man from Lund. {answer}", source="b.txt")
    _, right, _, wrong = shares(painter, baker)
    assert alone[0] == pytest.approx(0.5, abs=1e-4)
    assert right > 1.5 * wrong


def test_sentences_can_be_kept_by_votes() -> None:
    """The second sentence gets both votes: 'ferry' stands in each, 'winter' in it alone."""
    given_ = [passage("The ferry is red. The ferry sails in winter. The captain is old.")]
    with scripted_runtime() as runtime:
        kept = Sentences(top_k=1, score="votes").compress(Question("ferry winter"), given_, runtime)
    assert [result.text for result in kept] == ["The ferry sails in winter."]
    assert kept[0].score == pytest.approx(0.75, abs=0.01)
