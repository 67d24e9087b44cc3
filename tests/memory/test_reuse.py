"""With the same documents a follow-up reads its own question, and finds the rest in the KV cache."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.conversation.conversation import Conversation
from pipeline.conversation.sessions import delete_session, session_folder
from pipeline.listener import Listener
from pipeline.pipeline import Pipeline
from pipeline.registry import make
from tests.memory.talks import indexed, pipeline_with
from tests.models.random_file import random_model


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A tiny model, whose answers are noise."""
    return str(random_model(tmp_path))


@pytest.mark.parametrize("name", ["memory.full", "memory.hierarchical"])
def test_a_follow_up_reuses_all_that_went_before(tmp_path: Path, name: str) -> None:
    memory = make(name, dict((("dense_weight", 0.0),) if name == "memory.hierarchical" else ()))
    scripted = pipeline_with(memory, indexed(tmp_path), k=3)
    llama = make("generate.llama", {"model": "smollm2-135m", "n_ctx": 1024, "max_tokens": 8})
    config = replace(scripted.config, stages=(*scripted.config.stages[:-1], llama))
    scripted.config = config
    with scripted as pipeline, Conversation(pipeline, tmp_path / "session") as talk:
        question = "Does the ferry leave the tower and the garden, and when?"
        first = talk.ask(question).ledger
        then = talk.ask(question).ledger
        last = talk.ask(question).ledger
    assert first.generation is not None
    assert then.generation is not None
    assert last.generation is not None
    assert dict(first.parts)["passages"] > 60
    question_tokens = dict(first.parts)["question"] + 20  # with the template around it
    assert then.generation.reused_tokens >= first.prompt_tokens - 2
    assert last.generation.reused_tokens >= then.prompt_tokens - 2
    assert then.prompt_tokens - then.generation.reused_tokens <= question_tokens + 8


def with_llama(tmp_path: Path, model: str) -> Pipeline:
    scripted = pipeline_with(make("memory.full"), indexed(tmp_path), k=3)
    settings = (("model", model), ("n_ctx", 4096), ("max_tokens", 8))
    scripted.config = replace(
        scripted.config, stages=(*scripted.config.stages[:-1], make("generate.llama", dict(settings)))
    )
    return scripted


def test_a_session_that_is_opened_again_finds_what_its_last_prompt_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path / "cache"))
    question = "Does the ferry leave the tower and the garden, and when?"
    with with_llama(tmp_path, model) as pipeline, Conversation(pipeline, tmp_path / "session") as talk:
        first = talk.ask(question).ledger
    with with_llama(tmp_path, model) as pipeline, Conversation(pipeline, tmp_path / "session") as talk:
        then = talk.ask(question)
    generation = then.ledger.generation
    assert generation is not None
    assert generation.reused_tokens >= first.prompt_tokens - 2, "as it is without a restart, see above"
    with with_llama(tmp_path, model) as pipeline, Conversation(pipeline, tmp_path / "another") as talk:
        talk.ask(question)
        other = talk.ask(question).answer
    assert then.answer is not None
    assert other is not None
    assert then.answer.text == other.text, "the cells are those of a session that was never closed"


def test_what_is_forgotten_is_in_no_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path / "cache"))
    with with_llama(tmp_path, model) as pipeline, Conversation(pipeline, tmp_path / "session") as talk:
        talk.ask("When does the ferry leave for Zanzibar?")
    (kept,) = (tmp_path / "cache" / "snapshots").glob("*/*.kv")
    assert b"Zanzibar" in kept.read_bytes()
    with with_llama(tmp_path, model) as pipeline, Conversation(pipeline, tmp_path / "session") as talk:
        talk.ask("And when does the ferry come back from Zanzibar?")
        talk.forget(matching="Zanzibar")
    files = [path for path in tmp_path.rglob("*") if path.is_file() and b"Zanzibar" in path.read_bytes()]
    assert not files


def test_a_session_that_is_deleted_leaves_no_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LONGTHREAD_DATA", str(tmp_path / "data"))
    with with_llama(tmp_path, model) as pipeline, Conversation(pipeline, session_folder("zanzibar")) as talk:
        talk.ask("When does the ferry leave for Zanzibar?")
    assert list((tmp_path / "cache" / "snapshots").glob("*/*.kv"))
    delete_session("zanzibar")
    assert not list((tmp_path / "cache" / "snapshots").glob("*/*.kv"))


def test_an_answer_is_stopped_while_the_prompt_is_read(tmp_path: Path, model: str) -> None:
    scripted = pipeline_with(make("memory.full"), indexed(tmp_path), k=3)
    settings = (("model", model), ("n_ctx", 4096), ("n_batch", 32), ("n_ubatch", 32), ("max_tokens", 8))
    scripted.config = replace(
        scripted.config, stages=(*scripted.config.stages[:-1], make("generate.llama", dict(settings)))
    )
    with scripted as pipeline, Conversation(pipeline, tmp_path / "session") as talk:
        read: list[int] = []

        def stop(what: str, done: int, total: int) -> None:
            if what == "read prompt":
                read.append(done)
                talk.cancel()

        pipeline.listener = Listener(stop)
        state = talk.ask("Does the ferry leave the tower and the garden?")
        assert state.ledger.generation is not None
        assert (state.ledger.generation.finish, talk.turns[0].answer) == ("cancelled", "")
        assert len(read) == 1
        pipeline.listener = Listener()
        assert talk.ask("When does the ferry leave?").ledger.generation is not None
        assert [turn.finish == "cancelled" for turn in talk.turns] == [True, False]
