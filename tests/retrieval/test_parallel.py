"""Several processes at one index: searching waits for nobody, and nobody sees a state that is half made."""

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.config import IndexSettings, load_config
from pipeline.docs_index import copy_index, update_index
from pipeline.documents.discover import discover
from pipeline.errors import StoreError
from pipeline.pipeline import Pipeline
from pipeline.retrieval import generations as generations_module
from pipeline.retrieval.fingerprint import fingerprint
from pipeline.retrieval.generations import begin_from, holding, newest
from pipeline.retrieval.open_index import open_index
from pipeline.types import Question
from tests.retrieval.folders import CHUNKER, contents, counts, flatten, generation, read, silent, update, write
from tests.retrieval.letters import Letters

WORDS_ONLY = IndexSettings(embedder="none")
OPEN = """
import sys, time
from tests.retrieval.folders import CHUNKER
from tests.retrieval.letters import Letters
from pipeline.retrieval.open_index import open_index
with open_index(sys.argv[1], Letters(), CHUNKER, mode=sys.argv[2]) as index:
    print("open", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    return write(tmp_path / "docs", {"lamp.txt": "The keeper trims the lamp.", "salt.txt": "Salt is won from the sea."})


@pytest.fixture
def index(tmp_path: Path, docs: Path) -> Path:
    update(tmp_path / "index", docs, Letters())
    return tmp_path / "index"


@contextmanager
def opened_elsewhere(index: Path, mode: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the index open until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", OPEN, str(index), mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def generations(index: Path) -> list[str]:
    return sorted(path.name for path in index.iterdir() if not path.name.startswith("."))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_writer_keeps_no_reader_out_and_another_writer_waits_as_long_as_it_gets_on(
    docs: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.retrieval.lock.PATIENCE_S", 0.3)
    with opened_elsewhere(index, "write") as other:
        with read(index, Letters()) as opened:
            assert opened.search_bm25("salt", 1)
            assert opened.search_dense("salt", 1)
        told = rf"another process \(pid {other.pid}\) is writing to this index since 20\d\d-.*no progress for 0 s: end"
        with pytest.raises(StoreError, match=told):
            update(index, docs, Letters())
    assert counts(update(index, docs, Letters())) == (0, 0, 0, 2, 0)


def test_a_reader_keeps_no_writer_out_and_goes_on_with_what_it_opened(docs: Path, index: Path) -> None:
    with opened_elsewhere(index, "read"), read(index, Letters()) as opened:
        write(docs, {"salt.txt": "Pepper is dearer than gold."})
        assert counts(update(index, docs, Letters())) == (0, 1, 0, 1, 0)
        assert [p.text for p in opened.search_bm25("salt", 1)] == ["Salt is won from the sea."]
        assert [p.text for p in opened.search_dense("salt is won from the sea.", 1)] == ["Salt is won from the sea."]
        assert opened.is_superseded
        with read(index, Letters()) as later:
            assert [p.text for p in later.search_bm25("pepper", 1)] == ["Pepper is dearer than gold."]
        assert generations(index) == ["generation-000001", "generation-000002"]
    read(index, Letters()).close()
    assert generations(index) == ["generation-000002"]


def test_looking_writes_nothing(docs: Path, index: Path) -> None:
    before = files(index)
    assert counts(update(index, docs, Letters())) == (0, 0, 0, 2, 0)
    with read(index, Letters()) as opened:
        opened.search_dense("salt", 2)
    after = files(index)
    before.pop(".longthread.writer", None)
    after.pop(".longthread.writer", None)
    assert after == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may mount a file system")
def test_an_index_on_a_read_only_medium_is_searched(docs: Path, index: Path, tmp_path: Path) -> None:
    expected = contents(index, Letters())
    medium = tmp_path / "medium"
    medium.mkdir()
    mount = ["mount", "--bind", str(index), str(medium)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(medium)], check=True)
        before = files(medium)
        assert contents(medium, Letters()) == expected
        assert files(medium) == before
        write(docs, {"salt.txt": "Pepper is dearer than gold."})
        with pytest.raises(StoreError, match="Read-only file system: give a folder that can be written to"):
            update(medium, docs, Letters())
    finally:
        subprocess.run(["umount", str(medium)], check=True)


def test_an_index_that_cannot_be_written_serves_until_a_file_changes(
    docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update_index(tmp_path / "words", [str(docs)], WORDS_ONLY, silent)
    monkeypatch.setattr("pipeline.docs_index.os.access", lambda *_: False)
    assert counts(update_index(tmp_path / "words", [str(docs)], WORDS_ONLY, silent)) == (0, 0, 0, 2, 0)
    os.utime(docs / "salt.txt", (1, 1))
    assert counts(update_index(tmp_path / "words", [str(docs)], WORDS_ONLY, silent)) == (0, 0, 0, 2, 0)
    write(docs, {"salt.txt": "Pepper is dearer than gold."})
    with pytest.raises(
        StoreError, match=r"1 files are new, changed or gone \(.*salt\.txt, .*cannot be written: search"
    ):
        update_index(tmp_path / "words", [str(docs)], WORDS_ONLY, silent)


def test_an_index_of_an_older_longthread_is_searched_and_then_brought_into_a_generation(
    docs: Path, index: Path
) -> None:
    expected = contents(index, Letters())
    flatten(index)
    with sqlite3.connect(index / "manifest.sqlite") as db:
        for name in ("ctime_ns", "inode", "labels", "reader"):
            db.execute(f"ALTER TABLE files DROP COLUMN {name}")
        db.execute("UPDATE settings SET value = '2' WHERE key = 'format'")
    db.close()
    assert contents(index, Letters()) == expected
    assert counts(update(index, docs, Letters())) == (0, 2, 0, 0, 0), "nothing says which reader had read the files"
    write(docs, {"salt.txt": "Pepper is dearer than gold."})
    assert counts(update(index, docs, Letters())) == (0, 1, 0, 1, 0)
    assert generations(index) == ["generation-000002"]
    assert counts(update(index, docs, Letters())) == (0, 0, 0, 2, 0)


def test_what_an_interrupted_update_took_in_from_other_paths_is_not_published(
    docs: Path, index: Path, tmp_path: Path
) -> None:
    other = write(tmp_path / "other", {"a.txt": "A page on gold.", "b.txt": "A page on tin."})

    with open_index(index, Letters(), CHUNKER, mode="write") as opened:
        opened._move(begin_from(index, opened.path))
        part = discover([str(other / "a.txt")])
        opened._updater(silent).run(opened.plan(part, silent), part)
    with read(index, Letters()) as opened:
        assert len(opened.sources) == 2
        assert opened.is_behind
    assert counts(update(index, docs, Letters())) == (0, 0, 1, 2, 0)
    with read(index, Letters()) as opened:
        assert opened.sources == tuple(sorted(str(path) for path in docs.iterdir()))
        assert not opened.is_behind


def test_a_copy_that_was_broken_off_is_begun_anew(docs: Path, index: Path) -> None:
    (index / ".copying").mkdir()
    (index / ".copying" / "manifest.sqlite").write_bytes(b"half")
    write(docs, {"salt.txt": "Pepper is dearer than gold."})
    assert counts(update(index, docs, Letters())) == (0, 1, 0, 1, 0)
    assert not (index / ".copying").exists()


def test_a_copy_that_is_broken_off_is_no_unfinished_index(
    docs: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its manifest is copied first: taken for an unfinished index, it would lack vectors of its rows."""
    write(docs, {"salt.txt": "Pepper is dearer than gold."})
    with monkeypatch.context() as patch:
        patch.setattr(generations_module, "copy_vectors", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            update(index, docs, Letters())
    assert (index / ".copying" / "manifest.sqlite").exists()
    assert not (index / "unfinished").exists()
    assert counts(update(index, docs, Letters())) == (0, 1, 0, 1, 0)


def test_a_generation_that_was_deleted_in_part_is_passed_over(docs: Path, index: Path) -> None:
    shutil.copytree(generation(index), index / "generation-000003")
    (index / "generation-000003" / "manifest.sqlite").unlink()
    assert newest(index) == index / "generation-000001"
    write(docs, {"salt.txt": "Pepper is dearer than gold."})
    update(index, docs, Letters())
    assert generations(index) == ["generation-000004"]


def test_a_copy_of_an_index_has_its_newest_state_only(docs: Path, index: Path, tmp_path: Path) -> None:
    with read(index, Letters()):
        write(docs, {"salt.txt": "Pepper is dearer than gold."})
        update(index, docs, Letters())
        copy_index(index, tmp_path / "copy")
    assert generations(tmp_path / "copy") == ["generation-000001"]
    assert contents(tmp_path / "copy", Letters()) == contents(index, Letters())
    assert fingerprint(tmp_path / "copy") == fingerprint(index)


ASK = """
import sys, time
from pathlib import Path
from pipeline.retrieval.generations import begin_from, newest
from tests.retrieval.folders import CHUNKER, silent
from tests.retrieval.letters import Letters
import pipeline.docs_index as docs_index
docs_index.open_embedder, docs_index.chunker = lambda settings: Letters(), lambda settings: CHUNKER
from pipeline.config import IndexSettings
from pipeline.retrieval.open_index import open_index
index, docs, turns = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for turn in range(turns):
    docs_index.update_index(index, [docs], IndexSettings(), silent)
    with open_index(index, Letters(), CHUNKER) as opened:
        words = {p.text.split()[-1] for p in opened.search_bm25("salt", 50)}
        dense = {p.text.split()[-1] for p in opened.search_dense("all salt is", 50)}
        assert words == dense and len(words) == 1, (words, dense)
        assert len(opened.search_bm25("salt", 50)) == 30
    print(words.pop(), flush=True)
    time.sleep(0.5 if turns > 1 else 0)
"""


@pytest.mark.parametrize(("n_asks", "n_turns"), [(6, 3), pytest.param(20, 6, marks=pytest.mark.thorough)])
def test_asks_and_two_chats_with_an_index_run_in_between_all_answer_from_a_whole_state(
    tmp_path: Path, n_asks: int, n_turns: int
) -> None:
    """Every file says which state it is of: an answer from two states would show both words, or too few passages."""
    docs = write(tmp_path / "docs", {f"{n:02}.txt": f"All salt number {n} is old" for n in range(30)})
    index = tmp_path / "index"

    def begin(turns: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", ASK, str(index), str(docs), str(turns)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    processes = [begin(n_turns) for _ in range(2)] + [begin(1) for _ in range(n_asks // 2)]
    for process in processes[:1]:
        assert process.stdout is not None
        assert process.stdout.readline() == "old\n"
    staged = write(tmp_path / "staged", {f"{n:02}.txt": f"All salt number {n} is new" for n in range(30)})
    docs.rename(tmp_path / "away")
    staged.rename(docs)
    processes += [begin(1) for _ in range(n_asks // 2)]
    for process in processes:
        out, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        assert set(out.split()) <= {"old", "new"}
    assert generations(index)[-1:] == [generation(index).name]
    with read(index, Letters()) as opened:
        assert {p.text.split()[-1] for p in opened.search_bm25("salt", 50)} == {"new"}
    deadline = time.monotonic() + 5
    while len(generations(index)) > 1 and time.monotonic() < deadline:
        read(index, Letters()).close()
    assert len(generations(index)) == 1


def test_an_open_pipeline_goes_on_with_the_newest_state_and_a_run_with_its_own(tmp_path: Path) -> None:
    docs = write(tmp_path / "docs", {"code.txt": "The code of the gate is 1111."})
    config = load_config(str(Path(__file__).parents[2] / "configs" / "offline.yaml"))
    index = tmp_path / "index"
    update_index(index, [str(docs)], config.index, silent)
    with holding(index) as pinned, Pipeline(config, index) as chat, Pipeline(config, pinned) as run:
        question = Question("What is the code of the gate?")
        first = [passage.text for pipeline in (chat, run) for passage in pipeline.ask(question).found]
        assert first == ["The code of the gate is 1111."] * 2
        write(docs, {"code.txt": "The code of the gate is 2222."})
        update_index(index, [str(docs)], config.index, silent)
        assert [passage.text for passage in chat.ask(question).found] == ["The code of the gate is 2222."]
        assert [passage.text for passage in run.ask(question).found] == ["The code of the gate is 1111."]
