"""Sentences that come back are not embedded again, and give what they gave."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Thread

import numpy as np
import pytest

from compressors.sentences import similarities
from pipeline.contracts import Progress
from pipeline.retrieval import remembered
from pipeline.retrieval.embedder import open_embedder
from pipeline.retrieval.remembered import Kept
from tests.compressors.workbench import WordCounts, passage

SAID = ("The lighthouse was lit in 1839.", "Its keeper had nine cats.", "The sea froze in the winter of 1841.")


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept from other tests."""
    monkeypatch.setattr(remembered, "KEPT", Kept())


class Counting(WordCounts):
    """Notes every text that it reads."""

    def __init__(self, fingerprint: str = "word counts") -> None:
        self.fingerprint = fingerprint
        self.read: list[str] = []

    def embed(self, texts: Sequence[str], progress: Progress | None = None) -> np.ndarray:
        self.read += texts
        return super().embed(texts, progress)

    def token_vectors(self, texts: Sequence[str]) -> tuple[np.ndarray, list[np.ndarray]]:
        self.read += texts
        plain = WordCounts()
        return plain.embed(texts), [plain.embed(text.split()) for text in texts]


def test_only_what_is_new_is_read() -> None:
    embedder = Counting()
    first = remembered.embed(embedder, ["a", "b", "a"])
    second = remembered.embed(embedder, ["b", "c"])
    assert embedder.read == ["a", "b", "c"]
    assert np.array_equal(first, WordCounts().embed(["a", "b", "a"]))
    assert np.array_equal(second, WordCounts().embed(["b", "c"]))


def test_token_vectors_are_read_once_more_where_only_the_text_had_been() -> None:
    embedder = Counting()
    remembered.embed(embedder, ["one two"])
    _, (states,) = remembered.token_vectors(embedder, ["one two"])
    remembered.token_vectors(embedder, ["one two"])
    remembered.embed(embedder, ["one two"])
    assert embedder.read == ["one two", "one two"]
    assert states.shape == (2, WordCounts.dimension)


def test_two_embedders_keep_apart() -> None:
    one, other, same = Counting(), Counting("other words"), Counting()
    remembered.embed(one, ["a"])
    remembered.embed(other, ["a"])
    remembered.embed(same, ["a"])
    assert one.read == other.read == ["a"]
    assert same.read == []


def test_no_more_is_kept_than_there_is_room_for_and_the_last_wanted_stay() -> None:
    row = 4 * WordCounts.dimension
    kept, embedder = Kept(room=3 * row), Counting()

    def ask(*texts: str) -> None:
        kept.rows("x", texts, lambda new: [remembered._Row(v.copy()) for v in embedder.embed(new)], lambda row: True)

    ask("a", "b", "c")
    ask("a")
    ask("d")
    assert len(kept) == 3
    assert kept.n_bytes == 3 * row
    ask("a", "c", "d")
    assert embedder.read == ["a", "b", "c", "d"]
    ask("b")
    assert embedder.read[-1] == "b"


def test_more_than_there_is_room_for_in_one_question_is_still_answered() -> None:
    kept, embedder = Kept(room=1), Counting()
    rows = kept.rows("x", SAID, lambda new: [remembered._Row(v.copy()) for v in embedder.embed(new)], lambda row: True)
    assert np.array_equal([row.vector for row in rows], WordCounts().embed(SAID))
    assert (len(kept), kept.n_bytes) == (0, 0)


def test_threads_that_ask_at_once_get_their_own() -> None:
    embedder, found = WordCounts(), {}

    def ask(n: int) -> None:
        for k in range(50):
            texts = [f"{n} {k}", f"all {k}", f"{n}"]
            found[n, k] = np.array_equal(remembered.embed(embedder, texts), WordCounts().embed(texts))

    threads = [Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 400
    assert all(found.values())


@pytest.mark.parametrize("text", ["", "\ud800", "a" * 50])
def test_any_text_has_a_place(text: str) -> None:
    assert remembered.embed(WordCounts(), [text]).shape == (1, WordCounts.dimension)


def test_minilm_says_the_same_of_what_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [passage(text) for text in SAID]
    embedder = open_embedder("minilm")
    fresh = similarities("When was the lighthouse lit?", parts, embedder)
    with monkeypatch.context() as patch:
        patch.setattr(embedder, "token_vectors", lambda texts: pytest.fail("everything is known"))
        again = similarities("When was the lighthouse lit?", parts[::-1], embedder)[::-1]
    assert np.allclose(fresh, again, atol=1e-6)
    monkeypatch.setattr(remembered, "KEPT", Kept())
    alone = similarities("When was the lighthouse lit?", parts[:1], embedder)
    assert np.allclose(alone, fresh[:1], atol=1e-5)
