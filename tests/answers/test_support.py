"""gate.support on the real embedder: clear cases both ways, its settings, and what a damaged file of weights says."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.answers.classifier import SHIPPED, load, shipped
from pipeline.answers.support import REFUSAL, Support, is_english
from pipeline.contracts import Embedder
from pipeline.errors import ModelError
from pipeline.registry import COMPONENTS, make
from pipeline.retrieval.embedder import NoVectors, open_embedder
from pipeline.types import Passage, Question, ScoredSentence
from tests.compressors.workbench import WordCounts, passage

TOWN = (
    "The clock in the tower stood still for 34 years. Lucia Ferrand repaired it in 1987, without asking for money. "
    "It strikes every hour, and the bell is heard as far as the harbour."
)
GARDEN = "The school's garden has seven beehives. The honey is sold at the market on Saturdays. Dogs are not allowed."
FERRY = "In winter the ferry leaves at nine and at four. A ticket costs six marks, and three for a child."
SHIPS = "name,imo,flag,draught\nAurelia,9301122,Malta,8.4\nZephyrus,9388771,Liberia,10.2\nKestrel,9400218,Norway,6.9"
CODE = "def tide_port() -> int:\n    # the tide service\n    return 8471\n"
PASSAGES = [passage(text, source=f"{n}.txt") for n, text in enumerate((TOWN, GARDEN, FERRY))]


@cache
def minilm() -> Embedder:
    """Loaded once for all tests."""
    return open_embedder("minilm")


def runtime(embedder: Any = None, noted: list[str] | None = None) -> Any:
    index = SimpleNamespace(n_chunks=3, sources=("0.txt", "1.txt", "2.txt"))
    note = noted.append if noted is not None else print
    return SimpleNamespace(
        embedder=embedder or minilm(), index=index, searches_index=True, scope=lambda question: None, note=note
    )


def why(question: str, passages: list[Passage] = PASSAGES, gate: Support | None = None) -> str | None:
    return (gate or Support()).refuse(Question(question), passages, runtime())


ANSWERED = (
    "Who repaired the clock in 1987?",
    "How long did the clock in the tower stand still?",
    "How many beehives does the garden have?",
    "When does the ferry leave in winter?",
    "What does a ticket cost for a child?",
)
UNANSWERED = (
    "What is the capital of Mongolia?",
    "What is the salary of the harbour master's secretary?",
    "Who painted the ceiling of the Sistine Chapel?",
    "How many people live in Buenos Aires?",
    "Which team won the football championship in 2014?",
)


@pytest.mark.parametrize("question", ANSWERED)
@pytest.mark.parametrize("gate", [Support(), Support(min_similarity=None)], ids=["vectors", "words"])
def test_a_question_that_the_documents_answer_passes(question: str, gate: Support) -> None:
    assert why(question, gate=gate) is None


@pytest.mark.parametrize("question", UNANSWERED)
@pytest.mark.parametrize("gate", [Support(), Support(min_similarity=None)], ids=["vectors", "words"])
def test_a_question_that_they_do_not_answer_is_refused(question: str, gate: Support) -> None:
    message = why(question, gate=gate)
    assert message is not None
    assert message.startswith("searched 3 passages of 3 documents: ")


def test_the_words_that_stand_nowhere_are_named_as_they_were_written() -> None:
    message = why("What is the salary of the harbour master's secretary?")
    assert message is not None
    assert message.endswith("nothing near says: salary, secretary") or "salary" in message


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("What is the draught of the ship Zephyrus?", SHIPS),
        ("Which flag has the Zephyrus?", SHIPS),
        ("On which port does the tide service run?", CODE),
    ],
)
@pytest.mark.parametrize("gate", [Support(), Support(min_similarity=None)], ids=["vectors", "words"])
def test_rows_and_code_are_not_refused(question: str, text: str, gate: Support) -> None:
    assert why(question, [passage(text, source="ships.csv"), *PASSAGES], gate) is None


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("Wie viele Mitglieder hat der Hafenverein Nordhaven?", "Der Hafenverein Nordhaven zählt 318 Mitglieder."),
        ("Vapur kışın ne zaman kalkar?", "Kışın vapur saat dokuzda ve dörtte kalkar."),
    ],
)
def test_other_languages_are_not_refused(question: str, text: str) -> None:
    assert why(question, [*PASSAGES, passage(text, source="de.txt")]) is None


def test_a_question_is_in_english_by_its_small_words_and_a_few_words_are_given_the_benefit_of_the_doubt() -> None:
    assert is_english("What is that?")
    assert is_english("Zephyrus draught")
    assert not is_english("Wie viele Mitglieder hat der Hafenverein?")
    assert not is_english("Vapur kışın ne zaman kalkar?")


def test_the_verdict_shows_the_nearest_sentences_and_where_they_stand() -> None:
    question = Question("Who repaired the organ in 1987?")
    answer = Support(threshold=1.0).judge(question, PASSAGES, runtime()).answer(PASSAGES)
    assert (answer.text, answer.is_abstention, answer.by) == (REFUSAL, True, "gate")
    assert answer.why.startswith("searched 3 passages")
    first = answer.citations[0]
    assert (first.number, first.by, first.passage) == (1, "question", PASSAGES[0])
    assert first.quote is not None
    assert first.quote.text.startswith("Lucia Ferrand repaired it")
    assert TOWN[first.quote.start : first.quote.end] == first.quote.text


def test_the_sentences_that_a_compressor_scored_are_the_nearest() -> None:
    start = TOWN.index("It strikes")
    scored = replace(PASSAGES[0], sentences=(ScoredSentence(start, len(TOWN), 0.9),))
    nearest = Support().judge(Question("Who repaired the clock?"), [scored], runtime()).nearest
    assert nearest[0][1].text.startswith("It strikes")


def test_nothing_found_is_refused() -> None:
    assert why("Who?", []) == "searched 3 passages of 3 documents, found none"


def test_a_question_of_stop_words_is_not_judged() -> None:
    assert why("Who is it?") is None


def test_a_wrong_refusal_that_costs_more_lets_more_pass() -> None:
    assert (Support(cost=1).least, Support(cost=3).least, Support(threshold=0.7).least) == (0.5, 0.25, 0.7)
    question = "Who repaired the organ in 1987?"
    assert why(question, gate=Support(threshold=1.0)) is not None
    assert why(question, gate=Support(threshold=0.0)) is None


# -------------------------------------------------------------------------------------------- settings of old files
def test_the_settings_of_old_files_are_rules_beside_the_classifier() -> None:
    never = {"threshold": 0.0}
    assert why(ANSWERED[0], gate=Support(**never, min_similarity=0.99)) is not None
    assert why(UNANSWERED[0], gate=Support(threshold=1.0, min_similarity=-1.0, sure_similarity=-1.0)) is None
    assert why(UNANSWERED[1], gate=Support(**never, min_similarity=-1.0, min_coverage=0.9)) is not None
    for settings in (
        {},
        {"min_similarity": None},
        {"min_similarity": 0.3, "sure_similarity": 0.6, "min_coverage": 0.5},
    ):
        assert isinstance(make("gate.support", settings), Support)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cost": 0.0}, "cost must be greater than 0, was: 0.0"),
        ({"threshold": 1.5}, r"threshold must be in \[0, 1\], was: 1.5"),
        ({"min_similarity": -2.0}, r"min_similarity must be in \[-1, 1\], was: -2.0"),
        ({"sure_similarity": 2.0}, r"sure_similarity must be in \[-1, 1\], was: 2.0"),
        ({"min_coverage": 2.0}, r"min_coverage must be in \[0, 1\], was: 2.0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Support(**settings)


def test_without_vectors_no_embedder_is_asked() -> None:
    gate = Support(min_similarity=None)
    assert not gate.needs_embedder
    assert gate.refuse(Question(ANSWERED[0]), PASSAGES, runtime(NoVectors())) is None
    assert gate.refuse(Question(UNANSWERED[1]), PASSAGES, runtime(NoVectors())) is not None


def test_another_embedder_is_said_and_words_decide() -> None:
    noted: list[str] = []
    verdict = Support(min_similarity=-1.0).judge(Question(UNANSWERED[1]), PASSAGES, runtime(WordCounts(), noted))
    by_words = Support(min_similarity=None).judge(Question(UNANSWERED[1]), PASSAGES, runtime(WordCounts()))
    assert noted == ["gate.support was fitted with another embedder than word counts: it decides by words alone"]
    assert verdict.probability == by_words.probability


# -------------------------------------------------------------------------------------------- what every gate keeps
@pytest.mark.parametrize("name", sorted(name for name in COMPONENTS if name.startswith("gate.")))
def test_a_gate_says_the_same_twice_changes_nothing_and_gives_none_or_a_text(name: str) -> None:
    gate: Any = make(name)
    passages = list(PASSAGES)
    for question in (*ANSWERED, *UNANSWERED, "", "?"):
        first = gate.refuse(Question(question), passages, runtime())
        assert first is None or (isinstance(first, str) and first)
        assert gate.refuse(Question(question), passages, runtime()) == first
    assert passages == PASSAGES


# ---------------------------------------------------------------------------------------------------------- the weights
def test_what_ships_says_where_it_comes_from_and_is_good_enough() -> None:
    classifier = shipped()
    assert classifier.embedder == minilm().fingerprint
    assert classifier.n_questions >= 400
    assert not any("xquad" in line for line in classifier.data)
    for name in classifier.metrics:
        if name != "all":
            assert classifier.metrics[name]["auc_vectors"] > classifier.metrics[name]["auc_words"] - 0.02 > 0.6


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda card: card.pop("vectors"), "vectors: Field required"),
        (lambda card: card["words"].update(bias="x"), "words.bias: "),
        (lambda card: card["words"]["weights"].pop(), "a mean, a scale and a weight are needed"),
        (lambda card: card["words"]["scales"].__setitem__(0, 0.0), "scales must be above 0"),
        (lambda card: card["words"]["signals"].__setitem__(0, "mood"), "words: there is no signal mood"),
        (lambda card: card["matching"].update(weights=[0.0]), "matching needs a weight and a threshold"),
        (lambda card: card.update(more=1), "more: "),
    ],
)
def test_a_damaged_file_is_one_clear_error(tmp_path: Path, damage: Any, message: str) -> None:
    card = json.loads(SHIPPED.read_text("utf-8"))
    damage(card)
    path = tmp_path / "abstain.json"
    path.write_text(json.dumps(card), "utf-8")
    with pytest.raises(ModelError, match=message) as error:
        load(path)
    assert str(path) in str(error.value)
    assert "install longthread again" in str(error.value)


def test_a_file_that_is_not_there_or_no_json_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        load(tmp_path / "none.json")
    (tmp_path / "half.json").write_text('{"embedder": "', "utf-8")
    with pytest.raises(ModelError, match="is not a classifier of this version: the file: Invalid JSON"):
        load(tmp_path / "half.json")
