"""The questions of a batch, and the file that they come from: JSON lines, a JSON list or a table, each on its own.

{"id": "ferry", "question": "When does the ferry leave?", "answers": ["at noon"]}

`id` may be left out (the line's number then stands for it). `glob` and `filter` keep retrieval to some documents,
`documents` are those that come with the question ([{"text": ..., "title": ..., "source": ...}]). All else is kept and
goes into the record.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.errors import DataError
from pipeline.executors.question_files import check_text, default_names, name_of, read_rows
from pipeline.retrieval.filters import read_filter
from pipeline.types import Document, Question

_OWN = ("id", "question", "glob", "filter", "documents")


@dataclass(frozen=True)
class Sample:
    """One question of a batch. `fields` is what else came with it (gold answers), passed through into its record.

    `fault` says what is wrong with the place that it was read from: such a sample is not asked, its record is an error.
    `n` is its place in the input, from 0; None where that is its place among the samples of a run.
    """

    question: Question
    fields: dict[str, Any] = field(default_factory=dict)
    fault: str = ""
    n: int | None = None

    def key(self, config_hash: str, index_hash: str | None) -> str:
        """What a finished record is known by: the same for the same question, settings and documents."""
        question = self.question
        documents = [[one.source, one.title, one.text] for one in question.documents]
        parts: list[object] = [
            question.id,
            question.text,
            question.glob,
            documents,
            self.fault,
            config_hash,
            index_hash,
        ]
        parts += [question.json_schema] if question.json_schema else []  # younger than kept records
        parts += [["filter", question.filter]] if question.filter else []
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def read_samples(path: Path) -> list[Sample]:
    """The samples of a file, in its order; a bad line is a sample with a fault that names its number.

    Raises DataError for a file that cannot be read, holds no question, or is of another kind.
    """
    rows = read_rows(path)
    found: list[Sample] = []
    for row, default in zip(rows, default_names(rows), strict=True):
        try:
            if row.fault:
                raise ValueError(row.fault)
            found.append(_sample(row.value, default))
        except ValueError as error:
            subject = "the line " if row.where == f"{path}:{row.name}" else ""
            found.append(Sample(Question("", f"line {row.name}"), {}, f"{row.where}: {subject}{error}"))
    if not found:
        raise DataError(f"{path}: there is no question in it")
    return found


def samples_of(values: Sequence[Any]) -> list[Sample]:
    """The samples of mappings as a line of a file holds them; an `id` that is missing is the place, from 1.

    A mapping that is no question is a sample with a fault, as a bad line of a file is.
    """
    found: list[Sample] = []
    for n, value in enumerate(values, 1):
        try:
            found.append(_sample(value, str(n)))
        except ValueError as error:
            given = value.get("id") if isinstance(value, dict) else None
            found.append(
                Sample(Question("", given if isinstance(given, str) else str(n)), {}, f"question {n}: {error}")
            )
    return found


def chosen(samples: Sequence[Sample], n: int | None = None, seed: int = 0, limit: int | None = None) -> list[Sample]:
    """The first `limit` samples, and of these `n` by chance, in their order.

    With one seed the choice of a larger n holds that of a smaller one. Each sample keeps its place among all of them.
    """
    numbered = [replace(one, n=place) if one.n is None else one for place, one in enumerate(samples)]
    first = numbered if limit is None else numbered[:limit]
    if n is None or n >= len(first):
        return first
    places = list(range(len(first)))
    random.Random(seed).shuffle(places)  # noqa: S311 - a sample, not a secret
    return [first[place] for place in sorted(places[:n])]


def without_twins(samples: Sequence[Sample]) -> list[Sample]:
    """The samples, with a fault for each whose id an earlier one has already: a record is found by its id."""
    seen: set[str] = set()
    result = []
    for n, sample in enumerate(samples, 1):
        question = sample.question
        if question.id in seen and not sample.fault:
            fault = f"the id {question.id!r} was used before: give each question its own"
            again = Question(question.text, f"{question.id} (again, {n})")
            sample = replace(sample, question=again, fault=fault)
        seen.add(question.id)
        result.append(sample)
    return result


def _sample(value: Any, default_id: str) -> Sample:
    """Raises ValueError that says what the line lacks."""
    if not isinstance(value, dict):
        raise ValueError(f"must be an object with 'question', was: {json.dumps(value)[:60]}")
    text = value.get("question")
    if not isinstance(text, str) or not text.strip():
        raise ValueError("has no 'question'" if text is None else f"has no text in 'question': {json.dumps(text)[:60]}")
    check_text(text)
    name = name_of(value, default_id)
    check_text(name)
    glob = value.get("glob")
    if glob is not None and not isinstance(glob, str):
        raise ValueError(f"has a 'glob' that is no text: {json.dumps(glob)[:60]}")
    documents = tuple(_document(one, n) for n, one in enumerate(_listed(value.get("documents"))))
    fields = {name: one for name, one in value.items() if name not in _OWN}
    return Sample(Question(text, name, glob, documents, filter=_filter(value.get("filter"))), fields)


def _filter(value: Any) -> str:
    """A question's filter, "" for none. Raises ValueError for one that cannot be read."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"has a 'filter' that is no text: {json.dumps(value)[:60]}")
    if value.strip():
        read_filter(value)  # FilterError is a ValueError
    return value.strip()


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError("has 'documents' that are no list")
    return value


def _document(value: Any, n: int) -> Document:
    if isinstance(value, str):
        value = {"text": value}
    if not isinstance(value, dict) or not isinstance(value.get("text"), str):
        raise ValueError(f"has a document without 'text' (number {n})")
    title, source = value.get("title", ""), value.get("source", "")
    if not isinstance(title, str) or not isinstance(source, str):
        raise ValueError(f"has a document whose 'title' or 'source' is no text (number {n})")
    return Document(source or title or f"document {n + 1}", value["text"], title=title)
