"""The second place to say no: only where the gate was not sure, and no sentence says what the model answered."""

import pytest

from pipeline.answers.afterwards import unsupported_after
from pipeline.types import Answer, Passage, Question, State
from tests.compressors.workbench import passage

TOWN = "The clock stood still for 34 years. Lucia Ferrand repaired it in 1987. Bananas are yellow."


def reason(text: str, probability: float | None = 0.3, question: str = "Who repaired the clock?") -> str | None:
    found: tuple[Passage, ...] = (passage(TOWN),)
    return unsupported_after(State(Question(question), found=found, answer=Answer(text), answerable=probability))


@pytest.mark.parametrize("text", ["It was Lucia Ferrand.", "Lucia Ferrand repaired the clock in 1987."])
def test_an_answer_that_a_sentence_says_is_kept(text: str) -> None:
    assert reason(text, question="Who repaired it in 1987?") is None


def test_an_answer_that_stands_nowhere_is_not_kept_where_the_gate_was_unsure() -> None:
    message = reason("Karl Brandt did.")
    assert message is not None
    assert message.startswith(
        "the documents hold the answer with a probability of 0.30, and no sentence near the question"
    )
    assert reason("Karl Brandt did.", probability=0.6) is None


def test_a_sentence_that_has_nothing_of_the_question_supports_nothing() -> None:
    assert reason("Yellow bananas.") is not None


def test_what_adds_nothing_to_the_question_is_not_judged() -> None:
    assert reason("Yes.", question="Was the clock repaired?") is None
    assert reason("The clock.") is None


def test_without_a_gate_words_decide() -> None:
    assert reason("Karl Brandt did.", None, "Who repaired the clock that stood still?") is None
    assert reason("Karl Brandt.", None, "Who painted the ceiling of the Sistine Chapel for Julius?") is not None


def test_refusals_and_quotes_are_left_alone() -> None:
    state = State(Question("Who?"), found=(passage(TOWN),), answerable=0.1)
    assert unsupported_after(state) is None
    for answer in (Answer("No.", is_abstention=True), Answer("Karl Brandt", by="quote")):
        assert (
            unsupported_after(State(Question("Who paid?"), found=(passage(TOWN),), answer=answer, answerable=0.1))
            is None
        )
