"""A chat that is killed at any moment loses nothing that was shown as complete, and goes on from there."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.conversation.conversation import Conversation
from pipeline.errors import StoreError
from pipeline.pipeline import Pipeline
from pipeline.types import Question
from tests.memory.talks import SMALL_TIERS, pipeline_with

CHAT = """
import sys
from pathlib import Path
from pipeline.conversation.conversation import Conversation
from tests.memory.talks import SMALL_TIERS, pipeline_with
with pipeline_with(SMALL_TIERS) as pipeline, Conversation(pipeline, Path(sys.argv[1])) as talk:
    talk.memory.search("everything that is slow to load")
    print("open", flush=True)
    while True:
        n = talk.memory.next_number
        state = talk.ask(f"My lucky number of round {n} is {n * 7}. Is it not?")
        print(f"shown {n} {state.answer.text}", flush=True)
        talk.settle()
"""


def killed(folder: Path, moment: float) -> list[tuple[int, str]]:
    """Number and answer of each turn that a chat showed as complete, before it was killed after so many seconds."""
    chat = subprocess.Popen([sys.executable, "-c", CHAT, str(folder)], stdout=subprocess.PIPE, text=True)
    assert chat.stdout is not None
    assert chat.stdout.readline() == "open\n"
    time.sleep(moment)
    chat.kill()
    output, _ = chat.communicate()
    assert chat.returncode == -signal.SIGKILL
    whole = [line.split(" ", 2) for line in output.splitlines(keepends=True) if line.endswith("\n")]
    return [(int(number), answer.strip()) for _, number, answer in whole]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("n_kills", [4, pytest.param(10, marks=pytest.mark.thorough)])
def test_killed_at_random_moments_nothing_that_was_shown_is_lost(tmp_path: Path, n_kills: int) -> None:
    rng = random.Random(5)
    shown: dict[int, str] = {}
    n_turns: list[int] = []
    while len(n_turns) < n_kills or (n_turns[-1] <= 12 and len(n_turns) < 20):  # more on a slow machine
        shown.update(killed(tmp_path, rng.uniform(0.0, 1.0)))
        with pipeline_with(SMALL_TIERS) as pipeline, Conversation(pipeline, tmp_path) as talk:
            n_turns.append(check(pipeline, talk, shown))
    assert n_turns[-1] > 12
    assert len(shown) > 8


def check(pipeline: Pipeline, talk: Conversation, shown: dict[int, str]) -> int:
    turns = {item.number: item for item in talk.turns}
    assert list(turns) == list(range(1, len(turns) + 1))
    assert {number: turns[number].answer for number in shown} == shown
    talk.settle()
    items = talk.memory.items()
    held = [number for item in items if item.tier in ("unit", "sensory") for number in item.turns]
    assert sorted(held) == list(turns), "each turn is in one tier"
    if len(turns) > 12:
        recall = talk.memory.recall(Question("lucky number of round 2"), pipeline, 500)
        assert [item.tier for item in recall.recalled if item.tier == "unit"]
    return len(turns)


AGAIN = """
import os, signal, sys
from pathlib import Path
from pipeline.conversation.conversation import Conversation
from tests.memory.talks import SMALL_TIERS, pipeline_with
with pipeline_with(SMALL_TIERS) as pipeline, Conversation(pipeline, Path(sys.argv[1])) as talk:
    commit = talk.memory.commit
    talk.set_aside()
    def killed(turn):
        if sys.argv[2] == "after":
            commit(turn)
        os.kill(os.getpid(), signal.SIGKILL)
    talk.memory.commit = killed
    talk.ask("Is it in other words?")
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_turn_that_is_asked_again_is_there_until_its_successor_is(tmp_path: Path, moment: str) -> None:
    with pipeline_with(SMALL_TIERS) as pipeline, Conversation(pipeline, tmp_path) as talk:
        talk.ask("My lucky number is 7. Is it not?")
        first = talk.turns
    done = subprocess.run([sys.executable, "-c", AGAIN, str(tmp_path), moment], check=False)
    assert done.returncode == -signal.SIGKILL
    with pipeline_with(SMALL_TIERS) as pipeline, Conversation(pipeline, tmp_path) as talk:
        if moment == "before":
            assert talk.turns == first
        else:
            assert [turn.question for turn in talk.turns] == ["Is it in other words?"]
        assert not (tmp_path / "aside.json").exists()
        assert b"lucky" in b"".join(f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()) or moment == "after"


def test_a_turn_whose_successor_fails_comes_back(tmp_path: Path) -> None:
    with pipeline_with(SMALL_TIERS) as pipeline, Conversation(pipeline, tmp_path) as talk:
        talk.ask("My lucky number is 7. Is it not?")
        before = talk.turns
        assert talk.set_aside() == before[0]
        assert talk.turns == ()
        talk.restore()
        assert talk.turns == before
        talk.restore()
        assert talk.turns == before


def test_a_turn_that_cannot_be_kept_aside_is_not_taken_back(tmp_path: Path) -> None:
    with pipeline_with(SMALL_TIERS) as pipeline, Conversation(pipeline, tmp_path) as talk:
        talk.ask("My lucky number is 7. Is it not?")
        (tmp_path / "aside.json").mkdir()
        with pytest.raises(StoreError, match=r"aside\.json cannot be written: .*; the last turn is as it was"):
            talk.set_aside()
        assert len(talk.turns) == 1


def test_a_damaged_aside_is_told_and_the_session_is_free_again(tmp_path: Path) -> None:
    (tmp_path / "aside.json").write_text("{")
    with pipeline_with(SMALL_TIERS) as pipeline:
        with pytest.raises(StoreError, match=r"aside\.json cannot be read"):
            Conversation(pipeline, tmp_path)
        (tmp_path / "aside.json").unlink()
        Conversation(pipeline, tmp_path).close()


def test_a_turn_that_was_replaced_does_not_come_back_when_its_successor_is_undone(tmp_path: Path) -> None:
    with pipeline_with(SMALL_TIERS) as pipeline:
        with Conversation(pipeline, tmp_path) as talk:
            talk.ask("My lucky number is 7. Is it not?")
            talk.set_aside()
            talk.ask("Is it in other words?")
            talk.undo()
        with Conversation(pipeline, tmp_path) as talk:
            assert talk.turns == ()
