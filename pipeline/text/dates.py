"""Finds the full dates of a text, each as YYYY-MM-DD with its place, to check typed answers against.

Reads 2021-03-01, 1.3.2021, `1 March 2021`, `March 1, 2021`, and the same with German and Turkish months or the first
three letters of a month. 3/4/2021 is ambiguous, so such a date is read only if one of the two numbers cannot be a month
or both are the same.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass

_NAMES = (
    "january february march april may june july august september october november december",
    "januar februar märz april mai juni juli august september oktober november dezember",
    "ocak şubat mart nisan mayıs haziran temmuz ağustos eylül ekim kasım aralık",
)
_MONTHS = {name: n for names in _NAMES for n, name in enumerate(names.split(), 1)}
_MONTHS |= {name[:3]: n for name, n in _MONTHS.items()}
_WORD = "|".join(sorted(_MONTHS, key=len, reverse=True))
_PATTERNS = (
    re.compile(r"\b(?P<y>\d{4})-(?P<m>\d{1,2})-(?P<d>\d{1,2})\b"),
    re.compile(r"\b(?P<d>\d{1,2})\.\s?(?P<m>\d{1,2})\.\s?(?P<y>\d{4})\b"),
    re.compile(r"\b(?P<a>\d{1,2})/(?P<b>\d{1,2})/(?P<y>\d{4})\b"),
    re.compile(
        rf"\b(?P<d>\d{{1,2}})(?:st|nd|rd|th|\.)?\s+(?:of\s+)?(?P<n>{_WORD})\.?,?\s+(?P<y>\d{{4}})\b", re.IGNORECASE
    ),
    re.compile(rf"\b(?P<n>{_WORD})\.?\s+(?P<d>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<y>\d{{4}})\b", re.IGNORECASE),
)


@dataclass(frozen=True, slots=True)
class Date:
    """A date in a text. `value` is YYYY-MM-DD, and [start, end) its place."""

    value: str
    start: int
    end: int


def dates(text: str) -> list[Date]:
    """The full dates of a text, in order. Skips dates that are not in the calendar."""
    result = []
    for pattern in _PATTERNS:
        for match in pattern.finditer(text):
            value = _value(match.groupdict())
            if value:
                result.append(Date(value, match.start(), match.end()))
    return sorted(result, key=lambda date: (date.start, date.end))


def _value(parts: dict[str, str | None]) -> str:
    year = int(parts["y"] or 0)
    if parts.get("a"):
        first, second = int(parts["a"] or 0), int(parts["b"] or 0)
        if first <= 12 and second <= 12 and first != second:
            return ""
        day, month = (first, second) if second <= 12 else (second, first)
    else:
        name = parts.get("n")
        month = _MONTHS[name.casefold()] if name else int(parts["m"] or 0)
        day = int(parts["d"] or 0)
    try:
        return datetime.date(year, month, day).isoformat()
    except ValueError:
        return ""
