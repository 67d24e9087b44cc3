"""Forgetting leaves no byte: in no file of the data folder, after a kill at any change to the disk, and in no fork."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from cli.chat.views import forgotten
from pipeline.contracts import Component
from pipeline.conversation.conversation import Conversation
from pipeline.conversation.forgetting import INTENT, Forgetting, HeldElsewhere, plan
from pipeline.conversation.sessions import fork_session, session_folder
from pipeline.conversation.typed import TypedLine, append_typed, read_typed
from pipeline.errors import StoreError
from pipeline.storage import cell_files
from pipeline.storage.cache import cache_folder, data_folder
from pipeline.storage.checked_json import with_checksum
from pipeline.types import Turn
from tests.kills import CAN_PLAY, run_game
from tests.memory.games import (
    KEPT,
    NUMBER,
    SECRET,
    TYPED,
    VECTORS,
    WINDOW,
    WORDS,
    prepare,
    questions,
    talk,
    texts,
)
from tests.memory.talks import pipeline_with, turn


class Killed(BaseException):
    """Ends a step as a kill does: nothing behind it is done."""


plays = pytest.mark.skipif(not CAN_PLAY, reason="the kills need a C compiler and LD_PRELOAD")


LIMITS = pytest.mark.parametrize("limit", [4, pytest.param(0, marks=pytest.mark.thorough)], ids=["some", "all"])
"""How many of the changes, drawn at random, a game is killed at; 0 is no limit."""


@plays
@pytest.mark.timeout(900)
@LIMITS
@pytest.mark.parametrize(
    ("game", "every"),
    [("FORGET", 2), ("FORGET_WINDOW", 3), ("RETRY", 1), ("UNDO", 3), ("FORK", 2), ("DELETE", 1), ("CHAT", 6)],
)
def test_killed_at_any_change_nothing_is_lost_and_nothing_stays(
    tmp_path: Path, game: str, every: int, limit: int
) -> None:
    result = run_game(f"tests.memory.games:{game}", tmp_path, every=every, limit=limit)
    assert result.failed == ()
    assert len(result.tried) >= (limit or 15)


@plays
@pytest.mark.timeout(900)
@pytest.mark.parametrize("limit", [2, pytest.param(8, marks=pytest.mark.thorough)])
def test_killed_while_vectors_are_written_anew(tmp_path: Path, limit: int) -> None:
    result = run_game("tests.memory.games:FORGET_VECTORS", tmp_path, every=1, limit=limit)
    assert result.failed == ()


@plays
@pytest.mark.timeout(900)
@LIMITS
@pytest.mark.parametrize("how", ["torn", "full"])
@pytest.mark.parametrize("game", ["FORGET", "RETRY"])
def test_half_a_write_and_a_full_disk_are_survived(tmp_path: Path, game: str, how: str, limit: int) -> None:
    result = run_game(
        f"tests.memory.games:{game}", tmp_path, every=4, torn=how == "torn", full=how == "full", limit=limit
    )
    assert result.failed == ()
    assert len(result.tried) >= (limit or 15)


def test_what_was_typed_around_a_turn_goes_with_it() -> None:
    prepare()
    with talk() as conversation:
        done = conversation.forget(turns=[NUMBER])
    assert (done.turns, done.n_lines, done.elsewhere) == ((NUMBER,), len(TYPED) - len(KEPT), ())
    assert read_typed(session_folder("s")) == list(KEPT)
    assert texts(data_folder()) == []


@pytest.mark.parametrize(
    ("line", "is_covered"),
    [
        ("My password is zanzibar77.", True),
        ("//MY PASSWORD IS ZANZIBAR77.", True),
        ("/edit my password is zanzibar77. Now?", True),
        ("/memory search zanzibar77", True),
        ("/memory search the password", True),
        ("Is “zanzibar77” good?", True),
        ("Does the boat sail at 5?", False),
        ("What is a good word?", False),
        ("/memory search boat", False),
        ("/sources", False),
    ],
)
def test_a_typed_line_is_covered_by_text_words_or_command(line: str, is_covered: bool) -> None:
    turns = [turn(1, "Does the boat sail?", "It does."), turn(2, "My password is zanzibar77.", "I see.")]
    assert plan(turns, [2]).covers_line(TypedLine(line, 9)) == is_covered


def test_a_word_that_a_turn_has_which_stays_covers_no_line() -> None:
    turns = [turn(1, "Does the boat sail?", "It does."), turn(2, "My password is zanzibar77, like the boat.", "I see.")]
    assert plan(turns, [2]).covers_line(TypedLine("Which password?", 9))
    assert not plan(turns, [2]).covers_line(TypedLine("When will the boat land?", 9))


def test_a_session_that_cannot_be_read_is_named() -> None:
    prepare()
    (session_folder("torn")).mkdir()
    (session_folder("torn") / "session.sqlite").write_bytes(b"no database" * 100)
    with talk() as conversation:
        done = conversation.forget(matching=SECRET)
        assert done.elsewhere == (HeldElsewhere("torn", (), 0),)
        assert "holds it: torn (unreadable, so it may contain it)" in forgotten(done).plain
        with pytest.raises(StoreError, match="torn: the session's file cannot be used"):
            conversation.forget_in("torn", done.what)


def test_a_text_that_no_turn_holds_goes_out_of_the_typed_lines() -> None:
    prepare()
    append_typed(session_folder("s"), TypedLine("/docs add /home/me/quagga.txt", 9))
    with talk() as conversation:
        done = conversation.forget(matching="Quagga")
        assert (done.turns, done.n_lines) == ((), 1)
        assert conversation.forget(matching="Quagga").n_lines == 0
    assert read_typed(session_folder("s")) == list(TYPED)


def test_what_an_older_version_left_half_written_is_swept() -> None:
    prepare()
    folder = session_folder("s")
    for name in ("aside.half", "typed.new", ".aside.json.1234abcd.part"):
        (folder / name).write_text(f'{{"question": "{SECRET}')
    with talk() as conversation:
        assert not [path for path in folder.iterdir() if path.suffix in (".half", ".new", ".part")]
        conversation.forget(matching=SECRET)
    assert texts(data_folder()) == []


@pytest.mark.parametrize("memory", [WORDS, VECTORS, WINDOW], ids=["words", "vectors", "window"])
def test_another_memory_forgets_what_the_first_had_kept(memory: object) -> None:
    """Facts, summaries and vectors of memory.hierarchical go too where a pipeline with another memory forgets."""
    prepare(VECTORS)
    with talk(memory) as conversation:  # type: ignore[arg-type]
        assert conversation.forget(matching=SECRET).turns == (NUMBER,)
        assert texts(data_folder()) == []
        stale = [path for path in session_folder("s").glob("vectors-*") if memory is not VECTORS]
        assert stale == []
    with talk(VECTORS) as conversation:
        conversation.settle()
        held = [n for item in conversation.memory.items() if item.tier in ("unit", "sensory") for n in item.turns]
        assert sorted(held) == [n for n in range(1, 9) if n != NUMBER]
    assert texts(data_folder()) == []


@pytest.mark.parametrize("memory", [WORDS, WINDOW], ids=["words", "window"])
def test_vectors_go_where_another_memory_was_killed_before_it_deleted_them(
    memory: Component, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(VECTORS)
    folder = session_folder("s")
    conversation = talk(memory)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *_, **__: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            conversation.forget(turns=[NUMBER])
    assert (folder / INTENT).exists()
    assert [*folder.glob("vectors-*")]
    conversation.close()
    with talk(memory) as conversation:
        assert [turn.number for turn in conversation.turns] == [n for n in range(1, 9) if n != NUMBER]
    assert [*folder.glob("vectors-*")] == []
    assert not (folder / INTENT).exists()


def test_a_session_with_other_turns_of_these_numbers_is_not_named() -> None:
    prepare()
    with talk(name="boats") as other:
        for n in range(1, 5):
            other.memory.commit(turn(n, f"Does boat {n} sail?", "It does."))
    append_typed(session_folder("boats"), TypedLine("Does boat 3 sail? Is my password good?", NUMBER))
    with talk() as conversation:
        assert conversation.forget(matching=SECRET).elsewhere == ()
    append_typed(session_folder("boats"), TypedLine(f"Is {SECRET} a boat?", 5))
    with talk() as conversation:
        (held,) = conversation.forget(matching=SECRET).elsewhere
        assert (held.name, held.turns, held.n_lines) == ("boats", (), 1)
        conversation.forget_in("boats", conversation.forget(matching=SECRET).what)
    assert read_typed(session_folder("boats")) == [TypedLine("Does boat 3 sail? Is my password good?", NUMBER)]


def test_a_fork_is_named_and_forgets_when_it_is_asked() -> None:
    prepare()
    fork_session("s", "copy")
    time.sleep(1.1)  # a turn is told from another of the same words by its second
    prepare(name="another talk")
    with talk() as conversation:
        done = conversation.forget(turns=[NUMBER])
        assert [(held.name, held.turns) for held in done.elsewhere] == [("copy", (NUMBER,))]
        done = conversation.forget(matching=SECRET)
        assert [held.name for held in done.elsewhere] == ["another talk", "copy"]
        with talk(name="copy"), pytest.raises(StoreError, match="copy: another chat has this session"):
            conversation.forget_in("copy", done.what)
        for held in done.elsewhere:
            assert conversation.forget_in(held.name, done.what) == (NUMBER,)
        assert conversation.forget(matching=SECRET).elsewhere == ()
        assert conversation.pipeline.recollection is conversation.memory
    assert texts(data_folder()) == []
    assert read_typed(session_folder("another talk")) == list(KEPT)


def test_a_number_that_was_given_again_is_not_forgotten() -> None:
    with talk() as conversation:
        conversation.ask(questions(NUMBER))
        gone = conversation.turns[0]
        conversation.undo()
        conversation.ask("Does the boat sail?")
    what = {"turns": [{name: getattr(gone, name) for name in gone.__slots__}], "matching": "", "words": []}
    (session_folder("s") / INTENT).write_text(json.dumps(what))
    with talk() as conversation:
        assert [turn.question for turn in conversation.turns] == ["Does the boat sail?"]
    assert not (session_folder("s") / INTENT).exists()
    assert texts(data_folder()) == []


def test_a_session_with_something_left_to_forget_is_not_copied() -> None:
    prepare()
    (session_folder("s") / INTENT).write_text("{}")
    with pytest.raises(StoreError, match="what was to be forgotten is not forgotten yet: open it once"):
        fork_session("s", "copy")
    with pytest.raises(StoreError, match=r"forget\.json cannot be read .*Delete it, and forget that again"):
        talk()


def test_forgetting_waits_for_a_reader_and_says_so_in_the_end() -> None:
    prepare()
    with talk() as conversation:
        reader = sqlite3.connect(session_folder("s") / "session.sqlite", isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM turns").fetchone()
        conversation.memory.transcript.db.execute("PRAGMA busy_timeout = 100")  # type: ignore[attr-defined]
        with pytest.raises(StoreError, match=r"another process is reading it|locked"):
            conversation.forget(matching=SECRET)
        reader.close()
        assert (session_folder("s") / INTENT).exists()
    with talk() as conversation:
        assert NUMBER not in {turn.number for turn in conversation.turns}
    assert texts(data_folder()) == []


@pytest.mark.parametrize(("kind", "n_texts"), [("snapshots", 1), ("pieces", 2)])
def test_kept_cells_go_by_time_and_by_text(kind: str, n_texts: int) -> None:
    """Old cells that hold the text go too: it may have been said in another session."""
    prepare()
    folder = cache_folder() / kind / "model"
    texts_of = {
        "old": "The boat sails at nine.",
        "old, with the question": f"Question: {questions(NUMBER).upper().replace(' ', '  ')}",
        "new": "The boat sails at nine.",
    }
    for name, text in texts_of.items():
        words = [np.frombuffer(part.encode(), np.uint8) for part in ("prefix", text)[-n_texts:]]
        cell_files.write(folder / f"{name}.kv", {}, [*words, np.zeros(4, np.float32)])
        if name != "new":
            os.utime(folder / f"{name}.kv", (1, 1))
    (folder / "half.part").write_text("cells")
    with talk() as conversation:
        conversation.forget(turns=[NUMBER])
    assert [path.name for path in folder.iterdir()] == ["old.kv"]
    assert texts(cache_folder()) == []


@pytest.mark.parametrize(("number", "kept"), [(1, ["before the session"]), (2, ["before the session", "turn 1"])])
def test_cells_that_were_kept_before_the_answer_was_committed_go(number: int, kept: list[str]) -> None:
    """A turn's time is that of its commit. Its prompt was read and kept before that, perhaps in other words."""
    folder = cache_folder() / "snapshots" / "model"
    times = {"before the session": "09:57:00", "turn 1": "09:59:30", "turn 2": "10:04:30"}
    for name, time_of_day in times.items():
        cell_files.write(folder / f"{name}.kv", {}, [np.frombuffer(b"A summary.", np.uint8), np.zeros(4, np.float32)])
        written = datetime.fromisoformat(f"2026-01-01T{time_of_day}+00:00").timestamp()
        os.utime(folder / f"{name}.kv", (written, written))
    with talk() as conversation:
        memory = conversation.memory
        memory.transcript.set("begun", "2026-01-01T09:58:00+00:00")  # type: ignore[attr-defined]
        for n, time_of_day in enumerate(("10:00:00", "10:05:00"), 1):
            memory.commit(Turn(n, questions(n), "It is.", f"2026-01-01T{time_of_day}+00:00"))
        conversation.forget(turns=[number])
    assert sorted(path.stem for path in folder.iterdir()) == kept


def test_an_intent_of_an_older_longthread_is_finished() -> None:
    turns = prepare()
    what = asdict(plan(turns, [NUMBER]))
    del what["since"]
    (session_folder("s") / INTENT).write_text(json.dumps(with_checksum(what)))
    with talk() as conversation:
        assert NUMBER not in {turn.number for turn in conversation.turns}
    assert texts(data_folder()) == []


def test_models_that_are_loaded_forget_the_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a model holds in memory would be written to the disk later."""
    prepare()
    forgotten: list[str] = []
    with talk() as conversation:
        monkeypatch.setattr(type(conversation.pipeline.reader), "forget", lambda _, text: forgotten.append(text), False)
        conversation.forget(matching=SECRET)
    assert forgotten[:2] == [SECRET, questions(NUMBER)]


def test_a_changed_intent_forgets_nothing() -> None:
    prepare()
    content = with_checksum({"turns": [], "matching": SECRET, "words": []})
    (session_folder("s") / INTENT).write_text(json.dumps(content).replace(SECRET, "lucky"))
    with pytest.raises(StoreError, match=r"forget\.json cannot be read \(its checksum does not agree"):
        talk()
    (session_folder("s") / INTENT).unlink()
    with talk() as conversation:
        assert len(conversation.turns) == 8


def test_nothing_forgotten_writes_nothing(tmp_path: Path) -> None:
    with pipeline_with(WORDS) as pipeline, Conversation(pipeline, tmp_path / "x") as conversation:
        conversation.ask("Is anyone there?")
        done = conversation.forget(before="2001-01-01")
        assert (done.what, done.turns, done.n_lines) == (Forgetting(()), (), 0)
        assert not (tmp_path / "x" / INTENT).exists()
