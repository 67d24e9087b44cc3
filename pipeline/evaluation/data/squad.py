"""Reads SQuAD 1.1 and 2.0 (https://arxiv.org/abs/1806.03822) and files in the same layout, such as XQuAD.

Keys: `data`, `paragraphs`, `qas`, `answers` with `answer_start`. Each paragraph is a document with the article's title,
and comes with its questions, for pipelines that take documents as given. The sentences that hold an annotated answer
support it. If the file has `is_impossible`, questions without an answer are asked as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import DataError
from pipeline.evaluation.data.dataset import DataSet, Gold, Item, documents_of, named
from pipeline.evaluation.data.items import each, json_items, need
from pipeline.types import Document, Question, Span

KIND = "squad"


def read(path: Path) -> DataSet:
    items = tuple(item for where, value in json_items(path) for item in _articles(value, where))
    return DataSet(path.name, KIND, items, lambda: documents_of(items))


def _articles(value: dict[str, Any], where: str) -> Iterator[Item]:
    where = where.removesuffix(": [0]")
    for below, article in each(value, "data", where):
        title = need(article, "title", str, below, "").replace("_", " ")
        for place, paragraph in each(article, "paragraphs", below):
            document = named(KIND, title, need(paragraph, "context", str, place))
            for spot, item in each(paragraph, "qas", place):
                yield _item(item, document, spot)


def _item(item: dict[str, Any], document: Document, where: str) -> Item:
    spans = tuple(_span(answer, document, below) for below, answer in each(item, "answers", where))
    answers = tuple(dict.fromkeys(document.text[start:end] for start, end in spans))
    is_impossible = need(item, "is_impossible", bool, where, None)
    if is_impossible:
        answers, spans = (), ()
    elif not spans:
        raise DataError(f"{where}: has no answers, and is_impossible is not true")
    question = Question(need(item, "question", str, where), str(item.get("id", where)), documents=(document,))
    supports = sentences_at(document, spans) if spans else None
    return Item(question, Gold(answers, None if is_impossible is None else not is_impossible, supports))


def _span(answer: dict[str, Any], document: Document, where: str) -> tuple[int, int]:
    text, start = need(answer, "text", str, where), need(answer, "answer_start", int, where)
    excerpt = document.text[start : start + len(text)]
    if not text or excerpt != text:
        raise DataError(f"{where}: the answer '{text[:40]}' is not at {start}, where the context has '{excerpt[:40]}'")
    return start, start + len(text)


def sentences_at(document: Document, spans: Sequence[tuple[int, int]]) -> tuple[Span, ...]:
    """The sentences that overlap one of the spans."""
    from pipeline.documents.sentences import sentences

    return tuple(
        Span(document.source, start, end)
        for start, end in sentences(document.text)
        if any(start < high and low < end for low, high in spans)
    )
