"""What the gate's signals say, one telling example for each, on words and on the real embedder's vectors."""

from functools import cache

import numpy as np
import pytest

from pipeline.answers.answer_kinds import holds, kind_of
from pipeline.answers.answerable import TOKEN_CLASSES, Matching, QuestionEvidence, words_of
from pipeline.answers.classifier import shipped
from pipeline.contracts import Embedder
from pipeline.retrieval.embedder import open_embedder
from pipeline.types import Passage
from tests.compressors.workbench import passage

CLOCK = "The clock in the tower stood still for 34 years. Lucia Ferrand repaired it in 1987. It strikes every hour."
GARDEN = "The garden has seven beehives. The bees are kept by the school."
PLAIN = Matching((0.0,) * len(TOKEN_CLASSES), (0.6, *[0.0] * (len(TOKEN_CLASSES) - 1)), 10.0, 0.0)


def evidence(question: str, *texts: str) -> QuestionEvidence:
    return QuestionEvidence.of(question, [passage(text, source=f"{n}.txt") for n, text in enumerate(texts)])


def signals(question: str, *texts: str) -> dict[str, float]:
    return evidence(question, *texts).word_signals()


@cache
def minilm() -> Embedder:
    """Loaded once for all tests."""
    return open_embedder("minilm")


@pytest.mark.parametrize(
    ("text", "is_held"),
    [
        ("Length: 8 to 12 m; Summer: 27.00", True),
        ("Boats of 8 m to 12 m pay 27 euros.", True),
        ("8–12 m: 27 euros", True),
        ("It is between 9.5 and 10.5 m long.", True),
        ("Length: 12 to 18 m; Summer: 41.00", False),
        ("From 12 to 8 it is closed.", False),
        ("Boats of 8 and of 12 m pay 27 euros.", False),
        ("Call 2-555-19 or B8-12.", False),
        ("On 2026-08-12 it costs 27 euros.", False),
    ],
)
def test_a_number_stands_where_a_range_holds_it(text: str, is_held: bool) -> None:
    found = signals("What does a berth for a 10 m boat cost?", f"Berths. {text}")
    assert found["names"] == found["names_in_sentence"] == float(is_held)


def test_a_row_for_a_range_of_lengths_answers_for_a_boat_in_it() -> None:
    """The harbour's prices: with the number missing the gate refused the question."""
    rows = "Length: up to 8 m; Summer: 19.50\nLength: 8 to 12 m; Summer: 27.00\nLength: 12 to 18 m; Summer: 41.00"
    table = f"Berth prices per night, in euros.\n\n{rows}"
    question = "What does a berth for a {} m boat cost per night in summer?"
    inside, outside = (shipped().words.probability(signals(question.format(n), table)) for n in (10, 25))
    assert inside > 2 * outside


def vectors(question: str, *texts: str) -> dict[str, float]:
    found = evidence(question, *texts)
    return found.vector_signals(found.token_match(minilm()), PLAIN)


# --------------------------------------------------------------------------------------------------- kinds of question
@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("Who repaired the clock?", "name"),
        ("In which city was the clock made?", "name"),
        ("How many beehives does the garden have?", "number"),
        ("What percentage of the bees died?", "number"),
        ("When was the clock repaired?", "time"),
        ("In what year did the clock stop?", "time"),
        ("Who knows when the ferry leaves?", "name"),
        ("What strikes every hour?", "any"),
        ("Wie viele Bienen hat der Garten?", "any"),
    ],
)
def test_what_a_question_asks_for(question: str, kind: str) -> None:
    assert kind_of(question) == kind


@pytest.mark.parametrize(
    ("question", "sentence", "expected"),
    [
        ("Who repaired the clock?", "Lucia Ferrand repaired it.", True),
        ("Who is Lucia?", "lucia repaired it", False),
        ("Who was with Lucia?", "Lucia repaired it.", False),  # the question's own name is no answer
        ("How many bees came in 1987?", "The bees came in 1987.", False),
        ("How many bees came in 1987?", "Seven came in 1987.", True),
        ("When did it stop?", "It stopped on a Monday.", True),
        ("When did it stop?", "It stopped for ever.", False),
        ("What stopped?", "nothing", True),
    ],
)
def test_whether_a_sentence_holds_such_a_thing(question: str, sentence: str, *, expected: bool) -> None:
    assert holds(kind_of(question), sentence, frozenset(words_of(question))) is expected


# -------------------------------------------------------------------------------------------------------------- words
def test_coverage_is_of_one_sentence_and_passage_coverage_of_all_its_sentences() -> None:
    found = signals("Which clock did Ferrand repair?", CLOCK)
    assert found["coverage"] < found["passage_coverage"] == pytest.approx(1)
    assert signals("Which clock did Ferrand repair?", *CLOCK.split(". "))["passage_coverage"] < 1


def test_a_title_counts_with_its_sentences() -> None:
    bare = Passage("a.txt", 0, len(GARDEN), GARDEN)
    titled = Passage("a.txt", 0, len(GARDEN), GARDEN, title="Nordhaven")
    question = "How many beehives does Nordhaven have?"
    assert QuestionEvidence.of(question, [bare]).word_signals()["names"] == 0
    assert QuestionEvidence.of(question, [titled]).word_signals()["names"] == 1


def test_a_name_or_number_that_stands_nowhere_is_seen() -> None:
    assert signals("What did Lucia Ferrand repair in 1987?", CLOCK)["names"] == 1
    assert signals("What did Lucia Ferrand repair in 1988?", CLOCK)["names"] == pytest.approx(2 / 3)
    assert signals("What did Karl Brandt repair in 1988?", CLOCK)["names"] == 0


def test_the_word_that_is_missing_weighs_by_how_rare_it_is() -> None:
    assert signals("When was the clock repaired?", CLOCK)["rarest_missing"] == 0
    assert 0 < signals("What is the salary of the clock's repairer?", CLOCK)["rarest_missing"] <= 1


def test_a_sentence_without_the_kind_of_thing_asked_for_does_not_count() -> None:
    found = signals("How many bees does the school keep?", "The bees are kept by the school.")
    assert found["kind_coverage"] == 0 < found["coverage"]


def test_rows_that_name_their_columns_are_sentences_of_their_own() -> None:
    rows = ("Kind: Night shift; Amount: 38 EUR; By: leader", "Kind: Crane licence; Amount: 120 EUR; By: master")
    assert [part.text for part in evidence("Which amount?", "\n".join(rows)).sentences] == list(rows)
    whole = "kind;amount;by\nNight shift;38;leader\nCrane licence;120;master"
    assert [part.text for part in evidence("Which amount?", whole).sentences] == [whole]


def test_cells_of_a_table_are_words_of_their_own() -> None:
    row = "name,imo,flag,draught\nZephyrus,9388771,Liberia,10.2"
    found = signals("What is the draught of the ship Zephyrus under the flag of Liberia?", row)
    assert found["names"] == 1
    assert found["all_coverage"] > 0.6


def test_numbers_keep_their_commas() -> None:
    assert words_of("6,018 containers") == words_of("6,018 containers,")
    assert "6" not in words_of("6,018")


# ------------------------------------------------------------------------------------------------------------- vectors
def test_a_soft_and_is_lost_by_one_token_that_is_not_met() -> None:
    """Two tokens, far above the threshold: 0. One of them far below: half of steepness times the distance."""
    classes = np.array([[1.0, 0, 0, 0, 0, 0, 0]] * 2)
    nearest = np.array([[1.6, 1.6], [1.6, -0.4]])
    found = PLAIN.scores(nearest, np.zeros((2, 2)), classes)
    assert found[0] == pytest.approx(0, abs=1e-3)
    assert found[1] == pytest.approx(-5, abs=1e-3)


def test_a_word_that_stands_there_counts_as_nearer() -> None:
    classes = np.array([[1.0, 0, 0, 0, 0, 0, 0]])
    matching = Matching(PLAIN.weights, PLAIN.thresholds, 10.0, 0.5)
    absent, present = (matching.scores(np.array([[0.4]]), np.array([[exact]]), classes)[0] for exact in (0.0, 1.0))
    assert present > -0.1 > -1 > absent


def test_the_sentence_that_answers_is_met_better_than_its_neighbours() -> None:
    here = vectors("Who repaired the clock in 1987?", CLOCK)
    gone = vectors("Who repaired the clock in 1987?", CLOCK.replace("Lucia Ferrand repaired it in 1987. ", ""))
    assert here["match"] > gone["match"]
    assert here["passage_match"] >= here["match"]
    assert here["cosine"] > gone["cosine"]


def test_a_text_without_sentences_and_a_question_without_words_give_numbers() -> None:
    for question, text in (("?", GARDEN), ("Who?", "..."), ("Who was that?", "x")):
        found = evidence(question, text)
        every = found.word_signals() | found.vector_signals(found.token_match(minilm()), PLAIN)
        assert all(np.isfinite(list(every.values())))
