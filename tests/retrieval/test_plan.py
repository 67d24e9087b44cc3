"""A file whose content changed is read again, whatever its size and its times say."""

import os
from pathlib import Path

import pytest

from pipeline.retrieval import plan
from tests.documents.pdf_file import pdf
from tests.retrieval.folders import contents, counts, read, update, write
from tests.retrieval.letters import Letters


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    return write(tmp_path / "docs", {"code.txt": "The code is 1111.", "salt.txt": "Salt is won from the sea."})


def test_a_change_with_the_same_size_and_mtime_is_seen(docs: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    update(index, docs, Letters())
    for text in ("The code is 2222.", "The code is 3333."):  # the first within a tick of the indexing
        before = (docs / "code.txt").stat()
        (docs / "code.txt").write_text(text)
        os.utime(docs / "code.txt", ns=(before.st_atime_ns, before.st_mtime_ns))
        assert counts(update(index, docs, Letters())) == (0, 1, 0, 1, 0)
        with read(index, Letters()) as opened:
            assert [p.text for p in opened.search_bm25("code", 1)] == [text]


def test_another_file_moved_into_its_place_is_seen(docs: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    update(index, docs, Letters())
    before = (docs / "code.txt").stat()
    other = tmp_path / "other.txt"
    other.write_text("The code is 2222.")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(docs / "code.txt")
    assert counts(update(index, docs, Letters())) == (0, 1, 0, 1, 0)


def test_a_file_system_of_whole_seconds_has_its_files_compared_by_their_bytes(
    docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "_SECOND_NS", 1)  # every stamp is a whole one
    index = tmp_path / "index"
    update(index, docs, Letters())
    with_stamps = update(index, docs, Letters())
    assert (with_stamps.unchanged, with_stamps.compared) == (2, 2)
    before = contents(index, Letters())
    assert contents(index, Letters()) == before


def test_stamps_that_tell_are_enough(docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_TICK_NS", 0)
    index = tmp_path / "index"
    update(index, docs, Letters())
    assert update(index, docs, Letters()).compared == 0


def test_many_new_stamps_are_worth_an_update_and_few_are_not(
    docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "_TICK_NS", 0)
    index = tmp_path / "index"
    update(index, docs, Letters())
    os.utime(docs / "salt.txt", (1, 1))
    assert update(index, docs, Letters()).compared == 1
    assert update(index, docs, Letters()).compared == 1
    monkeypatch.setattr(plan, "MAX_HASHED", 10)
    assert update(index, docs, Letters()).compared == 1
    assert update(index, docs, Letters()).compared == 0


def test_a_file_that_a_limit_cut_is_read_again_once_the_limit_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = write(tmp_path / "docs", {"salt.txt": "Salt is won from the sea."})
    (docs / "long.pdf").write_bytes(pdf([[f"This is page {n}."] for n in range(1, 6)]))
    (docs / "short.pdf").write_bytes(pdf([["The keeper has a lamp."]]))
    index = tmp_path / "index"

    def pages() -> int:
        with read(index, Letters()) as opened:
            return len(opened.document((docs / "long.pdf").as_posix()).pages)

    monkeypatch.setenv("LONGTHREAD_MAX_PDF_PAGES", "2")
    update(index, docs, Letters())
    assert pages() == 2
    assert counts(update(index, docs, Letters())) == (0, 0, 0, 3, 0)
    for limit, n in (("3", 3), ("5", 5)):
        monkeypatch.setenv("LONGTHREAD_MAX_PDF_PAGES", limit)
        assert counts(update(index, docs, Letters())) == (0, 1, 0, 2, 0)
        assert pages() == n
    monkeypatch.delenv("LONGTHREAD_MAX_PDF_PAGES")
    assert counts(update(index, docs, Letters())) == (0, 0, 0, 3, 0)
