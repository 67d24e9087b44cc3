"""`longthread sessions` and `longthread indexes`; where conversations lie, and who may read them."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from cli.main import main
from pipeline.cached_indexes import delete_index, indexes_folder
from pipeline.conversation.sessions import list_sessions, lock_session, move_from_cache, session_folder
from pipeline.conversation.transcript import Transcript
from pipeline.conversation.typed import TypedLine, append_typed
from pipeline.errors import StoreError
from pipeline.retrieval.lock import lock_for_writing
from pipeline.types import Turn
from tests.retrieval.folders import generation


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LONGTHREAD_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["longthread", *arguments])
    capsys.readouterr()
    try:
        main()
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def make(folder: Path, *questions: str) -> Path:
    lock = lock_session(folder)
    transcript = Transcript(folder)
    for question in questions:
        transcript.commit(Turn(transcript.next_number, question, "It is so.", "2026-01-31T10:00:00+00:00"))
    transcript.close()
    append_typed(folder, TypedLine("typed", 1))
    lock.release()
    return folder


def modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*"))}


def test_sessions_are_listed_shown_exported_and_deleted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make(session_folder("garden"), "How many beehives?", "And \x1b[2J dogs?")
    make(session_folder("tower"))
    code, out, _ = run(capsys, monkeypatch, "sessions", "list")
    assert code == 0
    assert "garden" in out
    assert "2 turns" in out
    assert f"2 conversations in {tmp_path / 'data' / 'sessions'}" in out
    rows = json.loads(run(capsys, monkeypatch, "sessions", "list", "--json")[1])
    assert {row["name"]: row["n_turns"] for row in rows} == {"garden": 2, "tower": 0}
    assert all(row["size"] > 0 for row in rows)
    code, out, _ = run(capsys, monkeypatch, "sessions", "show", "garden")
    assert "How many beehives?" in out
    assert "\x1b" not in out
    assert [turn["answer"] for turn in json.loads(run(capsys, monkeypatch, "sessions", "show", "garden", "--json")[1])]
    code, out, err = run(capsys, monkeypatch, "sessions", "export", "garden", "out.jsonl")
    assert code == 0, err
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 3
    code, _, err = run(capsys, monkeypatch, "sessions", "export", "garden", "out.jsonl")
    assert (code, "exists already" in err) == (2, True)
    code, out, err = run(capsys, monkeypatch, "sessions", "delete", "nowhere", "garden")
    assert (code, out) == (2, "garden: deleted\n")
    assert "there is no session 'nowhere'; there are:" in err
    assert [info.name for info in list_sessions()] == ["tower"]
    assert b"beehives" not in b"".join(p.read_bytes() for p in (tmp_path / "data").rglob("*") if p.is_file())


def test_nobody_else_may_read_what_was_said(tmp_path: Path) -> None:
    make(session_folder("garden"), "How many beehives?")
    assert modes(tmp_path / "data" / "sessions") <= {0o700, 0o600}


def test_conversations_of_an_older_version_are_moved_once_and_that_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("garden", "tower", "boat"):
        make(tmp_path / "cache" / "sessions" / name, f"Where is the {name}?")
    (tmp_path / "cache" / "sessions" / "boat" / "typed.jsonl").chmod(0o644)
    make(session_folder("tower"), "Another tower?")
    lock = lock_session(tmp_path / "cache" / "sessions" / "garden")
    code, _, err = run(capsys, monkeypatch, "sessions", "list")
    assert code == 0
    assert f"2 conversations were moved from the cache, which cleaners empty, to {tmp_path / 'data'}" in err
    assert "the conversation garden is still in the cache: another chat has it open" in err
    lock.release()
    code, _, err = run(capsys, monkeypatch, "sessions", "list")
    assert "1 conversation was moved" in err
    assert run(capsys, monkeypatch, "sessions", "list")[2] == ""
    assert sorted(info.name for info in list_sessions()) == ["boat", "garden", "tower", "tower from the cache 1"]
    assert {info.n_turns for info in list_sessions()} == {1}
    assert modes(tmp_path / "data" / "sessions") <= {0o700, 0o600}
    assert not (tmp_path / "cache" / "sessions").exists()


def test_a_long_name_that_is_taken_is_moved_under_another(tmp_path: Path) -> None:
    name = "a name of sixty-four letters, digits and spaces".replace(",", "") + " and so on to 64"
    make(tmp_path / "cache" / "sessions" / name[:64], "How many beehives?")
    make(session_folder(name[:64]), "Another talk?")
    ((moved,), left) = move_from_cache()
    assert (moved, left) == (f"{name[:44]} from the cache 1", ())
    assert {info.name for info in list_sessions()} == {name[:64], moved}


def test_a_damaged_session_stays_in_the_cache_and_stops_no_other(tmp_path: Path) -> None:
    make(tmp_path / "cache" / "sessions" / "boat", "When does it sail?")
    damaged = make(tmp_path / "cache" / "sessions" / "garden", "How many beehives?")
    make(session_folder("garden"), "Another garden?")
    (damaged / "session.sqlite").write_bytes(b"no database" * 1000)
    moved, ((name, why),) = move_from_cache()
    assert (moved, name) == (("boat",), "garden")
    assert str(damaged) in why
    assert damaged.is_dir()


def test_an_index_that_is_being_written_is_not_deleted(tmp_path: Path) -> None:
    folder = indexes_folder() / "abc"
    folder.mkdir(parents=True)
    lock = lock_for_writing(folder, lambda what, done, total: None)
    with pytest.raises(StoreError, match=rf"abc: another process \(pid {os.getpid()}\) is writing to this index"):
        delete_index("abc")
    lock.release()
    assert delete_index("abc") > 0
    assert not folder.exists()


def test_a_session_whose_beginning_cannot_be_read_is_listed(tmp_path: Path) -> None:
    folder = make(session_folder("garden"), "How many beehives?")
    with closing(sqlite3.connect(folder / "session.sqlite")) as db:
        db.execute("DELETE FROM turns")
        db.execute("UPDATE meta SET value = '[' WHERE key = 'begun'")
        db.commit()
    assert [(info.name, info.n_turns) for info in list_sessions()] == [("garden", -1)]


def test_a_move_that_was_killed_goes_on(tmp_path: Path) -> None:
    old = make(tmp_path / "cache" / "sessions" / "garden", "How many beehives?")
    shutil.copytree(old, tmp_path / "data" / "sessions" / "garden")
    shutil.copytree(old, tmp_path / "data" / "sessions" / ".garden.12345678.part")
    assert move_from_cache() == (("garden",), ())
    assert [path.name for path in (tmp_path / "data" / "sessions").iterdir() if path.is_dir()] == ["garden"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pdf", b"%PDF-1.4 and then nothing of the kind", "nothing could be read:\ndocs/a.pdf: "),
        ("a.txt", b" \n", "nothing could be read:\ndocs/a.txt: an empty file"),
        ("a.txt", b"", "docs: holds nothing to read"),
    ],
    ids=["damaged", "blank", "empty"],
)
def test_a_question_that_fails_leaves_no_index(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
    content: bytes,
    message: str,
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / name).write_bytes(content)
    pipeline = "index: {embedder: none}\nstages: [retrieve.bm25, assemble.cited, generate.scripted]\n"
    (tmp_path / "a.yaml").write_text(pipeline)
    for command in (["ask", "When?"], ["chat"]):
        code, _, err = run(capsys, monkeypatch, *command, "--docs", "docs", "--config", "a.yaml")
        assert code == 2
        assert message in err
        assert "0 indexes, 0.0 MB" in run(capsys, monkeypatch, "indexes", "list")[1]
        assert list((tmp_path / "cache" / "indexes").iterdir()) == []
    (tmp_path / "docs" / "b.txt").write_text("The tower was built in 1612.")
    assert run(capsys, monkeypatch, "ask", "When was it built?", "--docs", "docs", "--config", "a.yaml")[0] == 0


def test_indexes_are_listed_and_deleted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "tower.md").write_text("The tower was built in 1612.\n")
    (tmp_path / "docs" / "boat.md").write_text("The boat sails at nine.\n")
    (tmp_path / "a.yaml").write_text(
        "index: {embedder: none}\nstages: [retrieve.bm25, assemble.cited, generate.scripted]\n"
    )
    code, _, err = run(capsys, monkeypatch, "ask", "When was it built?", "--docs", "docs", "--config", "a.yaml")
    assert code == 0, err
    assert stat.S_IMODE((tmp_path / "cache" / "indexes").stat().st_mode) == 0o700
    (row,) = json.loads(run(capsys, monkeypatch, "indexes", "list", "--json")[1])
    assert (row["n_documents"], row["n_passages"], row["documents"]) == (2, 2, str(tmp_path / "docs"))
    assert row["size"] > 0
    (tmp_path / "cache" / "indexes" / ".old.12345678.part").mkdir()
    (tmp_path / "cache" / "indexes" / "0123.copy-99999999").mkdir()
    code, out, _ = run(capsys, monkeypatch, "indexes", "list")
    assert "2 documents, 2 passages  docs" in out
    assert [path.name for path in (tmp_path / "cache" / "indexes").iterdir()] == [row["name"]]
    state = generation(tmp_path / "cache" / "indexes" / row["name"])
    state.rename(state.with_name("unfinished"))
    assert "unfinished: the same question" in run(capsys, monkeypatch, "indexes", "list")[1]
    state.with_name("unfinished").rename(state)
    assert run(capsys, monkeypatch, "indexes", "delete", "../x")[0] == 2
    code, out, _ = run(capsys, monkeypatch, "indexes", "delete", row["name"])
    assert (code, "deleted" in out) == (0, True)
    assert json.loads(run(capsys, monkeypatch, "indexes", "list", "--json")[1]) == []
