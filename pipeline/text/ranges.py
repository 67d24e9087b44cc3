"""Ranges of numbers in a text: a boat of 10 m pays what a row for `8 to 12 m` says."""

from __future__ import annotations

import re
from collections.abc import Iterable

NUMBER = r"(\d+(?:\.\d+)?)"
_RANGE = re.compile(
    rf"(?<![\w.,-]){NUMBER}(?:\s?[^\W\d_]{{1,3}})?\s*(?:to|until|bis|[-–—])\s*{NUMBER}(?![\w,-]|\.\d)"
    rf"|\bbetween\s+{NUMBER}(?:\s?[^\W\d_]{{1,3}})?\s+and\s+{NUMBER}(?![\w,-]|\.\d)"
)


def numbers_within(words: Iterable[str], text: str) -> frozenset[str]:
    """Returns those of the words that are numbers strictly inside a range which the text states."""
    numbers = [word for word in words if re.fullmatch(NUMBER, word)]
    if not numbers:
        return frozenset()
    ranges = [tuple(float(value) for value in match if value) for match in _RANGE.findall(text)]
    return frozenset(word for word in numbers if any(low < float(word) < high for low, high in ranges))
