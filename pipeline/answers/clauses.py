"""Clauses as evidence: checks whether the question names another clause of the sentence than the answer's.

"Galvanised chains lost 0.11 mm a year, bare steel lost 0.42 mm a year": asked for the chains, a small model may give
the loss of the steel. The sentence holds its number, so only the words beside the number can tell. This is the check
that pipeline/answers/table_rows.py makes for rows of tables. Of 318 right answers with a number (XQuAD, HotpotQA,
2Wiki), and of 38 that were made to deceive it, it takes none for another clause's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipeline.text.numbers import number_spans
from pipeline.text.words import content_words, word_forms

_BOUNDARY = re.compile(
    r"[,;:]\s+|(?<!\s)\s+(?:[\u2013\u2014]|and|but|while|whereas|und|aber|während|ve|ama|ise)\s+", re.IGNORECASE
)
_UNIT = re.compile(r"[ \t\u00a0\u202f]?([^\W\d_]+|[%€$£°])")
_GOES_ON = re.compile(
    r"\b(?:later|now|today|then|after|since|afterwards|currently|it|they|he|she|this|these"
    r"|heute|später|jetzt|nun|dann|danach|seit|seitdem|zuletzt|inzwischen|er|sie|es|dies|diese"
    r"|bugün|sonra|şimdi|artık|o|bu|onlar)\b",
    re.IGNORECASE,
)
"""Words with which a clause goes on about what was named before."""
_WHEN = re.compile(
    r"\b(?:spring|summer|autumn|winter|january|february|(?-i:March|May)|april|june|july|august|september|october|november"
    r"|december|(?:mon|tues|wednes|thurs|fri|satur|sun)days?|weekends?|weekdays?|holidays?"
    r"|frühling|frühjahr|sommer|herbst|januar|februar|märz|(?-i:Mai)|juni|juli|oktober|dezember"
    r"|(?:mon|diens|donners|frei|sams|sonn)tags?|mittwochs?|wochenende|feiertagen?|werktags"
    r"|ilkbahar|yaz|sonbahar|kış|ocak|şubat|(?-i:Mart)|nisan|mayıs|haziran|temmuz|ağustos|eylül|ekim|kasım|aralık"
    r"|pazartesi|salı|çarşamba|perşembe|cuma|cumartesi|pazar)(?:['’]?(?:in|ın|un|ün|da|de|ta|te))?\b",
    re.IGNORECASE,
)
"""Seasons, months and days, which say when a clause holds."""
_LEAST_NAMED = 2
"""One word of the question in another clause may be there by chance."""


def is_other_clause(sentence: str, answer: str, question: str) -> bool:
    """Whether the question names one clause of the sentence, and all of the answer's numbers stand in others.

    Both clauses have to be alike: a number of the same unit, and before it a subject of their own and a word that both
    have, such as the verb. "And 19.50 in winter", "later raised to 9 million" and "today it has 900" go on about what
    the clause before names. Words that several clauses have name none of them.

    Or they hold at different times: "from April to October at 7:40, and in winter at 9:00".
    """
    asked = content_words(question)
    question_words = frozenset(asked)
    numbers = _numbers(answer) - question_words
    clauses = _clauses(sentence) if numbers else []
    if len(clauses) < 2:
        return False
    if _is_other_time(clauses, numbers, question):
        return True
    words = [word_forms(clause, asked.language) for clause in clauses]
    own = [these - frozenset[str]().union(*(w for m, w in enumerate(words) if m != n)) for n, these in enumerate(words)]
    named = [len(question_words & these) for these in own]
    best = max(range(len(clauses)), key=lambda n: named[n])
    held = [n for n, clause in enumerate(clauses) if numbers & _numbers(clause)]
    return (
        named[best] >= _LEAST_NAMED
        and bool(held)
        and numbers <= frozenset[str]().union(*(_numbers(clauses[n]) for n in held))
        and all(n != best and not named[n] for n in held)
        and all(_are_alike(clauses[n], clauses[best], numbers) for n in held)
    )


def _is_other_time(clauses: Sequence[str], numbers: frozenset[str], question: str) -> bool:
    """Whether one clause alone holds at the time that the question names, and the answer's numbers at another."""
    asked = _times(question)
    named = [clause for clause in clauses if asked <= _times(clause)] if asked else []
    held = [clause for clause in clauses if numbers & _numbers(clause)]
    if len(named) != 1 or not held or numbers & _numbers(named[0]):
        return False
    units, all_numbers = _units(named[0]), frozenset[str]().union(*map(_numbers, held))
    return numbers <= all_numbers and all(
        _times(clause) and (_units(clause, numbers) & units or not (_units(clause, numbers) or units))
        for clause in held
    )


def _times(text: str) -> set[str]:
    return {match.group().casefold() for match in _WHEN.finditer(text)}


def _are_alike(clause: str, named: str, numbers: frozenset[str]) -> bool:
    """Whether a clause that holds the answer says of another subject what the named one says of its own."""
    before, before_named = (set(content_words(one[: _first_number(one)])) for one in (clause, named))
    shared = {word for word in before & before_named if not word[0].isdigit()}
    has_subject = bool({word for word in before - shared if not word[0].isdigit()})
    goes_on = bool(_GOES_ON.search(clause[: _first_number(clause)]))
    return bool(_units(clause, numbers) & _units(named)) and bool(shared) and has_subject and not goes_on


def _clauses(sentence: str) -> list[str]:
    """The clauses that hold a number. One without belongs to the one behind it, a number alone to the one before."""
    clauses: list[str] = []
    start = 0
    ends = [(match.start(), match.end()) for match in _BOUNDARY.finditer(sentence)]
    for end, following in [*ends, (len(sentence), len(sentence))]:
        clause = sentence[start:end]
        if not _numbers(clause):
            continue
        is_bare = all(word[0].isdigit() for word in content_words(clause))
        if clauses and is_bare and not _times(clause):
            clauses[-1] = f"{clauses[-1]}, {clause}"
        else:
            clauses.append(clause)
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


def _first_number(clause: str) -> int:
    """Where the first number of a clause begins."""
    return min(number.start for number in number_spans(clause))
