"""An answer's number that stands in another clause than the one that the question names."""

from __future__ import annotations

from time import process_time

import pytest

from pipeline.answers.clauses import is_other_clause
from pipeline.answers.judging import OTHER_CLAUSE, judge, settle
from pipeline.types import Generation, Question, State
from tests.compressors.workbench import passage

CHAINS = "Galvanised chains lost 0.11 mm a year, bare steel lost 0.42 mm a year."
FERRY = "From April to October she leaves at 7:40, 12:15 and 17:50, and in winter at 9:00 only."
OF_CHAINS, OF_STEEL = "How much do galvanised chains lose per year?", "How much does bare steel lose per year?"


@pytest.mark.parametrize(
    ("sentence", "question", "answer", "is_other"),
    [
        (CHAINS, OF_CHAINS, "0.42.", True),
        (CHAINS, OF_CHAINS, "Bare steel lost 0.42 mm a year", True),
        (CHAINS, OF_CHAINS, "0.11 mm a year.", False),
        (CHAINS, OF_STEEL, "0.42", False),
        (CHAINS, OF_STEEL, "0.11", True),
        (CHAINS, OF_CHAINS, "0.11 mm, and steel 0.42 mm", False),
        (CHAINS, "How much metal is lost in a year?", "0.42", False),
        (CHAINS, OF_CHAINS, "They rust.", False),
        ("A berth costs 27.00 in summer and 19.50 in winter.", "What does a berth cost in winter?", "19.50", False),
        ("A berth costs 27.00 in summer and 19.50 in winter.", "What does a berth cost at night?", "19.50", False),
        ("The ferry was built in 1902, its engine was replaced in 1955.", "When was the ferry built?", "1902", False),
        ("The ferry was built in 1902, its engine was replaced in 1955.", "When was the ferry built?", "1955", False),
        (
            "The old crane, which is the smaller one, lifts 12 tonnes, while the new gantry lifts 40 tonnes.",
            "How much can the old crane lift?",
            "40 tonnes",
            True,
        ),
        (
            "Das Lager A fasst 300 Kisten und die Halle B fasst 900 Kisten.",
            "Wie viele Kisten fasst das Lager A?",
            "900",
            True,
        ),
        (
            "Das alte Lager fasst 300 Kisten, die neue Halle fasst 900 Kisten.",
            "Wie viele Kisten fasst das alte Lager?",
            "900 Kisten",
            True,
        ),
        (FERRY, "When does the ferry leave in winter?", "17:50", True),
        (FERRY, "When does the ferry leave in winter?", "At 7:40 and 12:15", True),
        (FERRY, "When does the ferry leave in winter?", "9:00", False),
        (FERRY, "When does the ferry leave in winter?", "9:00, and in summer 7:40", False),
        (FERRY, "When does the ferry leave in October?", "17:50", False),
        (FERRY, "When does the ferry leave?", "17:50", False),
        (FERRY, "When may the ferry leave?", "17:50", False),
        ("A berth costs 27.00 in summer and 19.50 in winter.", "What does a berth cost in winter?", "27.00", True),
        ("Der Platz kostet im Sommer 27 Euro, im Winter 19 Euro.", "Was kostet der Platz im Winter?", "27 Euro", True),
        ("Der Platz kostet im Sommer 27 Euro, im Winter 19 Euro.", "Was kostet der Platz im Winter?", "19 Euro", False),
        ("It sank in May 1990 with 30 men, and in June 4 divers died.", "How many divers died in June?", "4", False),
        ("Of 12 boats 3 sank.", "How many boats sank?", "12", False),
        ("No number here, and none there.", "How many boats sank?", "12", False),
        ("", "How many boats sank?", "12", False),
    ],
)
def test_which_clause_the_question_names(sentence: str, question: str, answer: str, is_other: bool) -> None:
    assert is_other_clause(sentence, answer, question) is is_other


@pytest.mark.parametrize(
    ("sentence", "question", "answer"),
    [
        (
            "Die Universität Jena hatte 1950 nur 2000 Studenten, heute zählt sie 18000 Studenten.",
            "Wie viele Studenten hat die Universität Jena?",
            "18000 Studenten",
        ),
        (
            "Der Turm der Marienkirche war zunächst 60 Meter hoch, seit dem Umbau misst er 82 Meter.",
            "Wie hoch ist der Turm der Marienkirche?",
            "82 Meter",
        ),
        (
            "The university library was founded with 4,000 volumes, but today holds 2 million volumes.",
            "How many volumes does the university library have now?",
            "2 million volumes",
        ),
        (
            "The project budget was 5 million dollars, later raised to 9 million dollars.",
            "What is the current budget of the project?",
            "9 million dollars",
        ),
        (
            "Ticket prices for adults are 12 euros, children pay 6 euros.",
            "What are ticket prices for a child?",
            "6 euros",
        ),
        (
            "Der Eintritt kostet für Erwachsene 12 Euro, Schüler zahlen 6 Euro.",
            "Was kostet der Eintritt für Jugendliche?",
            "6 Euro",
        ),
        (
            "The Blue Room costs 40 euros a night, and breakfast is 12 euros.",
            "How much is a morning meal in the Blue Room?",
            "12 euros",
        ),
        (
            "The train from Leeds to Hull takes 60 minutes, the express 45 minutes.",
            "How long does the fast train from Leeds to Hull take?",
            "45 minutes",
        ),
        (
            "The old lighthouse tower is 40 metres high, rising 90 metres above the sea.",
            "At what elevation is the old lighthouse tower?",
            "90 metres",
        ),
        (
            "Ankara Üniversitesi 1950 yılında 2000 öğrenci ile başladı, bugün 40000 öğrenci okuyor.",
            "Ankara Üniversitesi kaç öğrenciye sahip?",
            "40000",
        ),
        (
            "The old hall seats 300 people, since the fire it seats 900 people.",
            "How many people does the old hall seat?",
            "900",
        ),
    ],
)
def test_a_clause_may_go_on_about_what_was_named_before(sentence: str, question: str, answer: str) -> None:
    assert not is_other_clause(sentence, answer, question)


def test_many_blanks_and_clauses_take_no_time() -> None:
    start = process_time()
    assert not is_other_clause("1 m" + " " * 100_000 + "2 m", "2", "How many?")
    assert not is_other_clause("The crane lifts 3 tonnes, " * 500, "4", "How much does the crane lift?")
    assert process_time() - start < 2


def judged(answer: str, question: str) -> State:
    shown = (passage(f"Chains were hung at four quays. {CHAINS} The trial ended in May."),)
    state = State(Question(question), shown=shown, passages=shown)
    state = State(state.question, shown, shown, ledger=type(state.ledger)(layout="brief"))
    first = judge(state, Generation(answer, "stop", 1, 0, 1, 0.0, 0.0))
    assert (first.unusable == OTHER_CLAUSE) is (answer == "0.42.")
    return settle(state, first, None)[0]


def test_the_sentence_takes_the_place_of_the_other_clauses_number() -> None:
    state = judged("0.42.", OF_CHAINS)
    assert state.answer is not None
    assert (state.answer.by, state.answer.text) == ("quote", CHAINS)
    assert not state.answer.is_abstention


def test_the_right_number_stays() -> None:
    state = judged("0.11 mm.", OF_CHAINS)
    assert state.answer is not None
    assert (state.answer.by, state.answer.text) == ("model", "0.11 mm.")
