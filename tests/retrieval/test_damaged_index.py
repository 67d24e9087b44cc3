"""An index whose files were damaged answers as before, or says what to do; never with a traceback of ours."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from pipeline.errors import StoreError
from pipeline.retrieval.word_index import WordIndex
from pipeline.types import Passage
from tests.faults import damage
from tests.retrieval.folders import generation as newest_state
from tests.retrieval.folders import read, update, write
from tests.retrieval.letters import Letters

QUESTION = "Where does the heron sleep?"
TEXT = (
    "The heron sleeps on the north wall. The keeper lights the lamp at noon.\n\nSalt lies on the stone of the harbour."
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Passage]]:
    """An index of six files, and what it finds."""
    folder = tmp_path_factory.mktemp("whole")
    write(folder / "docs", {f"{n}.txt": f"{TEXT}\n\nPage {n}." for n in range(6)})
    update(folder / "index", folder / "docs", Letters())
    return folder / "index", found(folder / "index")


def found(index: Path) -> list[Passage]:
    with read(index, Letters()) as opened:
        passages = opened.search_bm25(QUESTION, 8)
        for passage in passages:
            opened.document(passage.source)
        return passages


def files(index: Path, part: str) -> list[Path]:
    return sorted(path for path in index.rglob("*") if path.is_file() and part in path.relative_to(index).as_posix())


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_word_index_is_made_again(whole: tuple[Path, list[Passage]], tmp_path: Path, seed: int) -> None:
    index, expected = whole
    shutil.copytree(index, tmp_path / "index")
    rng = random.Random(seed)
    path = rng.choice(files(tmp_path / "index", "bm25/"))
    path.write_bytes(damage(path.read_bytes(), rng))
    assert found(tmp_path / "index") == expected


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_manifest_is_no_traceback(whole: tuple[Path, list[Passage]], tmp_path: Path, seed: int) -> None:
    index, _ = whole
    shutil.copytree(index, tmp_path / "index")
    rng = random.Random(seed)
    (path,) = files(tmp_path / "index", "manifest.sqlite")
    path.write_bytes(damage(path.read_bytes(), rng))
    with contextlib.suppress(StoreError):  # it says what to do; anything else is a failure
        found(tmp_path / "index")


def test_settings_that_are_incomplete_are_named(whole: tuple[Path, list[Passage]], tmp_path: Path) -> None:
    index, _ = whole
    shutil.copytree(index, tmp_path / "index")
    (path,) = files(tmp_path / "index", "manifest.sqlite")
    db = sqlite3.connect(path)
    db.execute("DELETE FROM settings WHERE key = 'embedder'")
    db.commit()
    db.close()
    with pytest.raises(StoreError, match="its settings are incomplete"):
        found(tmp_path / "index")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE chunks SET heading = '['",
        "UPDATE chunks SET marks = 'x'",
        "UPDATE chunks SET text = x'ff'",
        "UPDATE files SET text = x'ff'",
        "UPDATE files SET headings = '[[1]]'",
        "UPDATE files SET lines = '[1]'",
        "UPDATE settings SET value = '[' WHERE key = 'generation'",
        "DELETE FROM settings WHERE key = 'generation'",
    ],
)
def test_a_damaged_row_is_named(whole: tuple[Path, list[Passage]], tmp_path: Path, change: str) -> None:
    index, _ = whole
    shutil.copytree(index, tmp_path / "index")
    (path,) = files(tmp_path / "index", "manifest.sqlite")
    db = sqlite3.connect(path)
    db.execute(change)
    db.commit()
    db.close()
    with pytest.raises(StoreError, match="a row of the manifest is damaged"):
        found(tmp_path / "index")


def test_a_changed_byte_of_the_word_index_is_not_loaded(whole: tuple[Path, list[Passage]], tmp_path: Path) -> None:
    index, _ = whole
    shutil.copytree(newest_state(index) / "bm25", tmp_path / "bm25")
    generation = next(n for n in range(100) if WordIndex.load(tmp_path / "bm25", n) is not None)
    for path in files(tmp_path, "bm25/"):
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        assert WordIndex.load(tmp_path / "bm25", generation) is None, path.name
        path.write_bytes(data)
    assert WordIndex.load(tmp_path / "bm25", generation) is not None
