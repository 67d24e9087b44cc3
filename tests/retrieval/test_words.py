import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.retrieval.word_index import WordIndex
from pipeline.text.words import words

TEXTS = [
    "The cat sat on the mat.",
    "Cats and dogs: the dog sat.",
    "A herring is a fish; herrings swim.",
    "the of and",
    "dog dog dog",
]


def bm25(question: str, texts: Sequence[str], k1: float = 1.5, b: float = 0.75) -> list[float]:
    """The formula of Robertson and Zaragoza 2009 with Lucene's idf, as it stands on paper."""
    bags = [Counter(words(text)) for text in texts]
    mean = sum(bag.total() for bag in bags) / len(bags)
    n = {word: sum(word in bag for bag in bags) for word in words(question)}
    idf = {word: math.log(1 + (len(bags) - n[word] + 0.5) / (n[word] + 0.5)) for word in n}

    def part(word: str, bag: Counter[str]) -> float:
        return idf[word] * bag[word] / (bag[word] + k1 * (1 - b + b * bag.total() / mean))

    return [sum(part(word, bag) for word in words(question)) for bag in bags]


def test_words_are_lower_cased_stemmed_and_without_stop_words() -> None:
    assert words("The Herons' NESTS, and 42 nesting herons; café") == ["heron", "nest", "42", "nest", "heron", "café"]
    assert words("to be or not to be, that is the") == []


def test_scores_are_those_of_the_formula() -> None:
    index = WordIndex.build(enumerate(TEXTS))
    found = index.search("sitting dogs and a cat", 5)
    expected = {row: score for row, score in enumerate(bm25("sitting dogs and a cat", TEXTS)) if score > 0}
    assert dict(found) == pytest.approx(expected, abs=1e-6)
    assert [row for row, _ in found] == sorted(expected, key=lambda row: -expected[row])


@given(
    st.lists(st.lists(st.sampled_from("fish ship rock lamp".split()), max_size=6), min_size=1, max_size=8),
    st.lists(st.sampled_from("fish ship rock lamp gull".split()), max_size=4),
)
def test_scores_of_any_texts_are_those_of_the_formula(texts: list[list[str]], question: list[str]) -> None:
    joined = [" ".join(text) for text in texts]
    found = WordIndex.build(enumerate(joined)).search(" ".join(question), 8)
    if any(joined):
        expected = {row: score for row, score in enumerate(bm25(" ".join(question), joined)) if score > 0}
        assert dict(found) == pytest.approx(expected, abs=1e-5)
    else:
        assert found == []


def test_a_passage_that_shares_no_word_is_no_result() -> None:
    index = WordIndex.build(enumerate(TEXTS))
    assert [row for row, _ in index.search("herring", 5)] == [2]
    assert index.search("the of and", 5) == []
    assert index.search("zebra", 5) == []
    assert WordIndex.build([]).search("cat", 5) == []
    assert WordIndex.build([(7, "the of")]).search("cat", 5) == []


def test_equal_scores_keep_the_order_of_the_rows_and_only_allowed_rows_count() -> None:
    index = WordIndex.build([(30, "red fish"), (10, "red fish"), (20, "red fish"), (5, "blue")])
    assert [row for row, _ in index.search("fish", 2)] == [30, 10]
    assert [row for row, _ in index.search("fish", 9, allowed=[20, 10, 5])] == [10, 20]
    assert index.search("fish", 9, allowed=[]) == []


@pytest.mark.parametrize("texts", [TEXTS, ["the", "of"], []], ids=["texts", "stop words", "nothing"])
def test_a_saved_index_says_the_same_and_only_for_its_generation(tmp_path: Path, texts: list[str]) -> None:
    index = WordIndex.build(enumerate(texts))
    index.save(tmp_path / "bm25", generation=3)
    index.save(tmp_path / "bm25", generation=4)
    loaded = WordIndex.load(tmp_path / "bm25", 4)
    assert loaded is not None
    assert loaded.search("sitting dogs", 5) == index.search("sitting dogs", 5)
    assert WordIndex.load(tmp_path / "bm25", 3) is None
    assert [path.name for path in tmp_path.iterdir()] == ["bm25"]
    assert not list(tmp_path.rglob("*.pickle")) + list(tmp_path.rglob("*.pkl"))
