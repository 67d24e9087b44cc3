"""An index whose files were damaged answers as before, or says what to do; never with a traceback of ours."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from pipeline.config import IndexSettings
from pipeline.docs_index import docs_folder, update_index
from pipeline.errors import StoreError
from pipeline.retrieval.word_index import WordIndex
from pipeline.storage.checksums import checksum_file
from pipeline.types import Passage
from tests.faults import damage
from tests.retrieval.folders import generation as newest_state
from tests.retrieval.folders import read, update, write
from tests.retrieval.letters import Letters
from tests.rounds import rounds

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


@pytest.mark.parametrize("seed", rounds(range(40), 12))
def test_a_damaged_word_index_is_made_again(whole: tuple[Path, list[Passage]], tmp_path: Path, seed: int) -> None:
    index, expected = whole
    shutil.copytree(index, tmp_path / "index")
    rng = random.Random(seed)
    path = rng.choice(files(tmp_path / "index", "bm25/"))
    path.write_bytes(damage(path.read_bytes(), rng))
    assert found(tmp_path / "index") == expected


@pytest.mark.parametrize("seed", rounds(range(40), 12))
@pytest.mark.parametrize("has_checksum", [True, False], ids=["with", "without"])
def test_a_damaged_manifest_is_named(
    whole: tuple[Path, list[Passage]], tmp_path: Path, seed: int, has_checksum: bool
) -> None:
    """A manifest of an older longthread has no checksum: then it is no traceback, and may be another answer."""
    index, expected = whole
    shutil.copytree(index, tmp_path / "index")
    path = newest_state(tmp_path / "index") / "manifest.sqlite"
    data = path.read_bytes()
    damaged = damage(data, random.Random(seed))
    path.write_bytes(damaged)
    if not has_checksum:
        checksum_file(path).unlink()
        with contextlib.suppress(StoreError):
            found(tmp_path / "index")
    elif damaged == data:
        assert found(tmp_path / "index") == expected
    else:
        with pytest.raises(StoreError, match=r"its checksum does not agree\): make it anew: longthread index"):
            found(tmp_path / "index")


@pytest.mark.parametrize("content", [b"", b"00000000\n", b"\xff"])
def test_a_damaged_checksum_is_no_agreement(whole: tuple[Path, list[Passage]], tmp_path: Path, content: bytes) -> None:
    index, _ = whole
    shutil.copytree(index, tmp_path / "index")
    checksum_file(newest_state(tmp_path / "index") / "manifest.sqlite").write_bytes(content)
    with pytest.raises(StoreError, match="its checksum does not agree"):
        found(tmp_path / "index")


def test_settings_that_are_incomplete_are_named(whole: tuple[Path, list[Passage]], tmp_path: Path) -> None:
    index, _ = whole
    shutil.copytree(index, tmp_path / "index")
    path = newest_state(tmp_path / "index") / "manifest.sqlite"
    checksum_file(path).unlink()
    db = sqlite3.connect(path)
    db.execute("DELETE FROM settings WHERE key = 'embedder'")
    db.commit()
    db.close()
    with pytest.raises(StoreError, match="its settings are incomplete"):
        found(tmp_path / "index")


def test_a_writer_does_not_take_over_a_damaged_manifest(whole: tuple[Path, list[Passage]], tmp_path: Path) -> None:
    index, _ = whole
    shutil.copytree(index, tmp_path / "index")
    path = newest_state(tmp_path / "index") / "manifest.sqlite"
    path.write_bytes(path.read_bytes().replace(b"heron", b"raven"))
    write(tmp_path / "docs", {"new.txt": "The boat sails at nine."})
    with pytest.raises(StoreError, match="its checksum does not agree"):
        update(tmp_path / "index", tmp_path / "docs", Letters())
    assert [part.name for part in newest_state(tmp_path / "index").parent.glob("generation-*")] == ["generation-000001"]


def test_a_damaged_index_of_the_cache_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path / "cache"))
    write(tmp_path / "docs", {"a.txt": TEXT})
    settings, paths = IndexSettings(embedder="none"), [str(tmp_path / "docs")]
    folder = docs_folder(paths, settings)
    update_index(folder, paths, settings, lambda what, done, total: None)
    path = newest_state(folder) / "manifest.sqlite"
    path.write_bytes(path.read_bytes().replace(b"heron", b"raven"))
    report = update_index(folder, paths, settings, lambda what, done, total: None)
    ((where, note),) = report.notes
    assert (where, report.added) == (str(folder), 1)
    assert note == f"the index was damaged ({path} was changed: its checksum does not agree): it was made again"
    assert update_index(folder, paths, settings, lambda what, done, total: None).notes == ()


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
    path = newest_state(tmp_path / "index") / "manifest.sqlite"
    checksum_file(path).unlink()
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
