"""Questions with known answers, in one shape for every file format.

A document's `source` names it within its data set. If the document comes with the question, its passages have that
source. If it is indexed, its passages have the source `corpus.path_of(source)`, and `Gold.moved` translates the spans.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from pipeline.errors import DataError
from pipeline.types import Document, Question, Span

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Gold:
    """The known answers and evidence of a question.

    `answers` are the accepted answers: empty if none is known or the question has none. `is_answerable` is None if the
    data set has no unanswerable questions. `supports` are the spans that hold the answer, and `gains` the relevance of
    each judged document. Both are None if the data set does not have them.
    """

    answers: tuple[str, ...] = ()
    is_answerable: bool | None = None
    supports: tuple[Span, ...] | None = None
    gains: Mapping[str, int] | None = None

    def moved(self, place: Callable[[str], tuple[str, int]]) -> Gold:
        """The same gold for moved documents. `place` gives a document's new source and the shift of its text."""
        supports, gains = self.supports, self.gains
        if supports is not None:
            placed = [(*place(span.source), span) for span in supports]
            supports = tuple(Span(source, span.start + shift, span.end + shift) for source, shift, span in placed)
        if gains is not None:
            gains = {place(source)[0]: gain for source, gain in gains.items()}
        return replace(self, supports=supports, gains=gains)

    def to_json(self) -> dict[str, object]:
        return {
            "answers": list(self.answers),
            "is_answerable": self.is_answerable,
            "supports": None if self.supports is None else [[s.source, s.start, s.end] for s in self.supports],
            "gains": None if self.gains is None else dict(self.gains),
        }

    @classmethod
    def from_json(cls, value: object) -> Gold:
        """Reads what `to_json` gives; None is no gold. Raises DataError with what is wrong with another value."""
        if value is None:
            return cls()
        values = _checked("gold", value, dict, "an object")
        answers = _checked("gold.answers", values.get("answers", []), list, "a list")
        supports, gains = values.get("supports"), values.get("gains")
        if supports is not None:
            supports = tuple(map(_span, _checked("gold.supports", supports, list, "a list")))
        return cls(
            tuple(_checked("gold.answers", answer, str, "a list of texts") for answer in answers),
            values.get("is_answerable"),
            supports,
            None if gains is None else _checked("gold.gains", gains, dict, "an object"),
        )


def _checked(name: str, value: object, kind: type[T], what: str) -> T:
    """The value, if it is of this type. Raises DataError otherwise."""
    if not isinstance(value, kind):
        raise DataError(f"{name} must be {what}, was: {json.dumps(value, default=str)[:60]}")
    return value


def _span(value: object) -> Span:
    match value:
        case [str(source), int(start), int(end)]:
            return Span(source, start, end)
    raise DataError(f"gold.supports must be a list of [source, start, end], has: {json.dumps(value, default=str)[:60]}")


@dataclass(frozen=True, slots=True)
class DataItem:
    """A question with its documents and its gold.

    `fault` says what is wrong with it in its file. Such a question is not asked, and its record is an error.
    """

    question: Question
    gold: Gold
    fault: str = ""


@dataclass(frozen=True)
class DataSet:
    """The questions of one file or folder, in its order, and the documents that answer them.

    Each call of `corpus` reads the documents again and yields each once. `notes` are for readers of the figures.
    """

    name: str
    kind: str
    items: tuple[DataItem, ...]
    corpus: Callable[[], Iterator[Document]] = field(repr=False)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.items:
            raise DataError(f"{self.name}: holds no questions")
        seen: set[str] = set()
        for item in self.items:
            if item.question.id in seen:
                raise DataError(f"{self.name}: the id '{item.question.id}' stands twice: each question needs its own")
            seen.add(item.question.id)


def documents_of(items: Sequence[DataItem]) -> Iterator[Document]:
    """Yields the documents of the questions, each source once."""
    seen: set[str] = set()
    for item in items:
        for document in item.question.documents:
            if document.source not in seen:
                seen.add(document.source)
                yield document


def named(kind: str, title: str, text: str) -> Document:
    """A document named after its content, so that a paragraph shared by two questions is one document."""
    digest = hashlib.sha256(f"{title}\0{text}".encode("utf-8", "replace")).hexdigest()[:10]
    return Document(f"{kind}:{title}/{digest}" if title else f"{kind}:{digest}", text, title=title)
