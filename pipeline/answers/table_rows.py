"""Rows of tables as evidence: whether the question names another row than the one that an answer stands in.

Rows of one table are alike but for their values, and a small model that is asked for the draught of the Zephyrus gives
that of the ship above it. Which row is meant can be told by the values that the question repeats: `Zephyrus`, `Q3`.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

from pipeline.answers.citations import Evidence, forms_of
from pipeline.documents.sentences import is_record
from pipeline.text.words import content_words


def named_row(evidence: Sequence[Evidence], row: Evidence, question: str) -> Evidence | None:
    """The row of the same table whose values the question names; None where that is `row` itself, or none is named.

    Several that are named alike count as none.
    """
    names = _names(row)
    if not names:
        return None
    asked = frozenset(content_words(question)) - forms_of(" ".join(names))
    rows = [one for one in evidence if one.passage.source == row.passage.source and _names(one) == names]
    n_named = [len(asked & _values(one)) for one in rows]
    best = max(n_named, default=0)
    if best <= len(asked & _values(row)) or n_named.count(best) > 1:
        return None
    return rows[n_named.index(best)]


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
