"""Reads longthread's own format: one JSON object per question.

{"question": "...", "answers": ["..."], "id": "...",
 "documents": [{"text": "...", "title": "..."}],
 "supports": [{"document": 0, "text": "..."}, {"document": 1, "start": 10, "end": 60}]}

{"question": "...", "answer": "...", "source": "manual/ferry.md"}

Only `question` is required. `answer` is short for `answers` with one entry. `answerable: false` marks a question that
the documents do not answer. `supports` name a document by its number from 0, and a span of it by its text or its
offsets. Without either, the whole document supports the answer. `source` names a file below the folders of --docs that
holds the answer. `glob` and `filter` restrict the search to some documents, as in the questions of `longthread run`.
The default `id` is the line number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.errors import DataError
from pipeline.evaluation.data.dataset import DataItem, DataSet, Gold, documents_of, named
from pipeline.evaluation.data.items import each, need, usable
from pipeline.executors.question_files import (
    TABLES,
    check_text,
    default_names,
    filter_of,
    glob_of,
    json_rows,
    name_of,
    read_rows,
    read_utf8,
)
from pipeline.settings import nearest
from pipeline.types import Document, Question, Span

KIND = "jsonl"
_KEYS = ("id", "question", "answer", "answers", "answerable", "documents", "supports", "source", "glob", "filter")


def read(path: Path) -> DataSet:
    """Reads the file. A bad question becomes an item with a fault. Raises DataError if all of them are bad."""
    items = usable(_items(path))
    if any(item.gold.is_answerable is False for item in items):
        items = tuple(
            replace(item, gold=replace(item.gold, is_answerable=item.gold.is_answerable is not False)) for item in items
        )
    return DataSet(path.name, KIND, items, lambda: documents_of(items))


def _items(path: Path) -> Iterator[DataItem]:
    data = read_utf8(path)
    rows = read_rows(path) if path.suffix.lower() in TABLES else list(json_rows(path, data))
    seen: set[str] = set()
    for row, default in zip(rows, default_names(rows), strict=True):
        try:
            if row.fault:
                raise DataError(f"{row.where}: {row.fault}".replace(": is no JSON", ": no JSON"))
            if not isinstance(row.value, dict):
                raise DataError(f"{row.where}: must be an object, was: {str(row.value)[:60]}")
            item = _item(row.value, row.where, default)
            if item.question.id in seen:
                raise DataError(f"{row.where}: the id '{item.question.id}' stands twice: each question needs its own")
        except DataError as error:
            item = DataItem(Question("", f"line {row.name}"), Gold(), str(error))
        seen.add(item.question.id)
        yield item


def _item(item: dict[str, object], where: str, default_id: str) -> DataItem:
    strange = [key for key in item if key not in _KEYS]
    if strange:
        raise DataError(
            f"{where}: has the unknown key '{strange[0]}'"
            + (nearest(strange[0], list(_KEYS)) or f"; known are: {', '.join(_KEYS)}")
        )
    documents = tuple(_document(value, below) for below, value in each({"documents": [], **item}, "documents", where))
    answers = need(item, "answers", list, where, [])
    if "answer" in item:
        answers = [need(item, "answer", str, where), *answers]
    is_answerable = need(item, "answerable", bool, where, None)
    supports = None
    if "supports" in item:
        supports = tuple(_support(value, documents, below) for below, value in each(item, "supports", where))
    text = need(item, "question", str, where)
    if not text.strip():
        raise DataError(f"{where}: the question is empty")
    source = need({**item, "source": item.get("source") or ""}, "source", str, where)
    try:
        check_text(text)
        name = name_of(item, default_id)
        glob, filter_ = glob_of(item), filter_of(item)
    except ValueError as error:
        raise DataError(f"{where}: {error}") from None
    return DataItem(
        Question(text, name, glob, tuple(dict.fromkeys(documents)), filter=filter_),
        Gold(
            () if is_answerable is False else tuple(map(str, answers)),
            is_answerable,
            supports,
            {source: 1} if source else None,
        ),
    )


def _document(value: dict[str, object], where: str) -> Document:
    return named(KIND, need(value, "title", str, where, ""), need(value, "text", str, where))


def _support(value: dict[str, Any], documents: tuple[Document, ...], where: str) -> Span:
    n = need(value, "document", int, where)
    if not 0 <= n < len(documents):
        raise DataError(f"{where}: document must be the number of one, from 0 to {len(documents) - 1}, was: {n}")
    document = documents[n]
    if "text" in value:
        start = document.text.find(need(value, "text", str, where))
        if start < 0:
            raise DataError(f"{where}: the document does not hold the text '{str(value['text'])[:60]}'")
        return Span(document.source, start, start + len(value["text"]))
    start, end = need(value, "start", int, where, 0), need(value, "end", int, where, len(document.text))
    if not 0 <= start < end <= len(document.text):
        raise DataError(f"{where}: the span must lie in [0, {len(document.text)}), was: [{start}, {end})")
    return Span(document.source, start, end)
