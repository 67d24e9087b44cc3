"""Whether an accepted answer stands in a text, after the one normalisation."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation.answers import exact_match, f1, holds


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The orchard has seven ladders.", "7"),
        ("34 years passed", "thirty-four"),
        ("Thirty four years passed", "34"),
        ("all 6018 sacks", "6,018"),
        ("all 6\u00a0018 sacks", "6018"),
        ("built in nineteen eighty-seven", "1987"),
        ("the 21st of May", "twenty-first"),
        ("The ﬁrst oﬃce", "first office"),
        ("ＡＢＣ mill", "abc Mill"),
        ("the U.S.A. won", "USA"),
        ("Wells of the well-known Ada's mill", "well known Ada"),
        ("Bridge,10.2,Skelby", "10.2"),
        ("Bridge,10.2,Skelby", "skelby"),
        ("Der Mu\u0308ller", "Müller"),
        ("co\u00adoperative mill", "cooperative"),
        ("図書館は月曜日に休みます", "月曜日"),
        ("the 1st of them", "first"),
        ("one boat", "1"),
        ("", "the"),
    ],
)
def test_an_answer_stands_there(text: str, answer: str) -> None:
    assert holds(text, answer)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("a party", "art"),
        ("10.2 metres", "10"),
        ("10.2 metres", "2"),
        ("thirty-four", "4"),
        ("twenty-one", "one"),
        ("in 1901, Skelby", "Skelby 1901"),
        ("16018", "6018"),
        ("Skelby", ""),
        ("Skelby", "the"),
        ("", "Skelby"),
    ],
)
def test_an_answer_does_not_stand_there(text: str, answer: str) -> None:
    assert not holds(text, answer)


@given(st.text())
@settings(deadline=None)  # the first call loads the word lists
def test_every_text_holds_itself(answer: str) -> None:
    assert holds(answer, answer)
    assert holds(answer, unicodedata.normalize("NFD", answer))


def test_a_decomposed_accepted_answer_is_the_composed_one() -> None:
    gold = unicodedata.normalize("NFD", "Brücke Größe Zwei")
    assert gold != "Brücke Größe Zwei"
    assert exact_match("Brücke Größe Zwei", gold) == 1
    assert f1("die Brücke Größe", gold) == pytest.approx(2 * 2 / 6)
