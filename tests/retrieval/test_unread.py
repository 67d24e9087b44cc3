"""What an index says of the files that it does not hold, also long after they were passed over."""

import os
import sqlite3
from pathlib import Path

import pytest

from pipeline.config import IndexSettings
from pipeline.docs_index import Unread, docs_folder, unread, update_index
from pipeline.errors import StoreError
from pipeline.storage.checksums import checksum_file
from tests.retrieval.folders import counts, generation, silent, update, write
from tests.retrieval.letters import Letters

WORDS_ONLY = IndexSettings(embedder="none")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_what_was_not_read_is_listed_until_it_is_read_or_gone(tmp_path: Path) -> None:
    docs = write(tmp_path / "docs", {"good.txt": "The key is 7431.", "empty.txt": ""})
    (docs / "broken.pdf").write_bytes(b"%PDF-1.7\nthis is all there is")
    (docs / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    index = tmp_path / "index"
    update_index(index, [str(docs)], WORDS_ONLY, silent)
    files = dict(unread(index).files)
    assert {os.path.basename(path) for path in files} == {"broken.pdf", "empty.txt", "picture.png"}
    assert files[str(docs / "picture.png")].startswith(("a broken picture", "reading PICTURE needs rapidocr"))
    assert "PDF" in files[str(docs / "broken.pdf")]

    (docs / "empty.txt").write_text("The tower is green.")
    (docs / "picture.png").unlink()
    update_index(index, [str(docs)], WORDS_ONLY, silent)
    assert [path for path, _ in unread(index).files] == [str(docs / "broken.pdf")]


def test_what_another_path_did_not_give_stays_listed(tmp_path: Path) -> None:
    one = write(tmp_path / "one", {"a.txt": "A page on salt.", "empty.txt": ""})
    two = write(tmp_path / "two", {"b.txt": "A page on pepper.", "empty.txt": ""})
    index = tmp_path / "index"
    update_index(index, [str(one)], WORDS_ONLY, silent)
    update_index(index, [str(two)], WORDS_ONLY, silent)
    assert unread(index).files == ((str(one / "empty.txt"), "empty file"), (str(two / "empty.txt"), "empty file"))
    update_index(index, [str(one)], WORDS_ONLY, silent)
    assert len(unread(index).files) == 2


def test_the_files_of_the_index_itself_are_not_listed(tmp_path: Path) -> None:
    docs = write(tmp_path / "docs", {"a.txt": "A page on salt."})
    for _ in range(2):
        update_index(docs / "index", [str(docs)], WORDS_ONLY, silent)
    assert unread(docs / "index") == Unread()


def test_what_was_left_out_of_a_file_that_was_read_is_noted(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "page.html"
    write(tmp_path / "docs", {"page.html": "<p>A page with a picture: <img src='a.png'></p>"})
    index = tmp_path / "index"
    for _ in range(2):  # the second time nothing is read
        update_index(index, [str(page)], WORDS_ONLY, silent)
        assert unread(index) == Unread((), ((str(page), "1 image without text"),))


def make_old(folder: Path) -> None:
    with sqlite3.connect(generation(folder) / "manifest.sqlite") as db:
        db.execute("UPDATE settings SET value = '1' WHERE key = 'format'")
        db.execute("DROP TABLE unread")
    db.close()
    checksum_file(generation(folder) / "manifest.sqlite").unlink()


def test_an_older_index_in_the_cache_is_made_again_and_that_is_said(tmp_path: Path) -> None:
    docs = write(tmp_path / "docs", {"a.txt": "A page on salt."})
    folder = docs_folder([str(docs)], WORDS_ONLY)
    update_index(folder, [str(docs)], WORDS_ONLY, silent)
    make_old(folder)
    report = update_index(folder, [str(docs)], WORDS_ONLY, silent)
    assert (report.added, report.n_chunks) == (1, 1)
    assert report.notes == ((str(folder), "an older longthread made the index: it was made again"),)
    assert update_index(folder, [str(docs)], WORDS_ONLY, silent).notes == ()


def test_an_older_index_of_the_users_own_is_left_as_it_is(tmp_path: Path) -> None:
    docs = write(tmp_path / "docs", {"a.txt": "A page on salt."})
    update_index(tmp_path / "index", [str(docs)], WORDS_ONLY, silent)
    make_old(tmp_path / "index")
    with pytest.raises(StoreError, match=r"has format 1, and this longthread reads 4.*--rebuild"):
        update_index(tmp_path / "index", [str(docs)], WORDS_ONLY, silent)
    with pytest.raises(StoreError, match=r"has format 1.*--rebuild"):
        unread(tmp_path / "index")


def test_a_folder_without_an_index_has_nothing_to_list(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no index here: make one with longthread index"):
        unread(tmp_path)


def test_what_an_ignore_file_names_is_forgotten_and_comes_back_with_it(tmp_path: Path) -> None:
    docs = write(tmp_path / "docs", {"a.txt": "apple", "old/b.txt": "berry", "old/c.txt": "cherry"})
    assert counts(update(tmp_path / "index", docs, Letters())) == (3, 0, 0, 0, 0)
    (docs / ".longthreadignore").write_text("old/\n")
    report = update(tmp_path / "index", docs, Letters())
    assert counts(report) == (0, 0, 2, 1, 0)
    assert report.skipped == ((str(docs / "old"), "left out: named by docs/.longthreadignore"),)
    lacking = unread(tmp_path / "index")
    assert (lacking.files, lacking.n_unread, lacking.n_left_out) == (report.skipped, 0, 1)
    (docs / ".longthreadignore").unlink()
    assert counts(update(tmp_path / "index", docs, Letters())) == (2, 0, 0, 1, 0)
    assert unread(tmp_path / "index").files == ()
