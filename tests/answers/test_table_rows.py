"""Of rows that are alike, the one that the question names is the one that counts."""

import pytest

from pipeline.answers.citations import evidence_in
from pipeline.answers.judging import OTHER_ROW, judge, nearest_to
from pipeline.answers.table_rows import named_row
from pipeline.types import Generation, Ledger, Passage, Question, State

SHIPS = (
    "name: Tern; flag: Netherlands; draught_m: 4.1\n"
    "name: Zephyrus; flag: Liberia; draught_m: 10.2\n"
    "name: Heron; flag: Liberia; draught_m: 7.7"
)
SHOWN = (Passage("ships.csv", 0, len(SHIPS), SHIPS), Passage("notes.md", 0, 24, "The draught is measured."))
QUESTION = "What is the draught of the Zephyrus?"


def state(question: str) -> State:
    return State(Question(question), shown=SHOWN, ledger=Ledger(window=512, reserved=64, layout="brief"))


def unusable(answer: str, question: str) -> str:
    generation = Generation(answer, "stop", 10, 0, 3, 0.1, 0.1)
    return judge(state(question), generation).unusable


@pytest.mark.parametrize(
    ("answer", "question", "is_other"),
    [
        ("4.1", QUESTION, True),
        ("10.2", QUESTION, False),
        ("Tern", "Which ship has a draught of 10.2?", True),
        ("Netherlands", "Which flag does the Tern fly?", False),
        ("Tern", "Which ship sails under the flag of Liberia?", False),  # two rows are named, so none is
        ("4.1", "What is the smallest draught?", False),
        ("4.1", "What is the draught of the Kittiwake?", False),
    ],
)
def test_an_answer_out_of_another_row_is_unusable(answer: str, question: str, is_other: bool) -> None:
    assert (unusable(answer, question) == OTHER_ROW) is is_other


def test_the_row_that_the_question_names_is_quoted_first() -> None:
    quote = nearest_to(state(QUESTION), 2)[0].quote
    assert quote is not None
    assert quote.text.startswith("name: Zephyrus")


def test_prose_has_no_rows() -> None:
    evidence = evidence_in(SHOWN, QUESTION)
    assert named_row(evidence, evidence[-1], QUESTION) is None
    named = named_row(evidence, evidence[0], QUESTION)
    assert named is evidence[1]
    assert named_row(evidence, evidence[1], QUESTION) is None
