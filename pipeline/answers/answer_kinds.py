"""Expected answer types: which kind a question asks for, and whether a sentence holds a new one of that kind.

`Who` asks for a name, `how many` for a number, `when` for a time; all others ask for anything. Only English is
classified: a question in another language asks for anything, so every sentence qualifies.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from typing import Literal

from pipeline.text.words import content_words

Kind = Literal["name", "number", "time", "any"]

_PATTERNS: dict[Kind, str] = {
    "number": (
        r"how (?:many|much|old|far|tall|high|large|big|fast|heavy|deep|wide|long)|(?:what|which|how) (?:\w+ ){0,2}"
        r"(?:percent|percentage|number|amount|age|size|population|price|cost|salary|rate|speed|weight|height|length)"
    ),
    "time": r"when|(?:what|which) (?:\w+ )?(?:year|date|day|month|decade|century|time)",
    "name": (
        r"who|whom|whose|where|(?:what|which) (?:\w+ )?(?:person|man|woman|actor|actress|president|king|queen|player|"
        r"city|country|state|place|town|county|region|river|continent|company|team|university|language)"
    ),
}
_KINDS = [(kind, re.compile(rf"\b(?:{pattern})\b", re.IGNORECASE)) for kind, pattern in _PATTERNS.items()]
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_CAPITALISED = re.compile(r"[^\W\d_a-zà-öø-ÿ][\w'’-]*")
_LETTERS = re.compile(r"[^\W\d_]+")
_NUMBER_WORDS = frozenset(
    "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
    "nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion half dozen one "
    "first second third once twice".split()
)
_TIME_WORDS = frozenset(
    "january february march april may june july august september october november december monday tuesday wednesday "
    "thursday friday saturday sunday century decade today yesterday tomorrow morning evening night noon midnight "
    "spring summer autumn winter day days week weeks month months year years hour hours ago era during war".split()
)


def kind_of(question: str) -> Kind:
    """Returns the kind whose pattern matches earliest in the question."""
    places = [(match.start(), n) for n, (_, pattern) in enumerate(_KINDS) if (match := pattern.search(question))]
    return _KINDS[min(places)[1]][0] if places else "any"


def holds(kind: Kind, sentence: str, question_words: Set[str]) -> bool:
    """Whether the sentence holds something of that kind with a word that the question lacks."""
    return kind == "any" or any(not set(content_words(text)) <= question_words for text in _things(kind, sentence))


def is_only_a_time(words: Set[str]) -> bool:
    """Whether the content words are only a time: at least one number, and months, days or parts of a day."""
    numbers = {word for word in words if _NUMBER.fullmatch(word)}
    times = {stem for word in _TIME_WORDS for stem in content_words(word)}
    return bool(numbers) and words <= numbers | times


def _things(kind: Kind, sentence: str) -> Iterator[str]:
    """Yields the candidate answers of that kind in the sentence."""
    if kind == "name":
        yield from _CAPITALISED.findall(sentence)
        return
    yield from _NUMBER.findall(sentence)
    known = _NUMBER_WORDS if kind == "number" else _TIME_WORDS
    yield from (word for word in _LETTERS.findall(sentence) if word.casefold() in known)
