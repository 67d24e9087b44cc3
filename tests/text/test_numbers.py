import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.text.numbers import number_forms, number_spans, numbers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("6,018 sacks, 6 018 sacks, 6\u202f018 sacks, 6018 sacks", {"6018"}),
        ("thirty-four or thirty four or 34", {"34"}),
        ("seven boats, Seventeen nets", {"7", "17"}),
        ("two hundred and six, one thousand two hundred", {"206", "1200"}),
        ("nineteen eighty-seven, twenty twenty-one", {"1987", "2021"}),
        ("6.2 million", {"6200000"}),
        ("the 21st, the twenty-first, the third", {"21", "3"}),
        ("1st, first, second, one, B12", set()),
        ("one hundred and one", {"101"}),
        ("seven, eight, nine", {"7", "8", "9"}),
        ("Skelby,9388771,Norway", {"9388771"}),
        ("Skelby,4,007,Norway", {"4", "007"}),
        ("depth:10.2;port:8080", {"10.2", "8080"}),
        ("at 7:40", {"7:40"}),
        ("Der Hafen ist 10,5 Meter tief und hat 6.018 Kisten", {"10.5", "6018"}),
        ("vierunddreißig Boote", {"34"}),
        ("otuz dört kayık, bin dokuz yüz seksen yedi", {"34", "1987"}),
        ("", set()),
    ],
)
def test_numbers_have_one_form(text: str, expected: set[str]) -> None:
    assert numbers(text) == expected


def test_what_a_number_may_be_meant_as() -> None:
    assert {"24", "12", "2024"} <= number_forms("on 24.12.2024")
    assert "7:40" in number_forms("um 7.40 Uhr")
    assert {"10.5", "10", "5"} <= number_forms("10,5")
    assert "4.5" in number_forms("4.50 marks")


def test_a_number_has_its_place_in_the_original() -> None:
    text = "The ﬁfty-six of 6\u00a0018, and two hundred and six"
    assert [(n.value, text[n.start : n.end]) for n in number_spans(text)] == [
        ("56", "ﬁfty-six"),
        ("6018", "6\u00a0018"),
        ("206", "two hundred and six"),
    ]


@given(st.integers(0, 10**12))
@settings(deadline=None)  # the first call loads the word lists
def test_digits_and_grouped_digits_are_one(number: int) -> None:
    assert numbers(f"of {number:,} sacks") == numbers(f"of {number} sacks") == {str(number)}


@given(st.text())
@settings(deadline=None)  # the first call loads the word lists
def test_a_number_that_stands_there_is_found_among_the_forms(text: str) -> None:
    assert numbers(text) <= number_forms(text)
    assert all(0 <= n.start < n.end <= len(text) for n in number_spans(text))
