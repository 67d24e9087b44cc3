"""Of rows that are alike, the one that the question names is the one that counts."""

from dataclasses import replace

import pytest

from pipeline.answers.citations import evidence_in
from pipeline.answers.judging import OTHER_ROW, judge, nearest_to, settle
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
        ("4.1 and 10.2", QUESTION, True),  # the named row is one of them, and which number is its own is not said
        ("The Zephyrus has a draught of 4.1, which is 10.2 shorter than its flag.", QUESTION, True),
        ("10.2, as deep as 10.2 metres", QUESTION, False),
        ("4.1 and 10.2", "What are the draughts of the Tern and the Zephyrus?", False),
        ("10.2, which is more than 4.1", "Is the draught of the Zephyrus more than 4.1?", False),
        ("Tern", "Which ship has a draught of 10.2?", True),
        ("Netherlands", "Which flag does the Tern fly?", False),
        ("Tern", "Which ship sails under the flag of Liberia?", False),  # two rows are named, so none is
        ("4.1", "What is the smallest draught?", False),
        ("4.1", "What is the draught of the Kittiwake?", False),
    ],
)
def test_an_answer_out_of_another_row_is_unusable(answer: str, question: str, is_other: bool) -> None:
    assert (unusable(answer, question) == OTHER_ROW) is is_other


BUDGET = "Item: Fenders; 2025: 18000; 2026: 22500\nItem: Ropes; 2025: 700; 2026: 900"
QUARTERS = "Quarter: Q2; Revenue: 934; Staff: 46\nQuarter: Q4; Revenue: 1,077; Staff: 47"


@pytest.mark.parametrize(
    ("table", "answer", "question", "is_other"),
    [
        (BUDGET, "18000", "How much is budgeted for fenders in 2026?", True),
        (BUDGET, "22,500", "How much is budgeted for fenders in 2026?", False),
        (BUDGET, "18000", "How much is budgeted for fenders?", False),
        (BUDGET, "18000 in 2025 and 22500 in 2026", "How much for fenders in 2025 and 2026?", False),
        (BUDGET, "Fenders", "Which item has 22500 in 2026?", False),
        (QUARTERS, "934", "What was the revenue in the fourth quarter?", True),
        (QUARTERS, "1,077", "What was the revenue in the fourth quarter?", False),
        (QUARTERS, "47", "What was the revenue in the fourth quarter?", True),
        (SHIPS, "4.1", "What is the draught in m of the Tern?", False),
        ("Quarter: 4; Revenue: 1,077; Staff: 47", "47", "How many people worked there in quarter 4?", False),
    ],
)
def test_an_answer_out_of_another_column_is_unusable(table: str, answer: str, question: str, is_other: bool) -> None:
    shown = (Passage("table.csv", 0, len(table), table),)
    asked = State(Question(question), shown=shown, ledger=Ledger(window=512, reserved=64, layout="brief"))
    judged = judge(asked, Generation(answer, "stop", 10, 0, 3, 0.1, 0.1))
    assert (judged.unusable == OTHER_ROW) is is_other, judged


def test_the_row_that_the_question_names_is_quoted_first() -> None:
    quote = nearest_to(state(QUESTION), 2)[0].quote
    assert quote is not None
    assert quote.text.startswith("name: Zephyrus")


def test_a_row_that_is_named_takes_the_answers_place_where_the_gate_was_unsure() -> None:
    unsure = replace(state(QUESTION), answerable=0.3)
    judged = judge(unsure, Generation("4.1", "stop", 10, 0, 3, 0.1, 0.1))
    answer = settle(unsure, judged, None)[0].answer
    assert answer is not None
    assert (answer.by, answer.text) == ("quote", "name: Zephyrus; flag: Liberia; draught_m: 10.2")


def test_a_column_that_the_question_names_names_no_row() -> None:
    rows = "ship: Tern; draught: 4.1\nship: Tern Draught; draught: 9.5"
    question = "What is the draught of the Tern?"
    evidence = evidence_in((Passage("ships.csv", 0, len(rows), rows),), question)
    assert [named_row(evidence, row, question) for row in evidence] == [None, None]


@pytest.mark.parametrize("source", ["ships.csv", "harbours.csv"])
def test_rows_of_another_table_do_not_count(source: str) -> None:
    """Neither of another document, nor of another table of the same one, which has other columns."""
    ship = "name: Tern; draught_m: 4.1"
    other = "name: Zephyrus; draught_m: 10.2" if source != "ships.csv" else "captain: Zephyrus; ship: Heron"
    shown = (Passage("ships.csv", 0, len(ship), ship), Passage(source, 100, 100 + len(other), other))
    evidence = evidence_in(shown, QUESTION)
    assert [one.quote.text for one in evidence] == [ship, other]
    assert named_row(evidence, evidence[0], QUESTION) is None


def test_prose_has_no_rows() -> None:
    evidence = evidence_in(SHOWN, QUESTION)
    assert named_row(evidence, evidence[-1], QUESTION) is None
    named = named_row(evidence, evidence[0], QUESTION)
    assert named is evidence[1]
    assert named_row(evidence, evidence[1], QUESTION) is None
