"""Reads HotpotQA (https://arxiv.org/abs/1809.09600) and 2WikiMultihopQA (https://arxiv.org/abs/2011.01060).

Keys: `question`, `answer`, `context` as [title, [sentences]], `supporting_facts` as [title, n] or [title, [n, ...]].
The layout of the Hugging Face hub works too. Each paragraph is a document, made by joining its sentences unchanged.
All of them come with the question. Some supporting facts point at no sentence: they are left out and counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import DataError
from pipeline.evaluation.data.dataset import DataSet, Gold, Item, documents_of, named
from pipeline.evaluation.data.items import json_items, need
from pipeline.types import Question, Span

KIND = "hotpotqa"


@dataclass(frozen=True)
class Paragraphs:
    """The paragraphs of a question as (title, sentences), and its supporting facts as (title, number from 0)."""

    parts: tuple[tuple[str, tuple[str, ...]], ...]
    facts: frozenset[tuple[str, int]]

    @classmethod
    def of(cls, item: dict[str, Any]) -> Paragraphs:
        """Reads an item. Raises KeyError, TypeError or ValueError for any other layout."""
        context, facts = item["context"], item.get("supporting_facts", ())
        if isinstance(context, dict):  # as the Hugging Face hub lays it out
            context = list(zip(context["title"], context["sentences"], strict=True))
        if isinstance(facts, dict):
            facts = list(zip(facts["title"], facts["sent_id"], strict=True))
        parts = tuple((title, tuple(sentences)) for title, sentences in context)
        numbered = [(title, numbers if isinstance(numbers, list) else [numbers]) for title, numbers, *_ in facts]
        return cls(parts, frozenset((title, n) for title, numbers in numbered for n in numbers))


def read(path: Path) -> DataSet:
    lost: list[str] = []
    items = tuple(_items(path, lost))
    notes = (f"{len(lost)} supporting facts point at no sentence, and are left out",) if lost else ()
    return DataSet(path.name, KIND, items, lambda: documents_of(items), notes)


def _items(path: Path, lost: list[str]) -> Iterator[Item]:
    for where, item in json_items(path):
        try:
            paragraphs = Paragraphs.of(item)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{where}: context must be a list of [title, [sentences]]: {type(error).__name__}: {error}"
            ) from None
        documents, supports, matched = [], [], set()
        for title, sentences in paragraphs.parts:
            document = named(KIND, title, joined(sentences))
            documents.append(document)
            end = 0
            for n, sentence in enumerate(sentences):
                start = document.text.index(sentence.strip(), end)
                end = start + len(sentence.strip())
                if (title, n) in paragraphs.facts and sentence.strip():
                    supports.append(Span(document.source, start, end))
                    matched.add((title, n))
        lost += [f"{where}: {fact}" for fact in paragraphs.facts - matched]
        answer = need(item, "answer", str, where)
        name = str(item.get("_id") or item.get("id") or where.rpartition(":")[2].strip())
        question = Question(need(item, "question", str, where), name, documents=tuple(dict.fromkeys(documents)))
        yield Item(question, Gold((answer,), supports=tuple(dict.fromkeys(supports)) or None))


def joined(sentences: tuple[str, ...]) -> str:
    """Joins sentences into a paragraph. Most begin with a space; where neither side has one, this adds it."""
    text = ""
    for sentence in sentences:
        gap = " " if text and not text[-1].isspace() and not sentence[:1].isspace() else ""
        text += gap + sentence
    return text.strip()
