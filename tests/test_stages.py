from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.retrieval.bm25 import Bm25
from pipeline.retrieval.hybrid import Hybrid
from pipeline.stages import note_language, uncovered

intervals = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda pair: (min(pair), max(pair))))


def test_uncovered_by_example() -> None:
    assert uncovered(10, 20, [(12, 14), (18, 30)]) == [(10, 12), (14, 18)]
    assert uncovered(10, 20, []) == [(10, 20)]
    assert uncovered(10, 20, [(0, 15), (5, 25)]) == []


@given(st.integers(0, 30), st.integers(0, 30), intervals)
def test_uncovered_is_what_a_set_says(start: int, length: int, covers: list[tuple[int, int]]) -> None:
    end = start + length
    expected = set(range(start, end)) - {i for low, high in covers for i in range(low, high)}
    found = uncovered(start, end, covers)
    assert {i for low, high in found for i in range(low, high)} == expected
    assert all(low < high for low, high in found)
    assert found == sorted(found)


@pytest.mark.parametrize(
    ("component", "embedder", "question", "is_noted"),
    [
        (Hybrid(), "minilm", "Wie viele Mitglieder hat der Verein?", True),
        (Hybrid(), "minilm", "How many members does the club have?", False),
        (Hybrid(), "bge-m3.gguf", "Wie viele Mitglieder hat der Verein?", False),
        (Bm25(), "minilm", "Wie viele Mitglieder hat der Verein?", False),
    ],
)
def test_a_question_in_another_language_than_the_embedder_is_noted(
    component: Any, embedder: str, question: str, is_noted: bool
) -> None:
    notes: list[str] = []
    runtime: Any = SimpleNamespace(embedder=SimpleNamespace(name=embedder), note=lambda text, once: notes.append(text))
    note_language(component, question, runtime)
    assert [note.startswith("the question looks German, and the embedder minilm") for note in notes] == [
        True
    ] * is_noted
