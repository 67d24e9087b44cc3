"""Puts a correction into the question it corrects: "No, I meant 15 metres", after "Who has a mast of 12 metres?".

The correction replaces its counterpart: a number with the same unit, another season, another name, or a phrase with the
same noun. If the question has no counterpart, or several, the correction is appended.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from pipeline.conversation.followup import phrases, words_of
from pipeline.conversation.utterances import Language, language_of, plain
from pipeline.text.words import content_words

_NUMBER_WORDS: dict[Language, str] = {
    "en": "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand",
    "de": "zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn "
    "achtzehn neunzehn zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig hundert tausend",
    "tr": "iki üç dört beş altı yedi sekiz dokuz on yirmi otuz kırk elli altmış yetmiş seksen doksan yüz bin",
}
_KINDS: tuple[str, ...] = (
    "spring summer autumn fall winter frühling frühjahr sommer herbst ilkbahar yaz yazın sonbahar kış kışın",
    "january february march april may june july august september october november december "
    "januar februar märz mai juni juli oktober dezember "
    "ocak şubat mart nisan mayıs haziran temmuz ağustos eylül ekim kasım aralık",
    "monday tuesday wednesday thursday friday saturday sunday mondays tuesdays wednesdays thursdays fridays "
    "saturdays "
    "sundays montag dienstag mittwoch donnerstag freitag samstag sonntag montags dienstags mittwochs "
    "donnerstags freitags "
    "samstags sonntags pazartesi salı çarşamba perşembe cuma cumartesi pazar",
    "morning afternoon evening night noon morgens mittags nachmittags abends nachts sabah öğlen akşam gece",
)
"""Each row has words of one kind, which may replace one another."""
_WHOLE_QUESTION = re.compile(
    r"(?:who|whom|whose|what|which|when|where|why|how|is|are|was|were|do|does|did|can|"
    r"wer|wen|wem|was|welche\w?|wann|wo|wohin|warum|wie|ist|sind|hat|haben|kann)\b",
    re.IGNORECASE,
)
_OTHER = re.compile(
    r"(?:the )?(?:other|another|second)(?: one| ones)?|(?:den|die|das|dem|der)? ?(?:andere|anderen|anderes|"
    r"zweite|zweiten)|"
    r"(?:öteki|diğer|öbür|ikinci)(?:si|sini|i|ini|ni)?"
)
_PREPOSITION = re.compile(r"(?:in|on|at|im|am|um|for|für|from|von)\s+(?:the\s+|der\s+|den\s+|dem\s+)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Corrected:
    """A corrected question. `replaced` is the replaced text; empty if the correction was appended."""

    text: str
    replaced: str = ""


def is_other(correction: str) -> bool:
    """Whether a correction is just "the other one"."""
    return bool(_OTHER.fullmatch(plain(correction).strip(" .!?")))


def corrected(question: str, correction: str) -> Corrected:
    """The corrected question. A correction that is a question replaces it."""
    correction = correction.strip().rstrip(".!?").strip()
    if _WHOLE_QUESTION.match(correction) and len(content_words(correction)) >= 2:
        return Corrected(f"{correction}?", question)
    for counterpart in (_number, _of_a_kind, _name, _noun):
        span = counterpart(question, correction)
        if span is not None:
            start, end, put_in = span
            return Corrected(question[:start] + put_in + question[end:], question[start:end])
    return Corrected(f"{question.strip()} {correction}")


Counterpart = tuple[int, int, str]
"""The replaced span (start, end) of the question, and the text that replaces it."""


def _number(question: str, correction: str) -> Counterpart | None:
    """The number with the same unit. For a bare number or another unit, the only number of the question."""
    pattern = _numbers_of(language_of(question))
    new = pattern.match(correction)
    if new is None or len(content_words(correction)) > 3:
        return None
    numbers = list(pattern.finditer(question))
    unit = new.group("unit") or ""
    same = [old for old in numbers if unit and _is_same_word(old.group("unit") or "", unit)]
    if len(same) == 1:
        return same[0].start(), same[0].end(), correction
    if len(numbers) != 1:
        return None
    (old,) = numbers
    if unit and _is_unit(old.group("unit"), question):
        return old.start(), old.end(), correction
    return old.start("number"), old.end("number"), correction


@cache
def _numbers_of(language: Language) -> re.Pattern[str]:
    """Numbers in digits or in the language's words, each with the word behind it."""
    words = "|".join(_NUMBER_WORDS[language].split())
    return re.compile(
        rf"(?<!\w)(?P<number>\d+(?:[.,:]\d+)*|(?:{words})(?!\w))(?:\s?(?P<unit>[^\W\d_]+|[%€$°]))?", re.IGNORECASE
    )


def _is_unit(word: str | None, question: str) -> bool:
    """Whether the word after a number is a unit, and no function word."""
    return bool(word) and plain(word or "") not in words_of(question).function


def _of_a_kind(question: str, correction: str) -> Counterpart | None:
    word = _PREPOSITION.sub("", correction, count=1)
    for row in _KINDS:
        kind = {plain(name) for name in row.split()}
        if plain(word) not in kind:
            continue
        matches = [match for match in re.finditer(r"\w+", question) if plain(match.group()) in kind]
        if len(matches) == 1:
            return matches[0].start(), matches[0].end(), word
    return None


def _name(question: str, correction: str) -> Counterpart | None:
    """The only name of the question behind its first word."""
    if not all(word[0].isupper() for word in correction.split()):
        return None
    return _only(question, correction, lambda phrase: all(word[0].isupper() for word in phrase.split()))


def _noun(question: str, correction: str) -> Counterpart | None:
    """The phrase that ends in the same noun: 'the main mirror', where 'the second mirror' was meant."""
    words = correction.split()
    return _only(question, correction, lambda phrase: _is_same_word(phrase.split()[-1], words[-1]))


def _only(question: str, correction: str, fits: Callable[[str], bool]) -> Counterpart | None:
    fitting = [phrase for phrase in phrases(question) if fits(phrase) and not question.startswith(phrase)]
    if len(fitting) != 1 or question.count(fitting[0]) != 1:
        return None
    start = question.index(fitting[0])
    return start, start + len(fitting[0]), correction


def _is_same_word(word: str, other: str) -> bool:
    """Whether two words differ only in a short ending: metre, metres; Meter, Metern."""
    short, long = sorted((plain(word), plain(other)), key=len)
    return bool(short) and long.startswith(short) and len(long) - len(short) <= 3 and (len(short) > 2 or short == long)
