"""What filters match, what they refuse to read, and what they say where nothing is left."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pipeline.errors import DataError
from pipeline.retrieval.bm25 import Bm25
from pipeline.retrieval.filters import FIELDS, FilterError, nothing_left, read_filter
from pipeline.retrieval.metadata import Metadata
from pipeline.retrieval.scope import Scope, scope_of
from pipeline.types import Question


def ns(day: str) -> int:
    return int(datetime.fromisoformat(f"{day}T12:00:00").replace(tzinfo=UTC).timestamp() * 1e9)


FARES = Metadata("/d/2024/fares.pdf", "pdf", "The Fares", "Ada Byron", "2024-05-17", ns("2026-01-02"), "en", 9)
LOG = Metadata("/d/log.txt", "text", "log", "", "", ns("2023-12-31"), "de")
CODE = Metadata("/d/src/[old] tide.py", "code:python", "tide.py", "", "2025-03", ns("2026-01-02"))
ALL = {"fares": FARES, "log": LOG, "code": CODE}


def matching(text: str, page: int | None = None) -> list[str]:
    return [name for name, about in ALL.items() if read_filter(text).matches(about, page)]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("kind=pdf", ["fares"]),
        ("KIND = PDF", ["fares"]),
        ("kind==pdf", ["fares"]),
        ("kind!=pdf", ["log", "code"]),
        ("kind in (pdf, text)", ["fares", "log"]),
        ("kind=code", ["code"]),
        ("kind=python", ["code"]),
        ("author='ada byron'", ["fares"]),
        ("author=ada*", ["fares"]),
        ("author=ada", []),
        ("author~BYR", ["fares"]),
        ("author=''", ["log", "code"]),
        ("title~fares and not language=de", ["fares"]),
        ("language=german", ["log"]),
        ("language in (en, german)", ["fares", "log"]),
        ("path=*.pdf", ["fares"]),
        ("path=2024/fares.pdf", ["fares"]),
        ('path="src/[old] tide.py"', ["code"]),
        ("folder=2024", ["fares"]),
        ("folder=/d", ["fares", "log", "code"]),
        ("folder=d/src/", ["code"]),
        ("name=log.*", ["log"]),
        ("year>=2024", ["fares", "code"]),
        ("year=2023", ["log"]),
        ("date>=2024-05-17", ["fares", "code"]),
        ("date>2024-05", ["code"]),
        ("date<=2024-05", ["fares", "log"]),
        ("date<2024", ["log"]),
        ("date=2024", ["fares"]),
        ("date in (2023, 2025-03)", ["log", "code"]),
        ("date=2025-03-09", ["code"]),
        ("document_date>=2000", ["fares", "code"]),
        ("document_date!=2024", ["log", "code"]),
        ("file_date=2026-01-02", ["fares", "code"]),
        ("pages>8", ["fares"]),
        ("kind=pdf or kind=text and year=2024", ["fares"]),
        ("(kind=pdf or kind=text) and year=2023", ["log"]),
        ("not (kind=pdf or kind=text)", ["code"]),
        ("not not kind=pdf", ["fares"]),
    ],
)
def test_a_filter_matches(text: str, names: list[str]) -> None:
    assert matching(text) == names


def test_pages_are_compared_as_numbers() -> None:
    assert matching("page>=10 and page<12", page=11) == ["fares", "log", "code"]
    assert matching("page>=10 and page<12", page=9) == []
    assert matching("page>=10", page=None) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"filter is empty: name a field"),
        ("kind", r"filter 'kind': expected an operator behind 'kind', one of = != ~ in, got the end"),
        ("kind=", r"expected a value behind '=', got the end"),
        ("kind=pdf year=2024", r"expected 'and', 'or' or the end, got 'year' at character 10"),
        ("kind=pdf and", r"expected a field, got the end"),
        ("(kind=pdf", r"expected '\)', got the end"),
        ("kind=pdf)", r"expected 'and', 'or' or the end, got '\)' at character 9"),
        ("knd=pdf", r"has no field 'knd' to compare; did you mean 'kind'\?"),
        ("colour=red", r"has no field 'colour' to compare; there are: path, folder, name, kind,"),
        ("kind>pdf", r"kind is compared by = != ~ in, not by >"),
        ("year~20", r"year is compared by = != < <= > >= in, not by ~"),
        ("year=old", r"year is compared with a whole number, was: 'old'"),
        ("page=-1", r"page is compared with a whole number, was: '-1'"),
        ("date>=May", r"date is compared with a day, a month or a year \(2024-05-17, 2024-05, 2024\), was: 'May'"),
        ("date=2024-13", r"was: '2024-13'"),
        ("date=2023-02-30", r"was: '2023-02-30'"),
        ("kind in pdf", r"expected '\(' behind 'in', got 'pdf' at character 9"),
        ("kind in (pdf", r"expected ',' or '\)', got the end"),
        ("kind in ()", r"expected a value behind 'in', got '\)' at character 10"),
        ("kind='pdf", r"expected a value behind '=', got \"'\" at character 6"),
        ("kind=pdf & year=2024", r"expected 'and', 'or' or the end, got '&' at character 10"),
        ("(" * 60 + "kind=pdf" + ")" * 60, r"filter has more than 50 parts inside one another"),
        ("not " * 5000 + "kind=pdf", r"filter has more than 50 parts inside one another"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(text: str, message: str) -> None:
    with pytest.raises(FilterError, match=message):
        read_filter(text)


def test_a_filter_that_leaves_nothing_says_what_there_is() -> None:
    error = nothing_left("kind=docx and (year<2000 or author=Odd)", list(ALL.values()))
    assert str(error) == (
        "the filter 'kind=docx and (year<2000 or author=Odd)' leaves none of 3 documents to search. What there is: "
        "kind is pdf (1), text (1), code:python (1); author is Ada Byron (1); year is 2023 to 2025"
    )
    assert "page is 1 to 12" in str(nothing_left("page=40", [FARES], [1, 2, 12]))
    assert "pages is nothing that any document has" in str(nothing_left("pages=40", [LOG]))


def test_every_field_can_be_compared() -> None:
    value = {"path": "x", "text": "x", "date": "2024", "number": "7"}
    for field, sort in FIELDS.items():
        assert read_filter(f"{field}={value[sort]}").fields == {field}


def test_the_filters_of_a_retriever_and_of_a_question_count_together() -> None:
    question = Question("When?", glob="*/a/*", filter="year=2024")
    assert scope_of(Bm25(filter="kind=pdf"), question) == Scope(("*/a/*",), ("kind=pdf", "year=2024"))
    assert scope_of(Bm25(), Question("When?", filter="year=2024")) == Scope((), ("year=2024",))


def test_a_question_with_a_wrong_filter_is_an_error_for_the_user() -> None:
    with pytest.raises(DataError, match="filter 'kind': expected an operator behind 'kind'"):
        scope_of(Bm25(), Question("When?", filter="kind"))
    assert scope_of(Bm25(), Question("When?")) is None
