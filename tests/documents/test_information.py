"""Chunks of equal information: few tokens where each says much, and a new chunk where a new topic begins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.documents.chunking import Chunker
from pipeline.documents.information import Bits, ModelBits, Unit, _windows, pack_information
from pipeline.documents.markdown import headings
from pipeline.errors import ModelError
from pipeline.types import Document, Passage
from tests.documents import counting


@dataclass(frozen=True)
class BitsOfWords:
    """Bits by arithmetic: a word takes its own number, or 4 bits; nothing before a topic saves any of its bits."""

    name: str = "words"
    topics: tuple[str, ...] = field(default=())

    def __call__(self, text: str, spans: Sequence[tuple[int, int]]) -> list[Bits]:
        return [self.bits(text[start:end]) for start, end in spans]

    def bits(self, sentence: str) -> Bits:
        values = [float(word.strip(".")) if word.strip(".").isdigit() else 4.0 for word in sentence.split()]
        return Bits(sum(values), 0.0 if sentence.startswith(self.topics) and self.topics else 4.0)


def cut(text: str, tokens: int, informed: BitsOfWords) -> list[Passage]:
    document = Document("/d", text, "markdown", headings=headings(text))
    passages = Chunker(tokens, chunks="information", informed=informed).chunk(document, counting.words, 1000)
    assert all(passage.text == text[passage.start : passage.end] for passage in passages)
    assert "".join("".join(p.text.split()) for p in passages) == "".join(text.split())
    return passages


def test_where_words_say_more_a_chunk_has_fewer_of_them() -> None:
    dense, thin = "many 16 16 16. " * 30, "few 1 1 1. " * 60
    sizes = {"many": [], "few": []}  # type: dict[str, list[int]]
    for passage in cut(dense + thin, 60, BitsOfWords()):
        sizes[passage.text.split()[0]].append(len(passage.text.split()))
    assert max(sizes["many"]) < min(sizes["few"][:-1])


def test_a_chunk_begins_where_a_topic_does_and_not_after_equal_shares() -> None:
    """By bits alone, the three chunks would have nine sentences each."""
    counts = {"Goat": 7, "Salt": 10, "Lamp": 10}
    sentences = [f"{name if n == 0 else name.lower()} so is here now." for name in counts for n in range(counts[name])]
    passages = cut(" ".join(sentences), 60, BitsOfWords(topics=tuple(counts)))
    assert [len(passage.text.split(". ")) for passage in passages] == list(counts.values())


@pytest.mark.parametrize(("room", "ends_in_it"), [(40, False), (60, False), (9, True)])
def test_a_heading_ends_a_chunk_only_where_what_follows_does_not_fit(room: int, ends_in_it: bool) -> None:
    """The clearest topic begins behind the heading, so that it alone would have the chunk begin there."""
    plain, heading, topic = Unit(5, Bits(20.0, 4.0)), Unit(5, Bits(20.0, 8.0), is_heading=True), Unit(5, Bits(20.0, 0))
    units = [*[plain] * 6, heading, topic, *[plain] * 6]
    spans = pack_information(units, room)
    assert any(units[last - 1].is_heading for _, last in spans) is ends_in_it


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 60), st.floats(0, 400), st.floats(0, 20), st.booleans()), max_size=40))
def test_units_are_all_packed_in_order_and_none_but_a_single_one_is_over_the_limit(
    values: list[tuple[int, float, float, bool]],
) -> None:
    units = [Unit(n, Bits(bits, opening), heading) for n, bits, opening, heading in values]
    spans = pack_information(units, 50)
    assert [n for first, last in spans for n in range(first, last)] == list(range(len(units)))
    assert all(last - first == 1 or sum(u.tokens for u in units[first:last]) <= 50 for first, last in spans)


def test_bits_that_nobody_knows_and_none_at_all() -> None:
    units = [Unit(10, Bits(0.0, math.nan)) for _ in range(12)]
    assert [n for first, last in pack_information(units, 40) for n in range(first, last)] == list(range(12))
    assert pack_information([], 40) == []


def test_windows_measure_each_span_once_behind_context() -> None:
    counts = [100] * 40 + [5000] + [10] * 10
    windows = _windows(counts)
    assert [n for _, fresh, last in windows for n in range(fresh, last)] == list(range(len(counts)))
    assert all(first <= fresh < last for first, fresh, last in windows)
    assert windows[1][1] - windows[1][0] == 2


def test_an_overlap_and_an_unknown_model_are_refused() -> None:
    with pytest.raises(ValueError, match="overlap must be 0 with chunks: information, was: 8"):
        Chunker(overlap=8, chunks="information")
    with pytest.raises(ModelError, match="no-such-model"):
        ModelBits("no-such-model")("One two.", [(0, 8)])


def test_the_model_finds_a_change_of_topic_surprising() -> None:
    harbour = "The ferry leaves the harbour at nine. It carries passengers and cars. The crossing takes an hour."
    strange = "Enzymes are proteins that speed up reactions in a cell."
    text = f"{harbour} The ferry returns to the harbour at noon. {strange}"
    edges = [0, *(n + 2 for n in range(len(text)) if text.startswith(". ", n)), len(text) + 1]
    spans = [(a, b - 1) for a, b in pairwise(edges)]
    bits = ModelBits()(text, spans)
    assert len(bits) == 5
    assert all(0 < value.total < 400 for value in bits)
    assert bits[4].saved < min(value.saved for value in bits[1:4]) - 1
