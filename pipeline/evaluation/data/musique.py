"""MuSiQue (https://arxiv.org/abs/2108.00573): `paragraphs` with `is_supporting`, `answer`, `answer_aliases`.

All paragraphs come with the question; the whole of each supporting one supports the answer. `answerable: false`, in the
full version, is a question whose paragraphs do not hold the answer. `question_decomposition` has the steps of a
question, each with its own paragraph.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.evaluation.data.dataset import DataItem, DataSet, Gold, documents_of, named
from pipeline.evaluation.data.items import each, need, read_items
from pipeline.types import Question, Span

KIND = "musique"
_STEP = re.compile(r"#(\d+)")


def read(path: Path) -> DataSet:
    items = read_items(path, _items)
    asks_all = all(item.gold.is_answerable for item in items if not item.fault)
    if asks_all:  # the answerable version says so of each question
        items = tuple(replace(item, gold=replace(item.gold, is_answerable=None)) for item in items)
    return DataSet(path.name, KIND, items, lambda: documents_of(items))


@dataclass(frozen=True, slots=True)
class MusiqueStep:
    """One step of a question: a question about one paragraph. `number` counts from 0."""

    number: int
    question: str
    answer: str
    title: str
    text: str


def steps(item: dict[str, Any]) -> Iterator[MusiqueStep]:
    """The steps that are worded as questions, with the answers of earlier steps put in for "#1".

    Raises KeyError, TypeError or ValueError for an item of another layout.
    """
    decomposition = item["question_decomposition"]
    answers = [str(step["answer"]) for step in decomposition]
    paragraphs = {paragraph["idx"]: paragraph for paragraph in item["paragraphs"]}
    for number, step in enumerate(decomposition):
        if ">>" in step["question"]:  # a relation instead of a question: "Brand >> author"
            continue
        question = _STEP.sub(lambda match: answers[int(match[1]) - 1], step["question"])
        paragraph = paragraphs[step["paragraph_support_idx"]]
        yield MusiqueStep(number, question, answers[number], paragraph["title"], paragraph["paragraph_text"])


def _items(item: dict[str, object], where: str) -> Iterator[DataItem]:
    documents, supports = [], []
    for below, paragraph in each(item, "paragraphs", where):
        text = need(paragraph, "paragraph_text", str, below).strip()
        document = named(KIND, need(paragraph, "title", str, below), text)
        documents.append(document)
        if need(paragraph, "is_supporting", bool, below, False):
            supports.append(Span(document.source, 0, len(text)))
    is_answerable = need(item, "answerable", bool, where, True)
    aliases = need(item, "answer_aliases", list, where, [])
    answers = tuple(dict.fromkeys([need(item, "answer", str, where), *map(str, aliases)]))
    question = Question(
        need(item, "question", str, where), need(item, "id", str, where), documents=tuple(dict.fromkeys(documents))
    )
    spans = tuple(dict.fromkeys(supports)) or None
    yield DataItem(question, Gold(answers if is_answerable else (), is_answerable, spans))
