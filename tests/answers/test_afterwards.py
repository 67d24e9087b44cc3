"""The second place to say no: what the answer stands on is judged beside what the gate found."""

from dataclasses import replace
from typing import Literal

import pytest

from pipeline.answers.afterwards import doubt, doubt_of_words
from pipeline.answers.citations import REFUSAL
from pipeline.answers.judging import judge, settle
from pipeline.types import Answer, Generation, Ledger, Passage, Question, ScoredSentence, State

NEAR = "The Marsh Queen has eleven seats and a roof."
BESIDE = "The harbour paid 640 crowns for the repair."


def passage(text: str, start: int, score: float) -> Passage:
    end = start + len(text)
    return Passage("boats.txt", start, end, text, sentences=(ScoredSentence(start, end, score),))


def state(answerable: float | None, best: float = 0.95) -> State:
    shown = (passage(NEAR, 0, best), passage(BESIDE, 100, best * 0.6))
    question = Question("How many seats does the Marsh Queen have?")
    return State(question, shown=shown, ledger=Ledger(layout="brief"), answerable=answerable)


def answer(text: str, before: State) -> Answer:
    generation = Generation(text, "stop", 10, 0, 5, 0.1, 0.1)
    after, _ = settle(before, judge(before, generation), None)
    assert after.answer is not None
    return after.answer


def test_what_is_wrong_with_the_answer_counts_only_where_the_gate_was_unsure() -> None:
    assert doubt(0.4, "off the question", False)
    assert not doubt(0.6, "off the question", False)
    assert not doubt(0.4, "", False)
    assert not doubt(None, "off the question", False)


def test_the_words_of_a_question_that_stand_nowhere_count_only_where_the_gate_was_unsure() -> None:
    missing = ["salary", "secretary"]
    assert "0.30, and no passage that was found says: salary, secretary" in doubt_of_words(0.3, 0.35, missing)
    for answerable, held, words in ((0.6, 0.35, missing), (None, 0.35, missing), (0.3, 0.5, missing), (0.3, 0.0, [])):
        assert not doubt_of_words(answerable, held, words)
    assert not doubt_of_words(0.3, 0.35, missing[:1])


@pytest.mark.parametrize("lead", ["quote", "generate"])
def test_a_row_that_shares_only_the_question_s_common_words_is_no_answer(lead: Literal["quote", "generate"]) -> None:
    row = "Kind: Crane licence; Amount: 120 EUR a month; Approved by: harbour master"
    other = "Kind: Night shift; Amount: 38 EUR; Approved by: harbour master"
    shown = (passage(row, 0, 0.95), passage(other, 100, 0.4))
    before = State(
        Question("What is the salary of the harbour master's secretary?"),
        shown=shown,
        found=shown,
        ledger=Ledger(layout="brief"),
        answerable=0.3,
        lead=lead,
    )
    refused = answer("120 EUR a month", before)
    assert (refused.text, refused.is_abstention) == (REFUSAL, True)
    assert refused.why.endswith("no passage that was found says: salary, secretary")
    asked = replace(before, question=Question("What is the amount for a crane licence?"))
    assert "120 EUR" in answer("120 EUR a month", asked).text


def test_where_quotes_lead_the_gate_decides_alone() -> None:
    assert doubt(0.15, "", True)
    assert not doubt(0.3, "no words", True)


def test_an_answer_from_the_nearest_sentence_passes() -> None:
    found = answer("Eleven seats", state(0.6))
    assert (found.by, found.text, found.is_abstention) == ("model", "Eleven seats", False)


def test_an_answer_from_beside_the_question_is_refused_where_the_gate_was_unsure() -> None:
    found = answer("640 crowns", state(0.15, best=0.75))
    assert (found.by, found.text, found.is_abstention) == ("gate", REFUSAL, True)
    assert found.said == "640 crowns"
    assert "probability" in found.why
    assert found.citations, "the nearest sentence is shown with a refusal"


def test_without_a_gate_nothing_is_refused_afterwards() -> None:
    assert not answer("640 crowns", state(None, best=0.75)).is_abstention


def test_an_answer_led_by_a_quote_is_judged_without_the_words_of_the_model() -> None:
    led = replace(state(0.6), lead="quote")
    assert answer("640 crowns", led).text == NEAR
    assert answer("640 crowns", replace(state(0.1, best=0.7), lead="quote")).is_abstention
