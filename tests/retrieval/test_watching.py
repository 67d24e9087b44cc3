"""An index that is kept current: by the real child process and the system's own notices of changes."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.config import IndexSettings
from pipeline.docs_index import update_index
from pipeline.pipeline import chunker
from pipeline.retrieval.embedder import NoVectors
from pipeline.retrieval.open_index import open_index
from pipeline.watch_process import Watcher
from pipeline.watching import News, differences, hashes
from tests.retrieval.folders import silent, write

WORDS_ONLY = IndexSettings(embedder="none")
SECONDS = 60.0
"""Longest wait for news: seconds on an idle machine, more on a busy one."""


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    return write(tmp_path / "docs", {"a.txt": "apple", "deep/b.txt": "berry", "c.txt": "cherry"})


class Heard:
    """The news of a watcher, as they come."""

    def __init__(self) -> None:
        self.news: queue.Queue[News] = queue.Queue()

    def until(self, is_it: Callable[[News], bool]) -> News:
        end = time.monotonic() + SECONDS
        while True:
            news = self.news.get(timeout=max(0.1, end - time.monotonic()))
            if is_it(news):
                return news


@pytest.fixture
def watched(docs: Path, tmp_path: Path) -> Iterator[tuple[Watcher, Heard]]:
    heard = Heard()
    watcher = Watcher(tmp_path / "index", [str(docs)], WORDS_ONLY, heard.news.put)
    try:
        heard.until(lambda news: len(news.added) == 3)
        yield watcher, heard
    finally:
        watcher.close()


def words(index: Path, question: str) -> list[str]:
    with open_index(index, NoVectors(), chunker(WORDS_ONLY)) as opened:
        return [Path(passage.source).name for passage in opened.search_bm25(question, 9)]


def test_what_comes_changes_moves_and_goes_is_in_the_index_within_seconds(
    docs: Path, tmp_path: Path, watched: tuple[Watcher, Heard]
) -> None:
    _, heard = watched
    index = tmp_path / "index"
    write(docs, {"new/d.txt": "damson"})
    assert heard.until(bool) == News(added=(f"{docs}/new/d.txt",))
    assert words(index, "damson") == ["d.txt"]
    (docs / "a.txt").write_text("apricot")
    assert heard.until(bool) == News(changed=(f"{docs}/a.txt",))
    assert (words(index, "apple"), words(index, "apricot")) == ([], ["a.txt"])
    (docs / "c.txt").rename(docs / "deep/e.txt")
    assert heard.until(bool) == News(renamed=((f"{docs}/c.txt", f"{docs}/deep/e.txt"),))
    (docs / "deep/b.txt").unlink()
    assert heard.until(bool) == News(removed=(f"{docs}/deep/b.txt",))
    assert words(index, "berry") == []
    (docs / "broken.pdf").write_bytes(b"%PDF-1.7 and no more")
    assert heard.until(bool).failed[0][0] == f"{docs}/broken.pdf"
    (docs / ".longthreadignore").write_text("new/\n")
    assert heard.until(bool) == News(removed=(f"{docs}/new/d.txt",))


def test_a_folder_that_goes_is_a_problem_and_one_that_comes_back_is_watched_again(
    docs: Path, watched: tuple[Watcher, Heard]
) -> None:
    _, heard = watched
    docs.rename(docs.with_name("away"))
    assert "no such file or folder" in heard.until(lambda news: bool(news.problem)).problem
    docs.with_name("away").rename(docs)
    write(docs, {"again.txt": "agave"})
    assert f"{docs}/again.txt" in heard.until(lambda news: bool(news.added)).added


def test_a_named_file_is_seen_though_its_editor_replaces_it(docs: Path, tmp_path: Path) -> None:
    heard = Heard()
    watcher = Watcher(tmp_path / "index", [str(docs / "a.txt")], WORDS_ONLY, heard.news.put)
    try:
        heard.until(bool)
        for text in ("avocado", "acerola"):
            (tmp_path / "a.new").write_text(text)
            os.replace(tmp_path / "a.new", docs / "a.txt")
            assert heard.until(bool).changed == (f"{docs}/a.txt",)
        write(docs, {"other.txt": "orange"})
        assert words(tmp_path / "index", "orange") == []
    finally:
        watcher.close()


def test_the_child_ends_with_whoever_started_it(docs: Path, tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom pipeline.config import IndexSettings\n"
        "from pipeline.watch_process import Watcher\n"
        f"settings, index = IndexSettings(embedder='none'), Path({str(tmp_path / 'index')!r})\n"
        f"w = Watcher(index, [{str(docs)!r}], settings, lambda n: None)\n"
        "print(w.process.pid, flush=True)\ntime.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + SECONDS
    while _is_there(child):
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_child_that_dies_is_told(watched: tuple[Watcher, Heard]) -> None:
    watcher, heard = watched
    os.kill(watcher.process.pid, signal.SIGINT)  # Ctrl-C in the chat's terminal reaches it, and must do nothing
    time.sleep(0.5)
    assert watcher.process.poll() is None
    os.kill(watcher.process.pid, signal.SIGKILL)
    assert "has ended (-9)" in heard.until(lambda news: bool(news.problem)).problem


def test_differences_of_two_states() -> None:
    before = {"/a": "1", "/b": "2", "/c": "3", "/d": "3"}
    after = {"/a": "1", "/b": "9", "/e": "3", "/f": "4"}
    news = differences(before, after)
    assert news == News(added=("/f",), changed=("/b",), removed=("/d",), renamed=(("/c", "/e"),))
    assert news.describe(str) == "documents changed: added /f; changed /b; removed /d; renamed /c to /e"
    many = News(added=tuple("abcde"), failed=(("/x", "an empty file"),))
    assert many.describe(str.upper) == "documents changed: added A, B, C and 2 more; not read /X (an empty file)"
    assert not differences(before, before)


def test_hashes_of_an_index(docs: Path, tmp_path: Path) -> None:
    assert hashes(tmp_path / "index") == {}
    update_index(tmp_path / "index", [str(docs)], WORDS_ONLY, silent)
    assert list(hashes(tmp_path / "index")) == [f"{docs}/{name}" for name in ("a.txt", "c.txt", "deep/b.txt")]


def _is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
