"""Kinds of values that a question's words ask for, such as a port, a price or a date, and whether a text holds one.

"On which port does the service run?" wants a number, and `fjord-3` is none. The rules are readable lists of words, in
English, German and Turkish; a question that none of them knows asks for anything. They choose among sentences that are
about as near to the question, and refuse a model's answer only for the `STRICT` kinds, whose values always have a form.
pipeline/answers/answer_kinds.py has the coarser kinds that the gate was fitted with. Ours; no paper.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Literal

from pipeline.text.dates import dates
from pipeline.text.numbers import Number, number_forms, number_spans

ValueKind = Literal[
    "port", "price", "count", "year", "duration", "date", "percentage", "measure", "email", "url", "phone"
]

STRICT: dict[ValueKind, str] = {
    "port": "a port's number",
    "price": "an amount",
    "count": "a number",
    "year": "a year",
    "email": "an e-mail address",
}
"""The kinds that an answer must hold, in words. A time or a length may be told without numbers: `until the harvest`."""

_MONTHS = (
    "january|february|march|april|may|june|july|august|september|october|november|december|januar|februar|märz|mai|juni|"
    "juli|oktober|dezember|ocak|şubat|mart|nisan|mayıs|haziran|temmuz|ağustos|eylül|ekim|kasım|aralık"
)
_DAYS = (
    "monday|tuesday|wednesday|thursday|friday|saturday|sunday|montags?|dienstags?|mittwochs?|donnerstags?|freitags?|"
    "samstags?|sonntags?|pazartesi|salı|çarşamba|perşembe|cuma|cumartesi|pazar"
)
_UNITS = (
    "seconds?|minutes?|min|hours?|days?|nights?|weeks?|fortnights?|months?|years?|decades?|centur(?:y|ies)|sekunden?|"
    "minuten?|stunden?|tage?n?|nächten?|wochen?|monaten?|monat|jahren?|jahr|saniye|dakika|saat|gün|hafta|ay|yıl"
)
_MONEY = (
    "costs?|price|fee|fare|salary|wages?|rent|toll|fine|allowance|revenue|turnover|budget|budgeted|income|profit|kosten|"
    "preis|gebühr|gehalt|lohn|miete|maut|umsatz|ücret|ücreti|fiyat|fiyatı|maaş|maaşı|kira|kirası"
)
_MEASURES = (
    "number|amount|age|size|population|rate|speed|weight|height|length|depth|width|draught|draft|temperature|distance|"
    "area|capacity|pressure|voltage|frequency|channel|code|score"
)
_QUESTIONS: dict[ValueKind, str] = {
    "email": r"e-?mail(?:[ -]address)?\b(?!.*\b(?:say|about|send|sent|wrote|write)\b)",
    "url": r"(?:what|which) .*\b(?:url|web address|website address)",
    "phone": r"(?:phone|telephone|telefon|fax)(?: |-)?(?:number|nummer|numarası)|telefonnummer",
    "port": (
        r"(?:on|at) (?:which|what) port\b|(?:which|what) port (?:number\b|(?:does|do|is|are|did) .*"
        r"\b(?:listen|bind|expose|serve|use|open|server|service|database|api|app|container|daemon|proxy)\w*)"
        r"|port number|auf welchem port|hangi port"
    ),
    "percentage": r"(?:what|which) (?:\w+ )?(?:percent|percentage|share)|how many percent|wie ?viel prozent|yüzde kaç",
    "year": r"(?:what|which) year|in welchem jahr|hangi yıl",
    "duration": (
        r"how long (?:is|was|are|were) (?:the|a|an) (?:\w+ ){0,2}(?:period|notice|lease|term|break|wait|warranty|trip)"
        r"|how long (?:does|do|did|has|have|had|will|must|may|can|should)|for how long|notice period|period of notice"
        r"|(?:what|which) (?:\w+ ){0,2}(?:period|duration)|wie lange|wie viele (?:tage|wochen|monate|jahre|stunden)"
        r"|kündigungsfrist|ne kadar süre\w*|kaç (?:gün|hafta|ay|yıl|saat|dakika)"
    ),
    "count": r"how many|wie ?viele|kaç(?! para\b)",
    "price": (
        rf"how much (?:\w+ )*(?:cost|costs|pay|pays|paid|charge|charged|spend|spent|earn|earns|budgeted)"
        rf"|how much (?:is|are|was|were) (?:\w+ )*(?:{_MONEY}|ticket|tickets|entry|membership|permit)"
        rf"|what (?:does|do|did|would|will) .*\bcost\b"
        rf"|what (?:is|was|are|were) (?:the |its |a |an )?(?:\w+ ){{0,2}}(?:{_MONEY})\b"
        rf"|wie ?viel kostet|wie ?viel kosten|was kosten?t?|wie teuer|wie hoch .*\b(?:{_MONEY})|kaç para|ne kadar tutar"
        rf"|(?:{_MONEY}) ne kadar"
    ),
    "date": (
        r"(?:^|\b(?:and|or|until|since|by|,) )when|(?:what|which) (?:\w+ )?(?:date|day|month)|(?:what|which) time|wann"
        r"|ne zaman|saat kaçta"
    ),
    "measure": (
        r"how (?:much|old|far|tall|high|large|big|fast|heavy|deep|wide|long|hot|cold|thick)"
        rf"|(?:what|which) (?:is|was|are|were)? ?(?:the |its )?(?:\w+ ){{0,2}}(?:{_MEASURES})\b"
        r"|wie ?viel|wie (?:alt|weit|hoch|groß|schnell|schwer|tief|breit|lang)|ne kadar"
    ),
}
_KINDS = [(kind, re.compile(rf"\b(?:{pattern})", re.IGNORECASE)) for kind, pattern in _QUESTIONS.items()]
_OF_NAMES = re.compile(r"\b(?:called|named|nicknamed|known as|the name of|genannt|heißt|denir|adı)\b", re.IGNORECASE)
"""Words of questions that ask for a name, whatever else they say: "What is the area called?"."""
_OF_SHIPS = re.compile(
    r"\b(?:from|ship|ships|boat|boats|ferry|ferries|vessel|sails?|sailed|moors?|moored|docks?|docked|schiff)\b",
    re.IGNORECASE,
)
_BARE_DATE = re.compile(
    rf"\d{{1,2}}(?:st|nd|rd|th|\.)?\s+(?:{_MONTHS})\b|\b(?:{_MONTHS})\s+\d{{1,4}}(?:st|nd|rd|th)?\b"
    r"|\b(?:in|of|since|until|till|by|from|to|for|during|year|im|jahr|seit|bis|von)\s+(?:1[5-9]|20)\d\d\b(?![.,]\d)"
    r"|\b\d{4}-\d\d-\d\d\b|\b\d{1,2}:\d\d(?::\d\d)?\b",
    re.IGNORECASE,
)
_YEAR = re.compile(r"(?<![\w.,])(?:1\d|20)\d\d(?![\w]|[.,]\d)")
_PORT = re.compile(r"(?<![\w.-])\d{2,5}(?![\w-]|[.,]\d)")
_WHEN = re.compile(
    rf"\b(?:{_MONTHS}|{_DAYS}|noon|midday|midnight|sunrise|sunset|dawn|dusk|today|yesterday|tomorrow|spring|summer|"
    r"autumn|winter|christmas|easter|mittags?|mitternacht|öğle\w*)\b|\b\d{1,2}[:.]\d\d\b"
    r"|\b\d{1,2} ?(?:am|pm|uhr|o'clock)\b|\bsaat \d",
    re.IGNORECASE,
)
_UNIT = re.compile(rf"[\s-]*(?:[^\W\d]+\s+)?(?:{_UNITS})\b", re.IGNORECASE)
_ARTICLE_UNIT = re.compile(rf"\b(?:an?|one|ein(?:e|en|em|er)?|bir)\s+(?:{_UNITS})\b", re.IGNORECASE)
_EVERY = re.compile(r"\b(?:every|each|alle|jede[nrs]?|her)\s+\Z", re.IGNORECASE)
_NO_NUMBER = re.compile(
    r"\b(?:no|none|nothing|nobody|zero|free|gratis|all|both|several|many|few|one|single|couple|dozens?|hundreds|thousands|"
    r"keine?n?|nichts|kostenlos|alle|beide|mehrere|hiç|ücretsiz|bir)\b",
    re.IGNORECASE,
)
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+")
_URL = re.compile(r"\bhttps?://\S+|\bwww\.\S+|\b[\w-]+\.(?:com|org|net|io|de|tr|example|eu|uk)\b", re.IGNORECASE)
_PHONE = re.compile(r"\+?\d[\d ()/.-]{4,}\d")
MAX_PORT = 65535


@lru_cache(maxsize=256)
def value_kind(question: str) -> ValueKind | None:
    """The kind whose words stand first in the question, the narrower one on a tie; None for one that asks for anything.

    Of several questions the last that has a kind counts: a follow-up is searched for with the question before it.
    """
    parts = reversed(question.split("?"))
    return next((kind for part in parts if (kind := _kind_of_one(part.strip())) is not None), None)


def _kind_of_one(question: str) -> ValueKind | None:
    if _OF_NAMES.search(question):
        return None
    places = [
        (match.start(), n)
        for n, (kind, pattern) in enumerate(_KINDS)
        if (match := pattern.search(question)) and not (kind == "port" and _OF_SHIPS.search(question))
    ]
    return _KINDS[min(places)[1]][0] if places else None


@lru_cache(maxsize=8192)
def holds_value(kind: ValueKind, text: str, question: str) -> bool:
    """Whether the text holds a value of the kind that the question lacks."""
    known = number_forms(question)
    return any(not (forms := number_forms(value)) or not forms <= known for value in _values(kind, text))


def answers_kind(kind: ValueKind, answer: str, question: str) -> bool:
    """Whether an answer has the form of the kind: it holds a value, or says in words that there is none or how many."""
    if kind not in STRICT or holds_value(kind, answer, question):
        return True
    return kind in ("price", "count") and bool(_NO_NUMBER.search(answer))


def _values(kind: ValueKind, text: str) -> Iterator[str]:
    """Yields the values of a kind in a text, as written."""
    patterns = {"year": _YEAR, "date": _WHEN, "email": _EMAIL, "url": _URL, "phone": _PHONE}
    if kind == "port":
        taken = [(date.start, date.end) for date in dates(text)]
        for match in _PORT.finditer(text):
            if int(match.group()) <= MAX_PORT and not _is_inside(match.start(), taken):
                yield match.group()
    elif kind in patterns:
        yield from (match.group() for match in patterns[kind].finditer(text))
        if kind == "date":
            yield from (text[date.start : date.end] for date in dates(text))
            yield from (match.group() for match in _YEAR.finditer(text))
    elif kind == "duration":
        yield from (match.group() for match in _ARTICLE_UNIT.finditer(text))
        spans = [n for n in _amounts(text) if _UNIT.match(text, n.end) and not _EVERY.search(text[: n.start])]
        yield from (text[n.start : n.end] for n in spans)
    else:
        yield from (text[n.start : n.end] for n in _amounts(text))


def _amounts(text: str) -> Iterator[Number]:
    """Yields the numbers of a text that are no part of a date, a time of day or a name such as `fjord-3`."""
    taken = [(date.start, date.end) for date in dates(text)]
    taken += [match.span() for match in _BARE_DATE.finditer(text)]
    for number in number_spans(text):
        written = text[number.start : number.end]
        is_name = any(map(str.isdigit, written)) and written[0].isalpha()
        if not is_name and not _is_inside(number.start, taken):
            yield number


def _is_inside(offset: int, spans: list[tuple[int, int]]) -> bool:
    return any(start <= offset < end for start, end in spans)
