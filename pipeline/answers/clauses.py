"""Clauses as evidence: checks whether the question names another clause of the sentence than the answer's.

"Galvanised chains lost 0.11 mm a year, bare steel lost 0.42 mm a year": asked for the chains, a small model may give
the loss of the steel. The sentence holds its number, so only the words beside the number can tell. This is the check
that pipeline/answers/table_rows.py makes for rows of tables. Of 318 right answers with a number (XQuAD, HotpotQA,
2Wiki) it takes none for another clause's.
"""

from __future__ import annotations

import re

from pipeline.text.numbers import number_spans
from pipeline.text.words import content_words, word_forms

_BOUNDARY = re.compile(
    r"[,;:]\s+|\s+[\u2013\u2014]\s+|\s+(?:and|but|while|whereas|und|aber|während|ve|ama|ise)\s+", re.IGNORECASE
)
_UNIT = re.compile(r"[ \t\u00a0\u202f]?([^\W\d_]+|[%€$£°])")
_LEAST_NAMED = 2
"""One word of the question in another clause may be there by chance."""


def is_other_clause(sentence: str, answer: str, question: str) -> bool:
    """Whether the question names one clause of the sentence, and all of the answer's numbers stand in others.

    Both clauses have to have a number of the same unit, and the answer's words before its number: "and 19.50 in winter"
    goes on about what the clause before names. Words that several clauses have name none of them.
    """
    asked = content_words(question)
    question_words = frozenset(asked)
    numbers = _numbers(answer) - question_words
    clauses = _clauses(sentence)
    if not numbers or len(clauses) < 2:
        return False
    words = [word_forms(clause, asked.language) for clause in clauses]
    own = [these - frozenset[str]().union(*(w for m, w in enumerate(words) if m != n)) for n, these in enumerate(words)]
    named = [len(question_words & these) for these in own]
    best = max(range(len(clauses)), key=lambda n: named[n])
    held = [n for n, clause in enumerate(clauses) if numbers & _numbers(clause)]
    return (
        named[best] >= _LEAST_NAMED
        and bool(held)
        and numbers <= frozenset[str]().union(*(_numbers(clauses[n]) for n in held))
        and all(n != best and not named[n] and _has_words_before_its_number(clauses[n]) for n in held)
        and all(_units(clauses[n], numbers) & _units(clauses[best]) for n in held)
    )


def _clauses(sentence: str) -> list[str]:
    """The clauses that hold a number. One without a number belongs to the one behind it."""
    clauses: list[str] = []
    start = 0
    ends = [(match.start(), match.end()) for match in _BOUNDARY.finditer(sentence)]
    for end, following in [*ends, (len(sentence), len(sentence))]:
        if _numbers(sentence[start:end]):
            clauses.append(sentence[start:end])
            start = following
    return clauses


def _numbers(text: str) -> frozenset[str]:
    return frozenset(number.value for number in number_spans(text))


def _units(clause: str, of_numbers: frozenset[str] | None = None) -> set[str]:
    """The units right behind the clause's numbers, or behind some of them: a sign, or a word such as `tonnes`."""
    spans = [number for number in number_spans(clause) if of_numbers is None or number.value in of_numbers]
    units = [_UNIT.match(clause, number.end) for number in spans]
    found = {unit[1].casefold() for unit in units if unit is not None}
    return {unit for unit in found if not unit.isalpha() or content_words(unit)}


def _has_words_before_its_number(clause: str) -> bool:
    first = min(number.start for number in number_spans(clause))
    return bool(content_words(clause[:first]))
