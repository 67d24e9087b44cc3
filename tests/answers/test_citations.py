import pytest

from pipeline.answers.citations import by_model, cite, unsupported
from pipeline.text.words import content_words, coverage
from pipeline.types import Passage, Place

FIRST = "The ferry leaves at noon. It costs six marks for a child. Dogs stay below."
SECOND = "The clock was repaired by Lucia Ferrand in 1987."


def passage(text: str, source: str = "a.txt", start: int = 0) -> Passage:
    return Passage(source, start, start + len(text), text, place=Place(3))


SHOWN = (passage(FIRST), passage(SECOND, "b.txt", 100))


def test_a_citation_is_quoted_at_its_offsets() -> None:
    answer = cite("A child pays six marks [1].", SHOWN, "What does a child pay?")
    (citation,) = answer.citations
    assert (citation.number, citation.by, citation.is_valid) == (1, "model", True)
    assert citation.quote is not None
    assert citation.quote.text == "It costs six marks for a child."
    assert FIRST[citation.quote.start : citation.quote.end] == citation.quote.text


@pytest.mark.parametrize("mark", ["[2]", "[ 2 ]", "[passage 2]", "[Passages 2]", "[2, 2]"])
def test_the_ways_in_which_models_write_a_number(mark: str) -> None:
    citations = by_model(f"Lucia Ferrand repaired it {mark}.", SHOWN)
    assert [(c.number, c.quote and c.quote.start) for c in citations] == [(2, 100)]


@pytest.mark.parametrize("number", [0, 3, 99])
def test_a_number_that_no_passage_has_is_invalid_and_stays_visible(number: int) -> None:
    (citation,) = cite(f"It was repaired [{number}].", SHOWN, "Who?").citations
    assert (citation.number, citation.is_valid, citation.quote) == (number, False, None)


def test_a_mark_after_the_full_stop_belongs_to_the_sentence_before() -> None:
    citations = by_model("The ferry leaves at noon. [1] Lucia Ferrand repaired the clock. [2]", SHOWN)
    assert [(c.number, c.support) for c in citations] == [(1, 1.0), (2, 1.0)]


def test_a_citation_that_shares_no_word_with_the_answer_has_no_support() -> None:
    (citation,) = cite("Bananas are yellow [1].", SHOWN, "Colour?").citations
    assert citation.is_valid
    assert citation.support == 0


def test_what_the_model_did_not_cite_is_found_by_its_words() -> None:
    (citation,) = cite("It was repaired by Lucia Ferrand.", SHOWN, "Who repaired the clock?").citations
    assert (citation.number, citation.by) == (2, "match")
    assert citation.quote is not None
    assert (citation.quote.start, citation.quote.end) == (100, 100 + len(SECOND))


def test_words_that_stand_nowhere_give_no_citation() -> None:
    assert cite("Bananas are yellow.", SHOWN, "Colour?").citations == ()


@pytest.mark.parametrize(
    ("text", "is_abstention"),
    [
        ("Not in the documents.", True),
        ("The answer is not in the passages.", True),
        ("This is not mentioned in the documents. [1]", True),
        ("The ferry is not in the documents of the harbour master, who sells tickets for six marks.", False),
        ("Six marks.", False),
    ],
)
def test_the_models_own_word_that_it_does_not_know(text: str, is_abstention: bool) -> None:
    assert cite(text, SHOWN, "What?").is_abstention is is_abstention


def test_names_and_numbers_that_the_model_never_saw_are_listed() -> None:
    assert unsupported("Maria Ferrand did it in 1988 for 16 marks, not 6, in Skelby [7].", SHOWN, "Who in Skelby?") == (
        "Maria",
        "1988",
        "16",
    )


def test_content_words_are_stems_without_stop_words() -> None:
    assert content_words("Who repaired the clocks in 1987, and what is a clock?") == ("repair", "clock", "1987")
    assert content_words("the of and") == ()
    assert coverage(("repair", "clock", "mars"), "A clock repairer repairs") == pytest.approx(2 / 3)
    assert coverage((), "anything") == 0


def test_a_bare_number_is_quoted_by_the_questions_words() -> None:
    answer = cite("[1]", SHOWN, "What does a child pay?")
    assert [(c.by, c.quote and c.quote.text) for c in answer.citations] == [
        ("model", "It costs six marks for a child.")
    ]
