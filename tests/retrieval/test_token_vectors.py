"""Token vectors on disk: what is read once is not read again, forgotten with its text, and near to what was read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.retrieval import remembered
from pipeline.retrieval.token_vectors import TextVectors, TokenVectors, delete_vectors, kept_vectors
from pipeline.retrieval.token_windows import Block, token_states
from pipeline.storage.kept_cells import forget_text
from tests.compressors.workbench import WordCounts
from tests.retrieval.folders import update, write
from tests.retrieval.letters import Letters

TEXT = "The ferry sails from the quay. In winter it leaves at nine."


class Counting(WordCounts):
    """An embedder that counts the texts that it reads."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def token_vectors(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        self.texts += texts
        return super().token_vectors(texts)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path))
    monkeypatch.setattr(remembered, "KEPT", remembered.Kept())
    return tmp_path


def rows(n: int, seed: int = 0) -> TextVectors:
    values = np.random.default_rng(seed).normal(size=(n + 1, 384)).astype(np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return TextVectors(values[0], values[1:])


@pytest.mark.parametrize(("form", "tolerance", "n_bytes"), [("float16", 1e-3, 768), ("int8", 5e-3, 388)])
def test_what_is_kept_is_near_to_what_was_read(
    cache: Path, monkeypatch: pytest.MonkeyPatch, form: str, tolerance: float, n_bytes: int
) -> None:
    monkeypatch.setenv("LONGTHREAD_TOKEN_VECTORS", form)
    store = kept_vectors("an embedder")
    assert store is not None
    vectors = rows(200)
    store.put(TEXT, vectors)
    found = store.get(TEXT)
    assert found is not None
    assert found.vector == pytest.approx(vectors.vector)
    assert np.abs(np.sum(found.tokens * vectors.tokens, axis=1) - 1).max() < tolerance
    (path,) = cache.rglob("*.kv")
    assert abs(path.stat().st_size - 200 * n_bytes) < 3000
    assert path.stat().st_mode & 0o077 == 0
    assert store.get(TEXT + " ") is None


def test_a_passage_is_read_once_for_all_processes_and_a_question_is_never_kept(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGTHREAD_TOKEN_VECTORS", "float16")
    embedder, block = Counting(), Block("", TEXT, ((0, 30), (31, len(TEXT))))
    first = token_states("When does it leave?", [block], embedder)
    monkeypatch.setattr(remembered, "KEPT", remembered.Kept())  # as in another process
    second = token_states("When does it leave?", [block], embedder)
    assert embedder.texts == ["When does it leave?", TEXT, "When does it leave?"]
    for (one,), (other,) in zip(first.sentences, second.sentences, strict=True):
        assert other == pytest.approx(one, abs=1e-3)
    assert not any(b"When does it leave" in path.read_bytes() for path in cache.rglob("*.kv"))


def test_nothing_is_kept_unless_it_is_asked_for(cache: Path) -> None:
    token_states("When does it leave?", [Block("", TEXT, ((0, 30),))], Counting())
    assert not list(cache.rglob("*.kv"))


def test_a_forgotten_text_is_in_no_file(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTHREAD_TOKEN_VECTORS", "int8")
    store = kept_vectors("an embedder")
    assert store is not None
    store.put(TEXT, rows(9))
    store.put("Another text.", rows(3))
    assert forget_text("leaves AT  nine") == 1
    assert store.get(TEXT) is None
    assert store.get("Another text.") is not None


def test_vectors_of_chunks_that_are_gone_are_deleted(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTHREAD_TOKEN_VECTORS", "int8")
    store = kept_vectors("an embedder")
    assert store is not None
    for text in (f"The ferry: a book: {TEXT}", "The town: It has a mayor."):
        store.put(text, rows(9))
    assert delete_vectors([f"# Times\n\n{TEXT}\n"]) == 1
    assert store.get("The town: It has a mayor.") is not None
    assert delete_vectors([]) == 0


FIRST, SECOND = "The ferry sails at seven. It costs 14 marks.", "Dogs travel free. Bicycles pay two marks."


@pytest.mark.parametrize(
    "stretch",
    [
        f"# Times\n\n{FIRST}\n\n{SECOND}\n\nThe deck is wet.",
        f"A ferry: {FIRST} {SECOND}",
        f"It costs 14 marks. {SECOND} The deck is wet.",
        "Bicycles pay two marks. The deck is wet.",
        f"{FIRST} Dogs travel free.",
        f"A ferry: a book: Two marks. {FIRST} Dogs travel",
    ],
)
def test_what_a_section_holds_of_a_lost_chunk_is_deleted(
    cache: Path, monkeypatch: pytest.MonkeyPatch, stretch: str
) -> None:
    monkeypatch.setenv("LONGTHREAD_TOKEN_VECTORS", "int8")
    store = kept_vectors("an embedder")
    assert store is not None
    others = (f"The ferry: {FIRST}", "The deck is wet.", "Dogs and two marks: it costs nothing.")
    for text in (stretch, *others):
        store.put(text, rows(9))
    assert delete_vectors([SECOND]) == 1
    assert store.get(stretch) is None
    assert all(store.get(text) is not None for text in others)


def test_a_document_that_leaves_an_index_takes_the_vectors_of_its_sections_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but vectors is kept: no cells of passages."""
    monkeypatch.setenv("LONGTHREAD_TOKEN_VECTORS", "int8")
    store = kept_vectors("an embedder")
    assert store is not None
    docs, embedder = write(tmp_path / "docs", {"a.txt": SECOND, "b.txt": FIRST}), Letters()
    update(tmp_path / "index", docs, embedder)
    section = f"Before it. {SECOND} And behind it."
    store.put(section, rows(9))
    (docs / "a.txt").unlink()
    update(tmp_path / "index", docs, embedder)
    assert store.get(section) is None


def test_a_damaged_file_is_read_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTHREAD_TOKEN_VECTORS", "int8")
    store = kept_vectors("an embedder")
    assert store is not None
    store.put(TEXT, rows(9))
    (path,) = cache.rglob("*.kv")
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    assert store.get(TEXT) is None


def test_the_least_recently_used_goes_beyond_the_limit(cache: Path) -> None:
    store = TokenVectors(cache / "token_vectors" / "a", "float16", 40_000)
    for n in range(5):
        store.put(f"text {n}", rows(20, n))
    store.evict()
    assert sum(path.stat().st_size for path in cache.rglob("*.kv")) <= 40_000
    assert store.get("text 4") is not None


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("LONGTHREAD_TOKEN_VECTORS", "yes", "LONGTHREAD_TOKEN_VECTORS must be off, float16 or int8, was: yes"),
        (
            "LONGTHREAD_TOKEN_VECTORS_MB",
            "0",
            "LONGTHREAD_TOKEN_VECTORS_MB must be a number of megabytes above 0, was: 0",
        ),
    ],
)
def test_bad_settings(monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str) -> None:
    monkeypatch.setenv("LONGTHREAD_TOKEN_VECTORS", "int8")
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message):
        kept_vectors("an embedder")
