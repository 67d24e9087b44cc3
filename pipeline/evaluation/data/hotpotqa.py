"""HotpotQA (https://arxiv.org/abs/1809.09600) and 2WikiMultihopQA (https://arxiv.org/abs/2011.01060).

`question`, `answer`, `context` as [title, [sentences]], `supporting_facts` as [title, n], or as the Hugging Face hub
lays both out, or [title, [n, ...], ...]. Each paragraph is a document, its sentences put together as they are; all of
them come with the question. A supporting fact that points at no sentence, as some do, is left out and counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import DataError
from pipeline.evaluation.data.dataset import DataItem, DataSet, Gold, documents_of, named
from pipeline.evaluation.data.items import need, read_items
from pipeline.types import Question, Span

KIND = "hotpotqa"


@dataclass(frozen=True)
class Paragraphs:
    """The paragraphs of a question as (title, sentences), and its supporting facts as (title, number from 0)."""

    parts: tuple[tuple[str, tuple[str, ...]], ...]
    facts: frozenset[tuple[str, int]]

    @classmethod
    def of(cls, item: dict[str, Any]) -> Paragraphs:
        """Raises KeyError, TypeError or ValueError for what is laid out otherwise."""
        context, facts = item["context"], item.get("supporting_facts", ())
        if isinstance(context, dict):  # as the Hugging Face hub lays it out
            context = list(zip(context["title"], context["sentences"], strict=True))
        if isinstance(facts, dict):
            facts = list(zip(facts["title"], facts["sent_id"], strict=True))
        parts = tuple((title, tuple(sentences)) for title, sentences in context)
        numbered = [
            (title, sentence_ids if isinstance(sentence_ids, list) else [sentence_ids])
            for title, sentence_ids, *_ in facts
        ]
        return cls(parts, frozenset((title, n) for title, sentence_ids in numbered for n in sentence_ids))


def read(path: Path) -> DataSet:
    lost: list[str] = []
    items = read_items(path, lambda item, where: _items(item, where, lost))
    notes = (f"{len(lost)} supporting facts point at no sentence, and are left out",) if lost else ()
    return DataSet(path.name, KIND, items, lambda: documents_of(items), notes)


def _items(item: dict[str, object], where: str, lost: list[str]) -> Iterator[DataItem]:
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
    name = str(
        next((item[key] for key in ("_id", "id") if item.get(key) not in (None, "")), where.rpartition(":")[2].strip())
    )
    question = Question(need(item, "question", str, where), name, documents=tuple(dict.fromkeys(documents)))
    yield DataItem(question, Gold((answer,), supports=tuple(dict.fromkeys(supports)) or None))


def joined(sentences: tuple[str, ...]) -> str:
    """A paragraph of sentences, most of which begin with the space that parts them; where none does, one is put in."""
    text = ""
    for sentence in sentences:
        gap = " " if text and not text[-1].isspace() and not sentence[:1].isspace() else ""
        text += gap + sentence
    return text.strip()
