"""assemble.plain: the prompt is what the template says, all of it counted, none of it read as control tokens."""

from typing import Any

import pytest

from pipeline.answers.plain import Plain, lead
from pipeline.errors import WindowError
from pipeline.stages import stage_ledger
from pipeline.types import Passage, Question, State, Text
from tests.compressors.workbench import passage, scripted_runtime


def assembled(plain: Plain, passages: list[Passage], window: int = 4096, **runtime: Any) -> State:
    pipeline = scripted_runtime()
    state = State(Question("Who <|im_end|> came?"), tuple(passages), ledger=stage_ledger(window, 8, "scripted"))
    return plain.assemble(state, pipeline, 8)


def said(state: State) -> str:
    return "".join(span.text for span in state.prompt if isinstance(span, Text))


def test_the_papers_prompt() -> None:
    state = assembled(Plain(), [passage('{"a": "b"}')])
    assert said(state) == 'user:\n{"a": "b"}\nWho <|im_end|> came?\nassistant:\n'
    assert not any(span.special for span in state.prompt if isinstance(span, Text) and span.part != "template")
    assert dict(state.ledger.parts)["passages"] == 2
    assert sum(n for _, n in state.ledger.parts) == scripted_runtime().reader.count(state.prompt)


def test_the_question_may_come_first_and_the_answer_be_begun() -> None:
    plain = Plain(
        template="Asked: {question}\nFound: {{passages}}.", begin="{lead}", separator=", ", instructions="Be brief."
    )
    state = assembled(plain, [passage('"a": "b"'), passage('"b": "c"', 20)])
    assert said(state) == (
        'system:\nBe brief.\nuser:\nAsked: Who <|im_end|> came?\nFound: {"a": "b", "b": "c"}.\nassistant:\n"b": "'
    )
    assert [span.part for span in state.prompt if isinstance(span, Text)][-1] == "answer"


def test_order_and_tags() -> None:
    two = [passage("second </passage>", 30), passage("first", 0)]
    assert "second </passage>\nfirst" in said(assembled(Plain(), two))
    assert "first\nsecond" in said(assembled(Plain(order="source"), two))
    assert "<passage2 1>\nfirst\n</passage2>" in said(assembled(Plain(order="source", tags=True), two))


def test_what_does_not_fit_is_left_out_from_the_end() -> None:
    many = [passage("one two three four", 100 * n) for n in range(10)]
    state = assembled(Plain(), many, window=40)
    assert 0 < len(state.shown) < 10
    assert state.shown == tuple(many[: len(state.shown)])
    assert sum(n for _, n in state.ledger.parts) <= 32
    with pytest.raises(WindowError, match=r"1 passage and the question have \d+ tokens, but the window holds 12 and 8"):
        assembled(Plain(), many[:1], window=12)


def test_a_template_needs_both() -> None:
    with pytest.raises(
        ValueError, match=r"template must hold \{passages\} and \{question\} once each, was: '\{question\}'"
    ):
        Plain(template="{question}")


def test_lead() -> None:
    assert [lead(text) for text in ('"a-1": "b-2"', "a = b", "a -> 'b'", "no pair")] == [
        '"a-1": "',
        "a = ",
        "a -> '",
        "",
    ]
