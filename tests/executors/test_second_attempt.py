"""A model that first answers `[1]` is asked once more, alone and in a batch, with the same result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.answers.layouts import BRIEF, DEFAULT, next_layout
from pipeline.contracts import Component
from pipeline.executors.folder import read_run
from pipeline.executors.run import RunOptions, run
from pipeline.listener import Listener
from pipeline.pipeline import Pipeline
from pipeline.registry import make
from pipeline.types import Question, State
from tests.executors.conftest import QUESTIONS, config, samples

SAID = (("[1]", ""), ("[1]", "[2] [3]"), ("The answer is: The answer is:", "<passage 1>"), ("42 zebras", ""))


def stubborn(first: str, second: str) -> Component:
    component: Component = make("generate.stubborn", {"first": first, "second": second})
    return component


@pytest.mark.parametrize(
    ("first", "second", "executor"),
    [
        *[(*said, "local") for said in SAID],
        (*SAID[1], "ray"),
        *[pytest.param(*said, "ray", marks=pytest.mark.thorough) for said in (SAID[0], *SAID[2:])],
    ],
    indirect=["executor"],
)
def test_a_batch_answers_as_ask_does(first: str, second: str, index: Path, tmp_path: Path, executor: str) -> None:
    pipeline = config(last=stubborn(first, second))
    run(pipeline, index, samples(3), tmp_path, RunOptions(executor))  # type: ignore[arg-type]
    records = [record.result.to_dict() for record in read_run(tmp_path).records if record.result is not None]
    with Pipeline(pipeline, index) as alone:
        states = [alone.ask(Question(text, f"q{n}")) for n, text in enumerate(QUESTIONS)]
    assert len(records) == len(states) == 3
    for record, state in zip(records, states, strict=True):
        assert state.answer is not None
        assert record["answer"] == state.answer.text
        assert record["by"] == state.answer.by
        assert not second or state.answer.by == "quote"
        assert record["said"] == state.answer.said
        assert [c["number"] for c in record["citations"]] == [c.number for c in state.answer.citations]
        assert "asked again in another layout" in _notes(state)[0]
        assert _kinds(record["ledger"]["stages"][-1]["notes"]) == _kinds(_notes(state))


def test_the_second_attempt_is_in_the_next_layout_and_its_answer_is_shown(index: Path) -> None:
    heard: list[str] = []
    with Pipeline(
        config(last=stubborn("[1]", "")), index, Listener(on_text=heard.append, on_retry=heard.append)
    ) as pipeline:
        state = pipeline.ask(Question(QUESTIONS[1], "q"))
    assert heard[:2] == ["[1]", "it has no words"]
    assert state.answer is not None
    assert state.answer.by == "model"
    assert "".join(heard[2:]).endswith(state.answer.text)
    assert "TOWN HALL OF SKELBY" in state.answer.text
    assert state.ledger.layout == next_layout(DEFAULT).name
    assert not any(BRIEF in getattr(span, "text", "") for span in state.prompt)
    assert any(BRIEF in getattr(span, "text", "") for span in state.second_prompt)
    assert "asked again in another layout because the first answer was unusable: it has no words" in _notes(state)[0]
    assert "the first answer: '[1]'" in _notes(state)[0]


def test_a_usable_answer_is_not_asked_for_again(index: Path) -> None:
    heard: list[str] = []
    with Pipeline(config(), index, Listener(on_retry=heard.append)) as pipeline:
        state = pipeline.ask(Question(QUESTIONS[1], "q"))
    assert not heard
    assert state.answer is not None
    assert state.answer.by == "model"
    assert not any("asked again" in note for note in _notes(state))


def test_a_prompt_of_another_stage_than_cited_has_no_second_attempt(index: Path) -> None:
    from dataclasses import replace

    cited = config(last=stubborn("[1]", ""))
    plain = replace(cited, stages=(*cited.stages[:-2], make("assemble.plain"), cited.stages[-1]))
    with Pipeline(plain, index) as pipeline:
        state = pipeline.ask(Question(QUESTIONS[1], "q"))
    assert state.answer is not None
    assert (state.answer.text, state.answer.by, state.answer.faults) == ("[1]", "model", ())


def _notes(state: State) -> list[str]:
    return list(state.ledger.stages[-1].notes)


def _kinds(notes: Any) -> list[str]:
    """The notes without their figures, which differ from run to run."""
    return [note.split("(")[0] for note in notes]
