"""The numbers of a text, each in its one form and with its place in the text as it is."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline.text.languages import COMMA_DECIMAL, language_of
from pipeline.text.normal import Comparable, fold_case
from pipeline.text.numerals import run_spans
from pipeline.text.tokens import pieces, token_spans, tokens

_CLOCK = re.compile(r"(\d{1,2})[.:](\d{2})")


@dataclass(frozen=True, slots=True)
class Number:
    """A number of a text. `value` is its one form, as 6018 or 10.2 or 7:40; [start, end) is where the text has it."""

    value: str
    start: int
    end: int


def numbers(text: str) -> frozenset[str]:
    """The numbers of a text in their one form: digits, grouped digits and number words.

    `one` alone is none, nor are `first` and `second`; the 12 of B12 belongs to the name.
    """
    return frozenset(_values(tokens(text)))


def number_forms(text: str) -> frozenset[str]:
    """Every form that a number of the text may be meant in: what a claimed number is looked for among.

    Beside `numbers`: 10,5 read as one and as two, the parts of 24.12.2024 and of 6 018, the time 7.40 as 7:40, and 4.50
    as 4.5.
    """
    found = tokens(text)
    forms = {piece for token in found for comma in (False, True) for piece in _numeric(pieces(token, comma))}
    forms.update(part for token in found if " " in token for part in token.split(" "))
    for form in list(forms):
        if form.count(".") > 1:
            forms.update(form.split("."))
        elif clock := _CLOCK.fullmatch(form):
            forms.update((f"{clock[1]}.{clock[2]}", f"{clock[1]}:{clock[2]}"))
        if form.count(".") == 1:
            forms.add(form.rstrip("0").rstrip("."))
    return frozenset(forms)


def number_spans(text: str) -> list[Number]:
    """The numbers of a text in their order, with their places."""
    comparable = Comparable.of(text, keep_case=True)
    shape = comparable.text
    runs = run_spans(shape)
    comma = language_of({fold_case(token) for token in tokens(text)}) in COMMA_DECIMAL
    found = [Number(value, *comparable.span(start, end)) for start, end, value in runs]
    for start, end in token_spans(shape):
        if not any(first <= start < last for first, last, _ in runs):
            place = comparable.span(start, end)
            found.extend(Number(piece, *place) for piece in _numeric(pieces(shape[start:end], comma)))
    return sorted(found, key=lambda number: (number.start, number.end))


def _values(found: list[str]) -> set[str]:
    comma = any("," in token for token in found) and language_of({fold_case(token) for token in found}) in COMMA_DECIMAL
    return {piece for token in found for piece in _numeric(pieces(token, comma))}


def _numeric(parts: tuple[str, ...]) -> list[str]:
    return [part for part in parts if part[0].isdigit()]
