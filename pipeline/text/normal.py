"""Normalises texts for comparison, and maps places in the normal form back to the original.

Normalisation undoes compatibility forms (NFKC: ligatures, full-width letters), folds case and drops invisible
characters (soft hyphen, zero-width, byte order mark, bidi marks). Every dash becomes `-`, every apostrophe `'`, every
decimal digit ASCII, and the Turkish dotted and dotless i one letter. Unicode Standard Annex 15 (normalisation forms).

This module knows nothing about words. Offsets always point into the original document.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0"
)
APOSTROPHES = "\u2018\u2019\u201a\u201b\u02b9\u02bb\u02bc\u02bd\u02c8\u02ca\u02cb\u0060\u00b4\u2032\u2035\ua78c\uff07"
DASHES = "\u058a\u05be\u2010-\u2015\u2212\u2e3a\u2e3b\u2e40\u301c\u3030\ufe58\ufe63\uff0d"

_INVISIBLE = re.compile(f"[{INVISIBLE}]")
_APOSTROPHES = re.compile(f"[{APOSTROPHES}]")
_DASHES = re.compile(f"[{DASHES}]")
_DIGITS = re.compile(r"[^\D0-9]")
_DOTTED_I = re.compile("i\u0307")


def fold_shapes(text: str) -> str:
    """Normalises the shapes of characters but keeps their case. Words are split from this form."""
    if text.isascii():
        return text.replace("`", "'")
    while True:
        shape = _APOSTROPHES.sub("'", _INVISIBLE.sub("", text))
        shape = _DASHES.sub("-", unicodedata.normalize("NFKC", shape))
        shape = _DIGITS.sub(lambda digit: str(unicodedata.decimal(digit.group())), shape)
        if shape == text:
            return shape
        text = shape  # a fold may enable another one: a mark may now follow its letter


def fold_case(text: str) -> str:
    """Folds the case of a text from `fold_shapes`. Keeps the dotless i, which Turkish stems need."""
    if text.isascii():
        return text.lower()
    while True:
        folded = fold_shapes(_DOTTED_I.sub("i", text.casefold()))
        if folded == text:
            return folded
        text = folded


@lru_cache(4096)
def normal(text: str) -> str:
    """The normal form of a text. Normalising it again changes nothing."""
    folded = fold_case(fold_shapes(text))
    return folded if folded.isascii() else fold_case(folded.replace("ı", "i"))


@dataclass(frozen=True, slots=True)
class Comparable:
    """The normal form of a text, and the places of its characters in the original.

    `text` == normal(original), or fold_shapes(original) if the case is kept. `starts` are the ascending offsets into
    `text` where clusters (a letter with its marks) begin. `spans` are the clusters' [start, end) in the original.
    """

    text: str
    starts: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, original: str, keep_case: bool = False) -> Comparable:
        """Normalises a text cluster by cluster, so that each place can be mapped back."""
        fold = fold_shapes if keep_case else normal
        parts: list[str] = []
        starts: list[int] = []
        spans: list[tuple[int, int]] = []
        length = 0
        for start, end in _clusters(original):
            part = fold(original[start:end])
            if part:
                starts.append(length)
                spans.append((start, end))
                parts.append(part)
                length += len(part)
        return cls("".join(parts), tuple(starts), tuple(spans))

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Maps [start, end) of the normal form to [start, end) of the original.

        Results are whole clusters: a place in a ligature gives the whole ligature. An empty span gives an empty one.
        """
        if not 0 <= start <= end <= len(self.text):
            raise ValueError(f"must be a span of 0 to {len(self.text)}, was: {start} to {end}")
        if not self.spans:
            return 0, 0
        if start == len(self.text):
            return self.spans[-1][1], self.spans[-1][1]
        first = self.spans[bisect_right(self.starts, start) - 1]
        if start == end:
            return first[0], first[0]
        return first[0], self.spans[bisect_right(self.starts, end - 1) - 1][1]


def _clusters(text: str) -> Iterator[tuple[int, int]]:
    """Yields the spans of clusters, which normalise independently: a character with everything that may join it."""
    start = 0
    for place in range(1, len(text)):
        if text[place].isascii() or not _joins(text[place]):
            yield start, place
            start = place
    if text:
        yield start, len(text)


@lru_cache(4096)
def _joins(char: str) -> bool:
    """Whether the character may combine with the one before it: a mark, a vowel or final of Hangul, an invisible."""
    if _INVISIBLE.match(char):
        return True
    first = unicodedata.normalize("NFKD", char)[:1]
    return (
        unicodedata.category(first).startswith("M")
        or "\u1160" <= first <= "\u11ff"
        or _DOTTED_I.match(f"i{first}") is not None
    )
