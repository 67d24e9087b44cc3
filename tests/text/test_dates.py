"""Dates in one form, with their places; what is ambiguous or in no calendar is none."""

import pytest

from pipeline.text.dates import dates


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The lease begins on 15 June 2019.", ["2019-06-15"]),
        ("on June 15th, 2019, and on 2020-01-02", ["2019-06-15", "2020-01-02"]),
        ("am 1. März 2021 und am 24.12.2024", ["2021-03-01", "2024-12-24"]),
        ("1 Mart 2021'de; 3 Eylül 2020", ["2021-03-01", "2020-09-03"]),
        ("the 2nd of Feb. 2020", ["2020-02-02"]),
        ("13/4/2021, 4/13/2021 and 5/5/2021", ["2021-04-13", "2021-04-13", "2021-05-05"]),
        ("3/4/2021", []),
        ("30 February 2021, 2021-13-01, June 2019, 15 June", []),
        ("may 2019 be 12 marks", []),
    ],
)
def test_dates_in_one_form(text: str, expected: list[str]) -> None:
    result = dates(text)
    assert [date.value for date in result] == expected
    assert all(any(character.isdigit() for character in text[date.start : date.end]) for date in result)
