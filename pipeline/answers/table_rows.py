"""Rows of tables as evidence: whether the question names another row or column than the one that an answer stands in.

Rows of one table are alike but for their values, and a small model that is asked for the draught of the Zephyrus gives
that of the ship above it, or her length. Which row is meant can be told by the values that the question repeats:
`Zephyrus`, `Q3`; which column by its name: `draught`, `2026`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence, Set

from pipeline.answers.citations import Evidence, forms_of
from pipeline.documents.sentences import is_record
from pipeline.documents.tables import is_value
from pipeline.text.words import content_words

_QUARTERS = {"first": 1, "1st": 1, "second": 2, "2nd": 2, "third": 3, "3rd": 3, "fourth": 4, "4th": 4}
_QUARTER = re.compile(rf"\b({'|'.join(_QUARTERS)}) quarter\b", re.IGNORECASE)


def named_row(evidence: Sequence[Evidence], row: Evidence, question: str) -> Evidence | None:
    """The row of the same table whose values the question names; None where that is `row` itself, or none is named.

    Several that are named alike count as none.
    """
    names = _names(row)
    if not names:
        return None
    asked = _asked(question) - forms_of(" ".join(names))
    rows = [one for one in evidence if one.passage.source == row.passage.source and _names(one) == names]
    n_named = [len(asked & _values(one)) for one in rows]
    best = max(n_named, default=0)
    if best <= len(asked & _values(row)) or n_named.count(best) > 1:
        return None
    return rows[n_named.index(best)]


def is_other_column(row: Evidence, answer: str, question: str) -> bool:
    """Whether the answer's number stands in a row's cell, and the question names the column of another number there.

    A column whose value the question repeats says which row is meant, and not what is asked for.
    """
    asked = _asked(question)
    cells = [(forms_of(name), forms_of(value), is_value(value)) for name, value in _cells(row)]
    n_columns = Counter(word for name, _, _ in cells for word in name)
    shared = {word for word, n in n_columns.items() if n > 1}
    is_named = [bool((name - shared) & asked) and not value & asked for name, value, _ in cells]
    said = {word for word in content_words(answer) if word[0].isdigit()} - asked
    wanted = [value for (_, value, is_number), named in zip(cells, is_named, strict=True) if named and is_number]
    others = [value for (_, value, _), named in zip(cells, is_named, strict=True) if not named]
    return bool(wanted) and not any(said & value for value in wanted) and any(said & value for value in others)


def _asked(question: str) -> Set[str]:
    """The question's words, and `q4` for its fourth quarter, which tables write in that way."""
    quarters = {f"q{_QUARTERS[match[1].casefold()]}" for match in _QUARTER.finditer(question)}
    return frozenset(content_words(question)) | quarters


def _cells(evidence: Evidence) -> list[tuple[str, str]]:
    """(name, value) of each cell of a row as `documents.tables` writes it; none for prose."""
    text = " ".join(evidence.quote.text.split())
    if not is_record(text):
        return []
    cells = [cell.partition(": ") for cell in text.rpartition(" · ")[2].split("; ")]
    return [(name, value) for name, colon, value in cells if colon]


def _names(evidence: Evidence) -> tuple[str, ...]:
    return tuple(name for name, _ in _cells(evidence))


def _values(evidence: Evidence) -> Set[str]:
    return forms_of(" ".join(value for _, value in _cells(evidence)))
