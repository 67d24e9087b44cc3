"""Filters on what is known about documents: `kind=pdf and year>=2024 and not (author=*Odd* or language in (de, tr))`.

    comparison = field operator value | field in (value, ...)
    filter     = comparison, joined by `and`, `or`, `not` and parentheses; `and` binds tighter than `or`

A value is a word, or any text in quotes. Texts are compared whole and without case, `*` and `?` stand for any
characters, and `~` looks for a part. A date is a day, a month or a year: `date>2024-05` is from June 2024 on.
"""

from __future__ import annotations

import operator
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Literal

from pipeline.documents.properties import LANGUAGE_CODES, iso_date
from pipeline.errors import DataError
from pipeline.retrieval.metadata import Metadata
from pipeline.text.counting import counted

Sort = Literal["path", "text", "date", "number"]
FIELDS: dict[str, Sort] = {
    "path": "path", "folder": "path", "name": "text", "kind": "text", "title": "text", "author": "text",
    "language": "text", "date": "date", "document_date": "date", "file_date": "date", "year": "number",
    "page": "number", "pages": "number",
}  # fmt: skip
"""Each field and how it is compared. `page` is the only one that differs inside a document."""
_ORDERED: dict[str, Callable[[int | str, int | str], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_OPERATORS: dict[Sort, tuple[str, ...]] = {
    "path": ("=", "!=", "~", "in"),
    "text": ("=", "!=", "~", "in"),
    "date": (*_ORDERED, "in"),
    "number": (*_ORDERED, "in"),
}
_TOKEN = re.compile(
    r"""\s*(?:(?P<quoted>"[^"]*"|'[^']*')|(?P<sign>!=|<=|>=|==|[=<>~(),])|(?P<word>[^\s"'=<>~(),!]+)|(?P<stray>\S))"""
)
_DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")
_MAX_DEPTH = 50
_MAX_LISTED = 6


class FilterError(ValueError):
    """A filter that cannot be read. The message says where and what is wrong."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """`field operator values`: several values for `in`, else one."""

    field: str
    sign: str
    values: tuple[str, ...]

    def matches(self, about: Metadata, page: int | None) -> bool:
        value = value_of(about, self.field, page)
        sort = FIELDS[self.field]
        if sort in ("path", "text"):
            is_in = any(_is_like(self.field, str(value), wanted, self.sign == "~") for wanted in self.values)
            return is_in != (self.sign == "!=")
        if value in (None, ""):
            return self.sign == "!="
        signs = ["="] if self.sign == "in" else [self.sign]
        return any(_ORDERED[sign](*_comparable(sort, value, wanted)) for wanted in self.values for sign in signs)

    @property
    def fields(self) -> frozenset[str]:
        return frozenset({self.field})

    def check(self, text: str) -> None:
        """Raises FilterError for a value that is not of the field's sort."""
        sort = FIELDS[self.field]
        for value in self.values:
            if sort == "number" and not re.fullmatch(r"\d{1,9}", value):
                raise FilterError(f"filter {text!r}: {self.field} is compared with a whole number, was: {value!r}")
            if sort == "date" and not (_DATE.fullmatch(value) and iso_date(value) == value):
                raise FilterError(
                    f"filter {text!r}: {self.field} is compared with a day, a month or a year (2024-05-17, 2024-05, "
                    f"2024), was: {value!r}"
                )


@dataclass(frozen=True, slots=True)
class Joined:
    """Parts of which all must hold, any, or for `not` the only one must not."""

    how: Literal["and", "or", "not"]
    parts: tuple[Condition, ...]

    def matches(self, about: Metadata, page: int | None) -> bool:
        each = (part.matches(about, page) for part in self.parts)
        return not next(each) if self.how == "not" else all(each) if self.how == "and" else any(each)

    @property
    def fields(self) -> frozenset[str]:
        return frozenset().union(*(part.fields for part in self.parts))


Condition = Comparison | Joined


def value_of(about: Metadata, field: str, page: int | None = None) -> str | int | None:
    """A document's value of a field; None or "" where it has none."""
    if field == "path":
        return about.source
    if field == "folder":
        return PurePosixPath(about.source).parent.as_posix()
    if field == "name":
        return PurePosixPath(about.source).name
    if field == "year":
        return int(about.date[:4]) if about.date else None
    if field == "page":
        return page
    if field == "pages":
        return about.n_pages or None
    return str(getattr(about, field))


def _is_like(field: str, value: str, wanted: str, is_part: bool) -> bool:
    value, wanted = value.casefold(), wanted.casefold()
    if is_part:
        return wanted in value
    if field == "language":
        wanted = LANGUAGE_CODES.get(wanted, wanted)
    if field == "kind":  # code:python is code, and is python
        return any(fnmatchcase(part, _pattern(wanted)) for part in (value, *value.split(":")))
    if field == "folder":
        ends = (value, *(parent.as_posix() for parent in PurePosixPath(value).parents))
        return any(_ends_like(end, wanted.rstrip("/") or "/") for end in ends)
    return _ends_like(value, wanted) if field == "path" else fnmatchcase(value, _pattern(wanted))


def _ends_like(path: str, wanted: str) -> bool:
    """Whether a path, or its end from a slash on, matches."""
    return fnmatchcase(path, _pattern(wanted)) or fnmatchcase(path, f"*/{_pattern(wanted)}")


def _pattern(wanted: str) -> str:
    """For fnmatch: brackets are characters like others."""
    return wanted.replace("[", "[[]")


def _comparable(sort: Sort, value: str | int | None, wanted: str) -> tuple[int | str, int | str]:
    """Both as numbers, or as dates of the same exactness."""
    if sort == "number":
        return int(value or 0), int(wanted)
    length = min(len(str(value)), len(wanted))
    return str(value)[:length], wanted[:length]


# ------------------------------------------------------------------------------------------------------------ reading
@lru_cache(maxsize=64)
def read_filter(text: str) -> Condition:
    """The filter that a text says. Raises FilterError with the place of what is wrong."""
    return _Reader(text).read()


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int


class _Reader:
    """A recursive descent through the tokens of one filter."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = [_token(match) for match in _TOKEN.finditer(text)]
        self.at = 0
        self.depth = 0

    def read(self) -> Condition:
        if not self.tokens:
            raise FilterError("filter is empty: name a field, an operator and a value, such as kind=pdf")
        condition = self.any_of()
        if self.token is not None:
            raise self.error("expected 'and', 'or' or the end")
        return condition

    @property
    def token(self) -> _Token | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def take(self, kind: str, *texts: str) -> _Token | None:
        """The next token where it is of that kind, and one of the texts if there are any."""
        token = self.token
        if token is None or token.kind != kind or (texts and token.text.casefold() not in texts):
            return None
        self.at += 1
        return token

    def any_of(self) -> Condition:
        parts = [self.all_of()]
        while self.take("word", "or"):
            parts.append(self.all_of())
        return parts[0] if len(parts) == 1 else Joined("or", tuple(parts))

    def all_of(self) -> Condition:
        parts = [self.one()]
        while self.take("word", "and"):
            parts.append(self.one())
        return parts[0] if len(parts) == 1 else Joined("and", tuple(parts))

    def one(self) -> Condition:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise FilterError(f"filter has more than {_MAX_DEPTH} parts inside one another")
        if self.take("word", "not"):
            condition: Condition = Joined("not", (self.one(),))
        elif self.take("sign", "("):
            condition = self.any_of()
            if not self.take("sign", ")"):
                raise self.error("expected ')'")
        else:
            condition = self.comparison()
        self.depth -= 1
        return condition

    def comparison(self) -> Comparison:
        name = self.take("word")
        if name is None:
            raise self.error("expected a field")
        field = name.text.casefold()
        if field not in FIELDS:
            near = get_close_matches(field, FIELDS, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(FIELDS)}"
            raise FilterError(f"filter {self.text!r} has no field '{name.text}' to compare; {hint}")
        known = _OPERATORS[FIELDS[field]]
        sign = self.take("sign", *_ORDERED, "==", "~") or self.take("word", "in")
        if sign is None:
            raise self.error(f"expected an operator behind '{name.text}', one of {' '.join(known)}")
        symbol = "=" if sign.text == "==" else sign.text.casefold()
        if symbol not in known:
            raise FilterError(f"filter {self.text!r}: {field} is compared by {' '.join(known)}, not by {symbol}")
        comparison = Comparison(field, symbol, self.values() if symbol == "in" else (self.value(symbol),))
        comparison.check(self.text)
        return comparison

    def values(self) -> tuple[str, ...]:
        if not self.take("sign", "("):
            raise self.error("expected '(' behind 'in'")
        values = [self.value("in")]
        while self.take("sign", ","):
            values.append(self.value("in"))
        if not self.take("sign", ")"):
            raise self.error("expected ',' or ')'")
        return tuple(values)

    def value(self, field: str) -> str:
        if quoted := self.take("quoted"):
            return quoted.text[1:-1]
        word = self.take("word")
        if word is None:
            raise self.error(f"expected a value behind '{field}'")
        return word.text

    def error(self, what: str) -> FilterError:
        token = self.token
        got = f"{token.text!r} at character {token.start + 1}" if token else "the end"
        return FilterError(f"filter {self.text!r}: {what}, got {got}")


def _token(match: re.Match[str]) -> _Token:
    kind = match.lastgroup or "stray"
    return _Token(kind, match[kind], match.start(kind))


# ---------------------------------------------------------------------------------------------------- nothing is left
def nothing_left(text: str, documents: Sequence[Metadata], pages: Iterable[int] = ()) -> DataError:
    """The error for a filter that leaves no document: what there is of each field that it names."""
    condition = read_filter(text)
    parts = [f"{field} is {_values_said(field, documents, pages)}" for field in FIELDS if field in condition.fields]
    return DataError(
        f"the filter {text!r} leaves none of {counted(len(documents), 'document')} to search. What there is: "
        + "; ".join(parts)
    )


def _values_said(field: str, documents: Sequence[Metadata], pages: Iterable[int]) -> str:
    """The values of a field: the commonest with their numbers, or the least and the largest."""
    values = list(pages) if field == "page" else [value_of(about, field) for about in documents]
    known = [value for value in values if value not in (None, "")]
    if not known:
        return "nothing that any document has"
    if FIELDS[field] in ("date", "number"):
        ordered = sorted(known, key=lambda value: str(value) if FIELDS[field] == "date" else f"{value:>12}")
        return str(ordered[0]) if ordered[0] == ordered[-1] else f"{ordered[0]} to {ordered[-1]}"
    commonest = Counter(known).most_common()
    more = f" and {len(commonest) - _MAX_LISTED} more" if len(commonest) > _MAX_LISTED else ""
    return ", ".join(f"{value} ({n})" for value, n in commonest[:_MAX_LISTED]) + more
