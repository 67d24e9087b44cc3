"""Chroma's search against the exact one."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.retrieval.vectors import Vectors


def unit(x: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)


def cloud(n: int, seed: int) -> NDArray[np.float32]:
    """Unit vectors around 100 centres, as texts on some topics have them."""
    centres = np.random.default_rng(0).normal(size=(100, 384))
    rng = np.random.default_rng(seed)
    return unit(centres[rng.integers(0, 100, n)] + rng.normal(size=(n, 384)))


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Vectors, NDArray[np.float32], list[str]]:
    vectors = cloud(5000, 1)
    sources = [f"/docs/{row // 50}.txt" for row in range(5000)]
    store = Vectors(tmp_path_factory.mktemp("chroma"), create=True)
    for start in range(0, 5000, 700):
        part = slice(start, start + 700)
        store.add([str(row) for row in range(5000)[part]], sources[part], vectors[part])
    return store, vectors, sources


@pytest.mark.parametrize("n_sources", [None, 1, 3, 60])
def test_search_finds_what_the_exact_search_finds(
    stored: tuple[Vectors, NDArray[np.float32], list[str]], n_sources: int | None
) -> None:
    store, vectors, sources = stored
    some = sources if n_sources is None else sorted(set(sources))[:n_sources]
    rows = np.array([row for row in range(5000) if sources[row] in some])
    allowed = None if n_sources is None else [str(row) for row in rows]
    n_found = n_expected = 0
    for question in cloud(30, 2):
        cosines = vectors[rows] @ question
        expected = rows[np.argsort(-cosines, kind="stable")[:20]]
        found = store.search(question, 20, allowed)[:20]
        n_found += len({int(id_) for id_, _ in found} & set(expected.tolist()))
        n_expected += len(expected)
        assert [score for _, score in found] == pytest.approx(
            [float(vectors[int(id_)] @ question) for id_, _ in found], abs=2e-6
        )
    assert n_found / n_expected >= 0.999


def test_among_many_ids_neighbours_are_sifted_here(
    stored: tuple[Vectors, NDArray[np.float32], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _, sources = stored
    question = cloud(1, 4)[0]
    for n in (1, 60):
        some = sorted(set(sources))[:n]
        allowed = [str(row) for row in range(5000) if sources[row] in some]
        expected = store.search(question, 20, allowed)[:20]
        with monkeypatch.context() as patch:
            patch.setattr("pipeline.retrieval.vectors._MOST_IDS", 0)
            assert store.search(question, 20, allowed)[:20] == expected


def test_vectors_come_back_as_they_were_given(stored: tuple[Vectors, NDArray[np.float32], list[str]]) -> None:
    store, vectors, _ = stored
    assert np.abs(store.get(["17", "3", "4999"]) - vectors[[17, 3, 4999]]).max() < 1e-6


def test_what_is_deleted_is_not_found(stored: tuple[Vectors, NDArray[np.float32], list[str]]) -> None:
    store, _, _ = stored
    question = cloud(1, 3)[0]
    best = [id_ for id_, _ in store.search(question, 5)[:5]]
    kept = store.get(best)
    store.delete(best[:2])
    assert [id_ for id_, _ in store.search(question, 3)[:3]] == best[2:]
    assert len(store.ids()) == 4998
    store.add(best[:2], ["/docs/0.txt"] * 2, kept[:2])


def test_a_transaction_that_a_killed_process_left_is_rolled_back(tmp_path: Path) -> None:
    store = Vectors(tmp_path, create=True)
    store.add(["a", "b"], ["x.txt", "x.txt"], cloud(2, 5))
    store.close()
    script = (
        "import os, signal, sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None); "
        "db.execute('PRAGMA cache_size = 1'); db.execute('BEGIN'); db.execute('CREATE TABLE half (x)'); "
        "db.executemany('INSERT INTO half VALUES (?)', [('y' * 4000,)] * 50); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "chroma.sqlite3")], check=False)
    assert (tmp_path / "chroma.sqlite3-journal").stat().st_size > 0
    again = Vectors(tmp_path)
    assert again.ids() == {"a", "b"}
    again.close()
