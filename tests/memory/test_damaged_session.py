"""A session whose file was damaged opens with its turns, or is named with what to do."""

from __future__ import annotations

import contextlib
import random
import shutil
from pathlib import Path

import pytest

from pipeline.conversation.conversation import Conversation
from pipeline.conversation.transcript import NAME, read_turns
from pipeline.conversation.typed import TypedLine, append_typed, n_damaged, read_typed
from pipeline.errors import StoreError
from pipeline.storage.checksums import checksum_file
from tests.faults import damage
from tests.memory.talks import SMALL_TIERS, pipeline_with
from tests.rounds import rounds


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("session")
    with pipeline_with(SMALL_TIERS) as pipeline, Conversation(pipeline, folder) as talk:
        for n in range(8):
            talk.ask(f"My lucky number of round {n} is {n * 7}. Is it not?")
            talk.settle()
    return folder


@pytest.mark.parametrize("seed", rounds(range(60), 20))
def test_a_damaged_session_that_was_not_closed_is_no_traceback(session: Path, tmp_path: Path, seed: int) -> None:
    shutil.copytree(session, tmp_path / "s")
    path = tmp_path / "s" / NAME
    checksum_file(path).unlink()
    path.write_bytes(damage(path.read_bytes(), random.Random(seed)))
    with (
        contextlib.suppress(StoreError),  # it says what to do; anything else is a failure
        pipeline_with(SMALL_TIERS) as pipeline,
        Conversation(pipeline, tmp_path / "s") as talk,
    ):
        talk.memory.items()
        talk.memory.search("lucky number")
        talk.ask("What is my lucky number of round 2?")
        talk.settle()


@pytest.fixture
def changed(session: Path, tmp_path: Path) -> Path:
    """A session with another number in one of its turns; SQLite finds nothing wrong with it."""
    shutil.copytree(session, tmp_path / "s")
    path = tmp_path / "s" / NAME
    data = path.read_bytes()
    assert data.count(b"round 3 is 21") > 0
    path.write_bytes(data.replace(b"round 3 is 21", b"round 3 is 27"))
    return path


def test_changed_text_is_named_and_can_be_used_as_it_is(changed: Path) -> None:
    message = rf"{NAME} was changed since the session was closed .* delete {NAME}\.crc32 beside it"
    with pipeline_with(SMALL_TIERS) as pipeline, pytest.raises(StoreError, match=message):
        Conversation(pipeline, changed.parent)
    with pytest.raises(StoreError, match=message):
        read_turns(changed.parent)
    checksum_file(changed).unlink()
    with pipeline_with(SMALL_TIERS) as pipeline, Conversation(pipeline, changed.parent) as talk:
        assert talk.turns[3].question == "My lucky number of round 3 is 27. Is it not?"
        assert not checksum_file(changed).exists(), "while it is open it changes"
        assert read_turns(changed.parent) == talk.turns
    assert len(read_turns(changed.parent)) == 8
    assert checksum_file(changed).stat().st_mode & 0o077 == 0


def test_a_session_that_was_not_closed_is_opened(session: Path, tmp_path: Path) -> None:
    """A kill leaves the log, and no checksum: what is in the log counts."""
    with pipeline_with(SMALL_TIERS) as pipeline, Conversation(pipeline, tmp_path / "s") as talk:
        talk.ask("Is anyone there?")
        shutil.copytree(tmp_path / "s", tmp_path / "killed")
        talk.ask("And now?")
    with pipeline_with(SMALL_TIERS) as pipeline, Conversation(pipeline, tmp_path / "killed") as talk:
        assert [turn.question for turn in talk.turns] == ["Is anyone there?"]


def test_a_changed_turn_that_was_set_aside_does_not_come_back(session: Path, tmp_path: Path) -> None:
    shutil.copytree(session, tmp_path / "s")
    with pipeline_with(SMALL_TIERS) as pipeline, Conversation(pipeline, tmp_path / "s") as talk:
        talk.set_aside()
    path = tmp_path / "s" / "aside.json"
    path.write_text(path.read_text().replace("round 7 is 49", "round 7 is 45"))
    with (
        pipeline_with(SMALL_TIERS) as pipeline,
        pytest.raises(StoreError, match=r"aside\.json cannot be read .* Delete it"),
    ):
        Conversation(pipeline, tmp_path / "s")
    path.unlink()
    with pipeline_with(SMALL_TIERS) as pipeline, Conversation(pipeline, tmp_path / "s") as talk:
        assert len(talk.turns) == 7


def test_damaged_typed_lines_are_passed_over_and_counted(tmp_path: Path) -> None:
    for text in ("first", "second", "third"):
        append_typed(tmp_path, TypedLine(text, 1))
    path = tmp_path / "typed.jsonl"
    path.write_bytes(b'"of an older version"\n{"text": "older", "turn": 4}\n' + path.read_bytes())
    path.write_text(path.read_text().replace("second", "secund") + '{"text": "cut sh')
    assert [line.text for line in read_typed(tmp_path)] == ["of an older version", "older", "first", "third"]
    assert n_damaged(tmp_path) == 2
