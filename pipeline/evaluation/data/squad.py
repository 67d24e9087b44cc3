"""SQuAD 1.1 and 2.0 (https://arxiv.org/abs/1806.03822) and what is laid out like them, such as XQuAD.

`data`, `paragraphs`, `qas`, `answers` with `answer_start`. Each paragraph is a document, with the article's title; it
is also the one document that comes with its questions, for pipelines that take it as given. The sentences that hold an
annotated answer support it. With `is_impossible` in the file, questions without an answer are asked as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import DataError
from pipeline.evaluation.data.dataset import DataItem, DataSet, Gold, documents_of, named
from pipeline.evaluation.data.items import each, each_item, need, read_items
from pipeline.types import Document, Question, Span

KIND = "squad"


@dataclass(frozen=True, slots=True)
class SquadItem(DataItem):
    """A question with the character spans of its answers in its one document."""

    spans: tuple[tuple[int, int], ...] = ()


def read(path: Path) -> DataSet:
    items = read_items(path, lambda value, where: squad_items(path, value, where))
    return DataSet(path.name, KIND, items, lambda: documents_of(items))


def squad_items(path: Path, value: dict[str, object], where: str) -> Iterator[DataItem]:
    """The questions of a file's value: a SquadItem each, or a DataItem with a fault."""

    def article_items(article: dict[str, object], place: str) -> Iterator[DataItem]:
        title = need(article, "title", str, place, "").replace("_", " ")

        def paragraph_items(paragraph: dict[str, object], place: str) -> Iterator[DataItem]:
            document = named(KIND, title, need(paragraph, "context", str, place))
            return each_item(path, paragraph, "qas", place, lambda qa, place: iter([_item(qa, document, place)]))

        yield from each_item(path, article, "paragraphs", place, paragraph_items)

    return each_item(path, value, "data", where.removesuffix(": [0]"), article_items)


def _item(qa: dict[str, object], document: Document, where: str) -> DataItem:
    spans = tuple(_span(answer, document, place) for place, answer in each(qa, "answers", where))
    answers = tuple(dict.fromkeys(document.text[start:end] for start, end in spans))
    is_impossible = need(qa, "is_impossible", bool, where, None)
    if is_impossible:
        answers, spans = (), ()
    elif not spans:
        raise DataError(f"{where}: has no answers, and is_impossible is not true")
    question = Question(need(qa, "question", str, where), str(qa.get("id", where)), documents=(document,))
    supports = sentences_at(document, spans) if spans else None
    return SquadItem(
        question, Gold(answers, None if is_impossible is None else not is_impossible, supports), spans=spans
    )


def _span(answer: dict[str, object], document: Document, where: str) -> tuple[int, int]:
    text, start = need(answer, "text", str, where), need(answer, "answer_start", int, where)
    actual = document.text[start : start + len(text)]
    if not text or actual != text:
        raise DataError(f"{where}: the answer '{text[:40]}' is not at {start}, where the context has '{actual[:40]}'")
    return start, start + len(text)


def sentences_at(document: Document, spans: Sequence[tuple[int, int]]) -> tuple[Span, ...]:
    """The sentences that share a character with one of the spans."""
    from pipeline.text.sentences import sentences

    return tuple(
        Span(document.source, start, end)
        for start, end in sentences(document.text)
        if any(start < high and low < end for low, high in spans)
    )
