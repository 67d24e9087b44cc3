"""Games of `tests.kills` with a session: forgetting, asking again, copying and deleting, each killed on the way."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.contracts import Component
from pipeline.conversation.conversation import Conversation
from pipeline.conversation.sessions import (
    delete_session,
    fork_session,
    list_sessions,
    session_folder,
    sweep_sessions,
)
from pipeline.conversation.typed import TypedLine, append_typed, read_typed
from pipeline.registry import make
from pipeline.types import Turn
from tests.kills import Game
from tests.memory.talks import pipeline_with

SECRET = "zanzibar77"  # noqa: S105 - it is no password of anything
"""Stands in turn 3 and in what was typed around it, and nowhere else."""
NUMBER = 3
_SETTINGS = (("sensory_tokens", 60), ("segment_tokens", 30), ("summary_tokens", 30), ("recall_tokens", 60))
WORDS = make("memory.hierarchical", {**dict(_SETTINGS), "dense_weight": 0.0})
VECTORS = make("memory.hierarchical", dict(_SETTINGS))
WINDOW = make("memory.window")
TYPED = (
    TypedLine("When was the tower built?", 1),
    TypedLine("What is my pass word?", NUMBER),
    TypedLine(f"My password is {SECRET}. Is it good?", NUMBER),
    TypedLine(f"/edit My pass word is {SECRET}.", NUMBER),
    TypedLine(f"/memory search {SECRET.upper()}", NUMBER + 1),
    TypedLine("/memory search password", NUMBER + 2),
    TypedLine("Does the boat sail at 5?", 5),
)
KEPT = (TYPED[0], TYPED[-1])


def texts(folder: Path) -> list[str]:
    """Every file below a folder that holds a byte string of the secret, whatever its case or coding."""
    forms = [form for text in (SECRET, SECRET.upper()) for form in (text.encode(), text.encode("utf-16-le"))]
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return [str(path.relative_to(folder)) for path in paths if any(form in path.read_bytes() for form in forms)]


def talk(memory: Component = WORDS, name: str = "s") -> Conversation:
    return Conversation(pipeline_with(memory), session_folder(name))


def questions(n: int) -> str:
    if n == NUMBER:
        return f"My password is {SECRET}. Is it good?"
    return f"My lucky number of round {n} is {n * 7}. Is it not?"


def prepare(memory: Component = WORDS, name: str = "s") -> list[Turn]:
    with talk(memory, name) as conversation:
        for n in range(1, 9):
            conversation.ask(questions(n))
            conversation.settle()
        turns = list(conversation.turns)
    for line in TYPED:
        append_typed(session_folder(name), line)
    return turns


def prepared(memory: Component) -> Game:
    """Forgetting by text, with a memory that keeps words, or words and vectors."""

    def make(folder: Path) -> None:
        prepare(memory)
        if not texts(folder):
            raise AssertionError("the secret is in no file: the game shows nothing")

    def play(folder: Path) -> None:
        with talk(memory) as conversation:
            conversation.forget(matching=SECRET)

    def check(folder: Path) -> None:
        with talk(memory) as conversation:
            numbers = [turn.number for turn in conversation.turns]
            is_begun = NUMBER not in numbers
            kept = [n for n in range(1, 9) if n != NUMBER]
            assert [n for n in numbers if n != NUMBER] == kept
            assert [turn.question for turn in conversation.turns if turn.number != NUMBER] == list(map(questions, kept))
            if is_begun:
                assert texts(folder) == [], "forgotten, and yet there"
            else:
                assert read_typed(session_folder("s")) == list(TYPED), "not forgotten, but typed lines are gone"
            again = conversation.forget(matching=SECRET)
            assert bool(again.turns) == (not is_begun)
            assert texts(folder) == []
            assert read_typed(session_folder("s")) == list(KEPT)
            conversation.settle()
            conversation.ask("And what is the lucky number of round 5?")
        assert texts(folder) == []

    return Game(make, play, check, is_warmed=memory is not VECTORS)


FORGET = prepared(WORDS)
FORGET_VECTORS = prepared(VECTORS)
FORGET_WINDOW = prepared(WINDOW)


def _ask_again(folder: Path) -> None:
    with talk() as conversation:
        conversation.set_aside()
        conversation.ask("In other words?")


def _make_last(folder: Path) -> None:
    with talk() as conversation:
        for n in range(1, NUMBER + 1):
            conversation.ask(questions(n))


def _check_again(folder: Path) -> None:
    with talk() as conversation:
        wordings = [turn.question for turn in conversation.turns]
        assert wordings[:2] == [questions(1), questions(2)]
        assert wordings[2:] in ([questions(NUMBER)], ["In other words?"]), wordings
        conversation.forget(turns=[NUMBER])
        conversation.forget(matching=SECRET)
        assert texts(folder) == []


RETRY = Game(_make_last, _ask_again, _check_again)


def _undo(folder: Path) -> None:
    with talk() as conversation:
        conversation.undo()


def _check_undo(folder: Path) -> None:
    with talk() as conversation:
        is_undone = len(conversation.turns) == NUMBER - 1
        assert len(conversation.turns) >= NUMBER - 1
        if is_undone:
            assert texts(folder) == []


UNDO = Game(_make_last, _undo, _check_undo)


def _make_two(folder: Path) -> None:
    prepare()
    with talk(name="other") as conversation:
        conversation.ask("Is anyone there?")


def _fork(folder: Path) -> None:
    fork_session("s", "copy")


def _check_fork(folder: Path) -> None:
    known = {info.name: info.n_turns for info in list_sessions()}
    assert known.pop("copy", 8) == 8
    assert known == {"s": 8, "other": 1}
    with talk() as conversation:
        done = conversation.forget(matching=SECRET)
        for held in done.elsewhere:
            assert conversation.forget_in(held.name, done.what) == (NUMBER,)
    assert texts(folder) == []


FORK = Game(_make_two, _fork, _check_fork)


def _delete(folder: Path) -> None:
    delete_session("s")


def _check_delete(folder: Path) -> None:
    sweep_sessions()
    known = {info.name: info.n_turns for info in list_sessions()}
    assert known.pop("s", 8) == 8
    assert known == {"other": 1}
    if not session_folder("s").exists():
        assert texts(folder) == []


DELETE = Game(_make_two, _delete, _check_delete)


def _chat(folder: Path) -> None:
    with talk() as conversation:
        for n in range(1, 6):
            conversation.ask(questions(n))
            (folder / "shown.json").write_text(json.dumps(n))
            conversation.settle()


def _check_chat(folder: Path) -> None:
    shown = folder / "shown.json"
    text = shown.read_text() if shown.exists() else ""
    with talk() as conversation:
        assert [turn.question for turn in conversation.turns] == [
            questions(n + 1) for n in range(len(conversation.turns))
        ]
        assert len(conversation.turns) >= int(text or 0)
        conversation.settle()


CHAT = Game(lambda folder: None, _chat, _check_chat)
