"""Finds the numbers of a text, each in canonical form and with its place in the original."""

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
    """A number in a text. `value` is its canonical form, such as 6018, 10.2 or 7:40, and [start, end) its place."""

    value: str
    start: int
    end: int


def numbers(text: str) -> frozenset[str]:
    """The numbers of a text in canonical form: digits, grouped digits and number words.

    `one` alone, `first` and `second` are not numbers. The 12 of B12 belongs to the name.
    """
    return frozenset(_values(tokens(text)))


def number_forms(text: str) -> frozenset[str]:
    """All possible readings of a text's numbers, to check a claimed number against.

    In addition to `numbers`: 10,5 as one and as two numbers, the parts of 24.12.2024 and of 6 018, 7.40 as the time
    7:40, and 4.50 as 4.5.
    """
    text_tokens = tokens(text)
    forms = {piece for token in text_tokens for comma in (False, True) for piece in _numeric(pieces(token, comma))}
    forms.update(part for token in text_tokens if " " in token for part in token.split(" "))
    for form in list(forms):
        if form.count(".") > 1:
            forms.update(form.split("."))
        elif clock := _CLOCK.fullmatch(form):
            forms.update((f"{clock[1]}.{clock[2]}", f"{clock[1]}:{clock[2]}"))
        if form.count(".") == 1:
            forms.add(form.rstrip("0").rstrip("."))
    return frozenset(forms)


def number_spans(text: str) -> list[Number]:
    """The numbers of a text with their places, in order."""
    comparable = Comparable.of(text, keep_case=True)
    shape = comparable.text
    runs = run_spans(shape)
    comma = language_of({fold_case(token) for token in tokens(text)}) in COMMA_DECIMAL
    result = [Number(value, *comparable.span(start, end)) for start, end, value in runs]
    for start, end in token_spans(shape):
        if not any(first <= start < last for first, last, _ in runs):
            place = comparable.span(start, end)
            result.extend(Number(piece, *place) for piece in _numeric(pieces(shape[start:end], comma)))
    return sorted(result, key=lambda number: (number.start, number.end))


def _values(text_tokens: list[str]) -> set[str]:
    comma = (
        any("," in token for token in text_tokens)
        and language_of({fold_case(token) for token in text_tokens}) in COMMA_DECIMAL
    )
    return {piece for token in text_tokens for piece in _numeric(pieces(token, comma))}


def _numeric(parts: tuple[str, ...]) -> list[str]:
    return [part for part in parts if part[0].isdigit()]
