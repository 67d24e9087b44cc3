from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.conversation.conversation import Conversation
from pipeline.conversation.sessions import (
    delete_session,
    fork_session,
    list_sessions,
    rename_session,
    session_folder,
)
from pipeline.errors import ConfigError, StoreError
from pipeline.pipeline import Pipeline
from pipeline.registry import make
from pipeline.text import languages
from pipeline.types import Prompt, Question, Text
from tests.memory.talks import indexed, pipeline_with

FULL = make("memory.full")


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return indexed(tmp_path_factory.mktemp("docs"))


def text(prompt: Prompt) -> str:
    return "".join(span.text for span in prompt if isinstance(span, Text))


def test_without_a_memory_the_prompt_is_as_it_was(docs: Path) -> None:
    with pipeline_with(None, docs) as pipeline:
        state = pipeline.ask(Question("When does the ferry leave?"))
    assert text(state.prompt) == (
        "system:\nAnswer.\nuser:\n<passage 1>\nThe ferry leaves at nine. A child pays six marks on the ferry.\n"
        "</passage>\n\nQuestion: When does the ferry leave?\nassistant:\n"
    )
    assert dict(state.ledger.parts).keys() == {"template", "system", "passages", "question"}


def test_a_follow_up_continues_the_prompt_before(docs: Path, tmp_path: Path) -> None:
    with pipeline_with(FULL, docs, k=1) as pipeline, Conversation(pipeline, tmp_path) as talk:
        first = talk.ask("When does the ferry leave?")
        then = talk.ask("What does a child pay on the ferry?")
    begin = text(first.prompt) + (first.answer.text if first.answer else "")
    assert text(then.prompt).startswith(begin + "\nuser:\n\nQuestion: What does a child pay")
    assert [item.question for item in then.turns] == ["When does the ferry leave?"]
    assert sum(tokens for _, tokens in then.ledger.parts) == pipeline.reader.count(then.prompt)
    assert dict(then.ledger.parts)["history"] > 0


def test_passages_keep_their_numbers(docs: Path, tmp_path: Path) -> None:
    with pipeline_with(FULL, docs, k=2) as pipeline, Conversation(pipeline, tmp_path) as talk:
        first = talk.ask("the tower, the ferry")
        then = talk.ask("the tower, and the garden")
    names = [[Path(item.source).stem for item in state.shown] for state in (first, then)]
    kept = set(names[0]) & set(names[1])
    assert kept
    assert [names[0].index(item) for item in kept] == [names[1].index(item) for item in kept]


def test_the_rewritten_question_is_for_retrieval_alone(docs: Path, tmp_path: Path) -> None:
    with pipeline_with(FULL, docs, k=1) as pipeline, Conversation(pipeline, tmp_path) as talk:
        state = talk.ask("How many does it have?", search_for="How many beehives does the garden have?")
        assert "beehives" not in text(state.prompt).replace("four beehives", "")
        assert "garden" in state.shown[0].source
        assert talk.turns[0].question == "How many does it have?"


def test_a_stopped_answer_is_kept_as_far_as_it_came(docs: Path, tmp_path: Path) -> None:
    with pipeline_with(FULL, docs, k=1) as pipeline, Conversation(pipeline, tmp_path) as talk:
        pipeline.listener = replace(pipeline.listener, on_text=lambda _: talk.cancel())
        state = talk.ask("When does the ferry leave?")
        assert state.answer is not None
        assert (state.answer.text, talk.turns[0].answer, talk.turns[0].finish) == ("The", "The", "cancelled")
        pipeline.listener = replace(pipeline.listener, on_text=lambda _: None)
        whole = talk.ask("When does the ferry leave?")
        assert whole.answer is not None
        assert whole.answer.text == "The ferry leaves at nine. [1]"


def test_an_answer_stopped_before_it_began_is_kept_empty(docs: Path, tmp_path: Path) -> None:
    with pipeline_with(FULL, docs, k=1) as pipeline, Conversation(pipeline, tmp_path) as talk:
        reader = pipeline.reader
        count = reader.count

        def stopping(prompt: Prompt) -> int:
            talk.cancel()
            return count(prompt)

        reader.count = stopping  # type: ignore[method-assign]
        talk.ask("When does the ferry leave?")
        assert [(item.answer, item.finish) for item in talk.turns] == [("", "cancelled")]


def test_an_error_commits_nothing(docs: Path, tmp_path: Path) -> None:
    with pipeline_with(FULL, docs, k=1) as pipeline, Conversation(pipeline, tmp_path) as talk:

        def fail(_: str) -> None:
            raise RuntimeError("the terminal is gone")

        pipeline.listener = replace(pipeline.listener, on_text=fail)
        with pytest.raises(RuntimeError, match="the terminal is gone"):
            talk.ask("When does the ferry leave?")
        assert talk.turns == ()


def test_a_second_chat_on_a_session_is_refused(tmp_path: Path) -> None:
    with pipeline_with(FULL) as pipeline, pipeline_with(FULL) as other:
        talk = Conversation(pipeline, tmp_path)
        with pytest.raises(StoreError, match=r"another chat has this session \(pid \d+, since 20"):
            Conversation(other, tmp_path)
        talk.close()
        Conversation(other, tmp_path).close()


def test_a_pipeline_without_a_memory_is_refused(docs: Path, tmp_path: Path) -> None:
    with (
        pipeline_with(None, docs) as pipeline,
        pytest.raises(ConfigError, match=r"needs a memory stage right before assemble.cited: memory\.hierarchical"),
    ):
        Conversation(pipeline, tmp_path)


def test_sessions_are_listed_renamed_forked_and_deleted() -> None:
    with pipeline_with(FULL) as pipeline:
        with Conversation(pipeline, session_folder("one")) as talk:
            talk.ask("Is anyone there?")
            with pytest.raises(StoreError, match="another chat has this session"):
                rename_session("one", "two")
            fork_session("one", "copy")
        rename_session("one", "two")
        with Conversation(pipeline, session_folder("copy")) as talk:
            assert [item.question for item in talk.turns] == ["Is anyone there?"]
            talk.ask("And in the copy?")
    assert sorted((info.name, info.n_turns) for info in list_sessions()) == [("copy", 2), ("two", 1)]
    with pytest.raises(StoreError, match="there is a session 'two' already"):
        rename_session("copy", "two")
    delete_session("copy")
    assert [info.name for info in list_sessions()] == ["two"]
    with pytest.raises(StoreError, match="there is no session 'copy'; there are: two"):
        fork_session("copy", "three")


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a" * 65, "end."])
def test_a_name_that_is_a_path_is_refused(name: str) -> None:
    with pytest.raises(StoreError, match="cannot name a session"):
        session_folder(name)


def test_a_question_on_its_own_remembers_nothing(docs: Path) -> None:
    with pipeline_with(FULL, docs) as pipeline:
        state = pipeline.ask(Question("When does the ferry leave?"))
    assert state.answer is not None
    assert [entry.notes for entry in state.ledger.stages if entry.stage == "memory.full"] == [
        ("no conversation is open: nothing is remembered",)
    ]


def pipeline_is_open(pipeline: Pipeline) -> bool:
    return pipeline.recollection is not None


def test_a_closed_conversation_leaves_the_pipeline_free(tmp_path: Path) -> None:
    with pipeline_with(FULL) as pipeline:
        with Conversation(pipeline, tmp_path):
            assert pipeline_is_open(pipeline)
        assert not pipeline_is_open(pipeline)


def test_the_lists_of_stop_words_are_loaded_before_the_question(docs: Path, tmp_path: Path) -> None:
    languages._claims_as_written.cache_clear()
    with pipeline_with(FULL, docs, k=1) as pipeline, Conversation(pipeline, tmp_path) as talk:
        talk.warm_up()
        assert languages._claims_as_written.cache_info().currsize == 1


def test_a_resumed_session_imports_chroma_before_the_question(
    docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported: list[str] = []
    monkeypatch.setattr("memory.hierarchical.tiers.load_library", lambda: imported.append("chromadb"))
    with pipeline_with(make("memory.hierarchical"), docs, k=1) as pipeline:
        with Conversation(pipeline, tmp_path) as talk:
            talk.warm_up()
            assert imported == [], "the first answer of a new session needs no vectors of turns"
            talk.ask("When does the ferry leave?")
        with Conversation(pipeline, tmp_path) as talk:
            talk.warm_up()
            assert imported == ["chromadb"]
    with pipeline_with(FULL, docs, k=1) as pipeline, Conversation(pipeline, tmp_path / "full") as talk:
        talk.ask("When does the ferry leave?")
        talk.warm_up()
    assert imported == ["chromadb"], "memory.full searches no vectors"
