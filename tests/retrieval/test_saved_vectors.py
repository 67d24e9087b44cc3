"""The plain copy of a generation's vectors: the same answers as Chroma's, and never from a damaged file."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.retrieval import saved_vectors
from pipeline.retrieval.scope import Scope
from tests.retrieval.folders import QUESTIONS, generation, read, update, write
from tests.retrieval.letters import Letters

FILES = {
    f"{n}.txt": f"The boat number {n} lies in the {'harbour' if n % 3 else 'north'}, by {n * n} stones."
    for n in range(40)
}


@pytest.fixture
def index(tmp_path: Path) -> Path:
    update(tmp_path / "index", write(tmp_path / "docs", FILES), Letters())
    return tmp_path / "index"


def found(index: Path, glob: str | None = None) -> list[list[tuple[str, float]]]:
    with read(index, Letters()) as opened:
        return [
            [(p.text, p.score) for p in opened.search_dense(q, 8, Scope((glob,)) if glob else None)] for q in QUESTIONS
        ]


@pytest.mark.parametrize("glob", [None, "1[0-4].txt"])
def test_the_copy_finds_what_chroma_finds(index: Path, glob: str | None) -> None:
    by_copy = found(index, glob)
    assert {len(each) for each in by_copy} == {8 if glob is None else 5}
    (generation(index) / saved_vectors.NAME / "rows.npy").unlink()
    by_chroma = found(index, glob)
    assert [[text for text, _ in each] for each in by_copy] == [[text for text, _ in each] for each in by_chroma]
    scores = [np.array([[score for _, score in each] for each in way]) for way in (by_copy, by_chroma)]
    assert np.abs(scores[0] - scores[1]).max() < 2e-6


@pytest.mark.parametrize("name", ["rows.npy", "ids.json", "about.json"])
def test_a_damaged_copy_is_not_used(index: Path, name: str) -> None:
    expected = found(index)
    path = generation(index) / saved_vectors.NAME / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with read(index, Letters()) as opened:
        assert saved_vectors.load(opened.path, opened.n_chunks) is None
    assert [[text for text, _ in each] for each in found(index)] == [[text for text, _ in each] for each in expected]


def test_each_generation_has_the_copy_of_its_own_vectors(index: Path, tmp_path: Path) -> None:
    write(tmp_path / "docs", {"1.txt": "Salt is sold in sacks.", "new.txt": "A heron."})
    (tmp_path / "docs/2.txt").unlink()
    update(index, tmp_path / "docs", Letters())
    with read(index, Letters()) as opened:
        copy = saved_vectors.load(opened.path, opened.n_chunks)
        assert copy is not None
        assert set(copy.ids) == set(opened.manifest.ids())
        assert np.array_equal(copy.get(copy.ids[::-1]), copy.rows[::-1])
        assert opened.search_dense("a heron.", 1)[0].text == "A heron."
        assert saved_vectors.load(opened.path, opened.n_chunks + 1) is None  # it would lack a row's vector


def test_too_many_vectors_are_left_to_chroma(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = found(index)
    monkeypatch.setattr(saved_vectors, "MAX_VECTORS", 10)
    write(tmp_path / "docs", {"0.txt": FILES["0.txt"] + " "})
    update(index, tmp_path / "docs", Letters())
    assert not (generation(index) / saved_vectors.NAME).exists()
    assert [len(each) for each in found(index)] == [len(each) for each in expected]


def test_a_question_to_an_index_that_is_there_imports_no_chroma(index: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from tests.retrieval.folders import read, silent; "
        "from pipeline.documents.discover import discover; from tests.retrieval.letters import Letters; "
        "opened = read(Path(sys.argv[1]), Letters()); plan = opened.plan(discover([sys.argv[2]]), silent); "
        "assert plan.n_unchanged == 40 and not plan.is_worth_writing; "
        "assert opened.search_dense('salt', 3); assert opened.vectors(opened.search_bm25('boat', 2)).shape[0] == 2; "
        "assert 'chromadb' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(index), str(tmp_path / "docs")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
