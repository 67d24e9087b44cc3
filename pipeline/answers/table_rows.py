"""Table rows as evidence: checks whether the question names another row or column than the answer's.

Rows of one table differ only in their values. Asked for the draught of the Zephyrus, a small model gives the draught of
the ship above it, or her length. The values that the question repeats identify the row (`Zephyrus`, `Q3`), the column's
name identifies the column (`draught`, `2026`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence, Set

from pipeline.answers.citations import Evidence, forms_of
from pipeline.documents.tables import is_value
from pipeline.text.ranges import numbers_within
from pipeline.text.sentences import is_record
from pipeline.text.words import content_words

_QUARTERS = {"first": 1, "1st": 1, "second": 2, "2nd": 2, "third": 3, "3rd": 3, "fourth": 4, "4th": 4}
_QUARTER = re.compile(rf"\b({'|'.join(_QUARTERS)}) quarter\b", re.IGNORECASE)


def named_row(evidence: Sequence[Evidence], row: Evidence, question: str) -> Evidence | None:
    """Returns the row of the same table whose values the question names; None if that is `row`, or on a tie."""
    names = _names(row)
    if not names:
        return None
    question_words = _asked(question) - forms_of(" ".join(names))
    rows = rows_of_table(evidence, row)
    n_named = [_n_named(other, question_words) for other in rows]
    best = max(n_named, default=0)
    if best <= _n_named(row, question_words) or n_named.count(best) > 1:
        return None
    return rows[n_named.index(best)]


def rows_of_table(evidence: Sequence[Evidence], row: Evidence) -> list[Evidence]:
    """Returns the rows of the same table, including `row`; none for prose."""
    names, source = _names(row), row.passage.source
    return [other for other in evidence if names and other.passage.source == source and _names(other) == names]


def is_other_column(row: Evidence, answer: str, question: str) -> bool:
    """Whether the answer's number is a cell of the row, and the question names the column of another number.

    A column whose value the question repeats identifies the row; it is not the column in question.
    """
    question_words = _asked(question)
    cells = [(forms_of(name), forms_of(value), is_value(value)) for name, value in _cells(row)]
    n_columns = Counter(word for name, _, _ in cells for word in name)
    shared = {word for word, n in n_columns.items() if n > 1}
    is_named = [bool((name - shared) & question_words) and not value & question_words for name, value, _ in cells]
    numbers = {word for word in content_words(answer) if word[0].isdigit()} - question_words
    wanted = [value for (_, value, is_number), named in zip(cells, is_named, strict=True) if named and is_number]
    others = [value for (_, value, _), named in zip(cells, is_named, strict=True) if not named]
    return bool(wanted) and not any(numbers & value for value in wanted) and any(numbers & value for value in others)


def mixes_rows(evidence: Sequence[Evidence], row: Evidence, answer: str, question: str) -> bool:
    """Whether the question names this row alone, and the answer has a number of another row of the table beside it."""
    question_words = _asked(question) - forms_of(" ".join(_names(row)))
    others = [other for other in rows_of_table(evidence, row) if other is not row]
    n_named = _n_named(row, question_words)
    if n_named <= max((_n_named(other, question_words) for other in others), default=n_named):
        return False
    numbers = {word for word in content_words(answer) if word[0].isdigit()}
    strange = numbers - question_words - forms_of(row.quote.text)
    return any(strange & forms_of(" ".join(value for _, value in _cells(other))) for other in others)


def _asked(question: str) -> Set[str]:
    """Returns the question's words, with `q4` for `fourth quarter`, as tables write it."""
    quarters = {f"q{_QUARTERS[match[1].casefold()]}" for match in _QUARTER.finditer(question)}
    return frozenset(content_words(question)) | quarters


def _cells(evidence: Evidence) -> list[tuple[str, str]]:
    """Returns the (name, value) cells of a row that `documents.tables` wrote; none for prose."""
    text = " ".join(evidence.quote.text.split())
    if not is_record(text):
        return []
    cells = [cell.partition(": ") for cell in text.rpartition(" · ")[2].split("; ")]
    return [(name, value) for name, colon, value in cells if colon]


def _names(evidence: Evidence) -> tuple[str, ...]:
    return tuple(name for name, _ in _cells(evidence))


def _n_named(evidence: Evidence, question_words: Set[str]) -> int:
    """Counts the question's words among the row's values, and its numbers inside a range that is one of them."""
    values = [value for _, value in _cells(evidence)]
    within = frozenset[str]().union(*(numbers_within(question_words, value) for value in values))
    return len(question_words & (forms_of(" ".join(values)) | within))
