"""Splits a text into tokens and pieces, before stop words and stems.

A token is a run of letters and digits with apostrophes, hyphens and underscores inside, or a number. Numbers and commas
separate words: `Zephyrus,9388771,Liberia` is three tokens, `port:8080` two. A token is split into pieces at hyphens,
underscores and apostrophes, between digits and the letters after them, and between scripts.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import cache, lru_cache
from itertools import pairwise

from pipeline.text.normal import fold_case, fold_shapes
from pipeline.text.numerals import CONTINUED, NUMBER, TURKISH, is_number_word, merge_words, of_digits, of_words, ordinal

_ARTICLES = frozenset({"a", "an", "the"})
_CONTINUED = frozenset({*CONTINUED, *TURKISH, *(word.capitalize() for word in (*CONTINUED, *TURKISH))})
_ASCII_TOKEN = re.compile(rf"[A-Za-z_]\w*(?:['-]\w+)*|(?=\d)(?:{NUMBER}|\w+(?:['-]\w+)*)", re.ASCII)
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1a20-\u1aaf\u1950-\u19df\u1100-\u11ff\u3040-\u30ff\u3105-\u318f\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uaa60-\uaa7f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
)
"""A character class of scripts written without spaces, and of Hangul, whose words include particles."""
_UNSPACED = re.compile(f"[{UNSPACED}]")
_RUNS = re.compile(f"[{UNSPACED}]+|[^{UNSPACED}]+")
_PARTS = re.compile(r"[-'_]+")
_DIGITS_FIRST = re.compile(r"(\d+)([^\W\d_].*)")


@cache
def marks() -> str:
    """A character class of all combining marks, which complete the letters of many scripts."""
    ranges: list[tuple[int, int]] = []
    for code in range(0x300, min(sys.maxunicode, 0x1E8FF)):
        if unicodedata.category(chr(code))[0] == "M":
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1] = (ranges[-1][0], code)
            else:
                ranges.append((code, code))
    return "".join(f"{chr(start)}-{chr(end)}" for start, end in ranges)


@cache
def _any_token() -> re.Pattern[str]:
    word = rf"[\w{marks()}]"
    return re.compile(rf"[^\W\d]{word}*(?:['-]{word}+)*|(?=\d)(?:{NUMBER})|{word}+(?:['-]{word}+)*")


def tokens(text: str) -> list[str]:
    """The tokens of a text in order, with normalised shapes and their case kept."""
    shape = fold_shapes(text)
    pattern = _pattern(shape)
    result: list[str] = pattern.findall(shape)
    if _CONTINUED.isdisjoint(result) or not _may_run_on(result):
        return result
    merged = merge_words(shape)
    return result if merged == shape else pattern.findall(merged)


def _may_run_on(result: list[str]) -> bool:
    """Whether a number word is next to another one, or to digits."""
    return any(
        (left in _CONTINUED and (right[0].isdigit() or is_number_word(right)))
        or (right in _CONTINUED and (left[0].isdigit() or is_number_word(left)))
        for left, right in pairwise(result)
    )


def token_spans(shape: str) -> list[tuple[int, int]]:
    """The [start, end) of each token of a text from `fold_shapes`. Numbers of several words are several tokens."""
    return [match.span() for match in _pattern(shape).finditer(shape)]


def _pattern(shape: str) -> re.Pattern[str]:
    return _ASCII_TOKEN if shape.isascii() else _any_token()


@lru_cache(65536)
def pieces(token: str, comma_is_decimal: bool = False) -> tuple[str, ...]:
    """The case-folded words of a token, with numbers in canonical form. A run of an unspaced script stays whole."""
    word = fold_case(token)
    if word[0].isdigit() and not word.isalnum() and re.fullmatch(NUMBER, word):
        return of_digits(word, comma_is_decimal)
    parts = [part for part in _PARTS.split(word) if part]
    if not word.isascii() and _UNSPACED.search(word):
        parts = [run for part in parts for run in _RUNS.findall(part)]
    split: list[str] = []
    for part in parts:
        plain = ordinal(part)
        match = _DIGITS_FIRST.fullmatch(plain)
        split.extend(match.groups() if match else (plain,))
    return tuple(of_words(split))


def units(text: str) -> list[str]:
    """The units of a text for a comparison word by word: no stems, no articles, unspaced scripts by character.

    Unlike in words for search, `one` and `first` are the numbers 1 and 1st here.
    """
    spoken = {"one": "1", "first": "1st", "second": "2nd"}
    result: list[str] = []
    for token in tokens(text):
        for piece in pieces(token):
            if piece in _ARTICLES:
                continue
            plain = piece.replace("ı", "i")
            result.extend(plain if not plain.isascii() and _UNSPACED.search(plain) else [spoken.get(plain, plain)])
    return result
