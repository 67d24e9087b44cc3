"""Kinds of values: what a question asks for, which texts hold one, and that the quote and the answer honour it."""

from typing import Literal

import pytest

from pipeline.answers.citations import cite, evidence_in, fitting, nearest
from pipeline.answers.judging import judge, settle
from pipeline.answers.value_kinds import answers_kind, holds_value, value_kind
from pipeline.types import Generation, Ledger, Passage, Question, ScoredSentence, State


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("On which port does the tide service run?", "port"),
        ("Which port does the server listen on?", "port"),
        ("Auf welchem Port läuft der Dienst?", "port"),
        ("From which port does the ferry service start?", None),
        ("Which port is the ship registered in?", None),
        ("Where is the port?", None),
        ("What does a berth cost per night?", "price"),
        ("How much is a ticket for a child?", "price"),
        ("What is the salary of the master?", "price"),
        ("Was kostet eine Karte?", "price"),
        ("How many beehives are there?", "count"),
        ("Kaç kovan var?", "count"),
        ("In which year was the tower built?", "year"),
        ("What is the notice period of the lease?", "duration"),
        ("How long does the trip take?", "duration"),
        ("How long is the mole?", "measure"),
        ("What is the draught of the Zephyrus?", "measure"),
        ("When does the ferry leave?", "date"),
        ("Who checks the pump, and until when?", "date"),
        ("What is the e-mail address of the office?", "email"),
        ("What does the e-mail say?", None),
        ("Who keeps the bees?", None),
        ("What sea bordered the empire when he died?", None),
        ("What happened when the tower fell?", None),
        ("Who opened the mole, and when?", "date"),
        ("Since when is the mole open?", "date"),
        ("What is the area near the gorge called?", None),
        ("What was the period called that began in 1612?", None),
        ("What is the name of the fee for a berth?", None),
        ("How much does the ferry cost? When?", "date"),
        ("How many berths are in the north? And in the south?", "count"),
    ],
)
def test_the_kind_that_a_question_asks_for(question: str, kind: str | None) -> None:
    assert value_kind(question) == kind


PORT = "On which port does the tide service run?"
BERTH = "What does a berth for a 10 m boat cost per night in summer?"


@pytest.mark.parametrize(
    ("question", "text", "is_held"),
    [
        (PORT, "export TIDE_PORT=8471", True),
        (PORT, "http://localhost:8471/levels", True),
        (PORT, "It runs on host `fjord-3`.", False),
        (PORT, "Version 1.2.3 of 12 May 2026, 70000 bytes", False),
        (BERTH, "Prices per night, in euros, valid from 1 April 2026.", False),
        (BERTH, "Length: 8 to 12 m; Summer: 27.00; Winter: 15.50", True),
        (BERTH, "A boat of 10 m pays at 12:30.", False),
        ("How many beehives are there?", "Seven beehives stand there.", True),
        ("How many beehives are there?", "The beehives stand there since 2019.", False),
        ("What is the notice period?", "Notice of six months to the end of a quarter.", True),
        ("What is the notice period?", "It reports every ten minutes.", False),
        ("What is the notice period?", "A month is enough.", True),
        ("In which year was it built?", "It was built in 1612.", True),
        ("In which year was it built?", "It has 1,612 steps.", False),
        ("When does it leave?", "It leaves at 9:00.", True),
        ("When does it leave?", "It leaves from pier 9.", False),
        ("What is the e-mail address?", "Write to tide@nordhaven.example.", True),
    ],
)
def test_a_text_that_holds_a_value_of_the_kind(question: str, text: str, is_held: bool) -> None:
    kind = value_kind(question)
    assert kind is not None
    assert holds_value(kind, text, question) is is_held


def test_an_answer_in_words_may_have_the_kind() -> None:
    assert answers_kind("count", "There are none.", "How many are there?")
    assert answers_kind("price", "It is free.", "How much is a ticket?")
    assert answers_kind("date", "After the harvest.", "When is the feast?")
    assert not answers_kind("count", "There are bees.", "How many are there?")
    assert not answers_kind("port", "fjord-3", PORT)


HOST, EXPORT = "The service runs on host `fjord-3`.", "export TIDE_PORT=8471"


def scored(*sentences: tuple[str, float]) -> Passage:
    text, parts = "", []
    for sentence, score in sentences:
        parts.append(ScoredSentence(len(text), len(text) + len(sentence), score))
        text += f"{sentence}\n"
    return Passage("deploy.md", 0, len(text), text, sentences=tuple(parts))


def shown_answer(
    passage: Passage, question: str, text: str, lead: Literal["generate", "quote"] = "generate"
) -> tuple[str, str]:
    state = State(Question(question), (passage,), shown=(passage,), ledger=Ledger(layout="brief"), lead=lead)
    generation = Generation(text, "stop", 10, 0, 5, 0.1, 0.1)
    answer = settle(state, judge(state, generation), None)[0].answer
    assert answer is not None
    return answer.text, answer.by


def test_the_quote_that_leads_holds_what_is_asked_for() -> None:
    passage = scored((HOST, 0.88), (EXPORT, 0.62), ("Roll back.", 0.3))
    first, second = nearest(evidence_in((passage,), PORT), 2, PORT)
    assert [c.quote and c.quote.text for c in (first, second)] == [EXPORT, HOST]
    assert shown_answer(passage, PORT, "", "quote") == (EXPORT, "quote")
    assert shown_answer(passage, PORT, "It runs on fjord-3.") == (EXPORT, "quote")
    assert shown_answer(passage, PORT, "It runs on port 8471.") == ("It runs on port 8471.", "model")
    assert shown_answer(passage, "Where does the tide service run?", "It runs on fjord-3.")[1] == "model"


def test_a_value_far_from_the_question_changes_nothing() -> None:
    passage = scored((HOST, 0.88), ("Gate 17 is locked.", 0.2))
    evidence = evidence_in((passage,), PORT)
    assert fitting(evidence, PORT) == evidence
    assert shown_answer(passage, PORT, "It runs on fjord-3.") == ("It runs on fjord-3.", "model")


def test_the_quote_beside_a_refusal_of_the_model_holds_what_is_asked_for() -> None:
    citation = cite("Not in the documents.", (scored((HOST, 0.88), (EXPORT, 0.62)),), PORT).citations[0]
    assert citation.quote is not None
    assert citation.quote.text == EXPORT


def test_a_row_whose_range_holds_the_number_is_the_one_that_the_question_names() -> None:
    rows = [
        ("Length: 12 to 18 m; Summer: 41.00; Winter: 23.00", 0.7),
        ("Length: 8 to 12 m; Summer: 27.00; Winter: 15.50", 0.6),
    ]
    passage = scored(("Prices per night, in euros, valid from 1 April 2026.", 0.9), *rows)
    assert shown_answer(passage, BERTH, "", "quote") == (rows[1][0], "quote")
    assert shown_answer(passage, BERTH, "It costs 41.00.") == (rows[1][0], "quote")
    assert shown_answer(passage, BERTH, "It costs 27.00.") == ("It costs 27.00.", "model")


def test_a_value_of_the_kind_from_another_subject_is_no_answer() -> None:
    """The price of a crane holds a price as well; the row of the berth is nearer, and an answer out of it stays."""
    row, crane = "Length: 8 to 12 m; Summer: 27.00; Winter: 15.50", "The new crane costs 4.3 million euros."
    passage = scored(("Prices per night, in euros, valid from 1 April 2026.", 0.88), (row, 0.65), (crane, 0.54))
    assert shown_answer(passage, BERTH, "4.3 million euros") == (row, "quote")
    assert shown_answer(passage, BERTH, "27.00") == ("27.00", "model")
