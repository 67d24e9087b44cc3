"""The samples of a batch, and their file: JSON lines, a JSON list or a table.

{"id": "ferry", "question": "When does the ferry leave?", "answers": ["at noon"]}

`id` defaults to the line's number. `glob` and `filter` restrict retrieval to some documents. `documents` come with the
question ([{"text": ..., "title": ..., "source": ...}]). All other fields are copied into the record.
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
from pipeline.executors.question_files import check_text, default_names, filter_of, glob_of, name_of, read_rows
from pipeline.types import Document, Question

_OWN = ("id", "question", "glob", "filter", "documents")


@dataclass(frozen=True)
class Sample:
    """One question of a batch. `fields` holds its other fields (gold answers), which are copied into its record.

    `fault` describes an unreadable input line: the sample is not asked, and its record is an error. `n` is its place in
    the input, from 0; None if that equals its place among the samples of a run.
    """

    question: Question
    fields: dict[str, Any] = field(default_factory=dict)
    fault: str = ""
    n: int | None = None

    def key(self, config_hash: str, index_hash: str | None) -> str:
        """Returns the key of its record: equal for the same question, settings and documents."""
        question = self.question
        documents = [[document.source, document.title, document.text] for document in question.documents]
        parts: list[object] = [
            question.id,
            question.text,
            question.glob,
            documents,
            self.fault,
            config_hash,
            index_hash,
        ]
        parts += [question.json_schema] if question.json_schema else []  # added later: old records must keep their keys
        parts += [["filter", question.filter]] if question.filter else []
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def read_samples(path: Path) -> list[Sample]:
    """Reads a file's samples, in order. A bad line becomes a sample with a fault that names the line.

    Raises DataError for a file that cannot be read, has no question, or is of another format.
    """
    rows = read_rows(path)
    samples: list[Sample] = []
    for row, default in zip(rows, default_names(rows), strict=True):
        try:
            if row.fault:
                raise ValueError(row.fault)
            samples.append(_sample(row.value, default))
        except ValueError as error:
            subject = "the line " if row.where == f"{path}:{row.name}" else ""
            samples.append(Sample(Question("", f"line {row.name}"), {}, f"{row.where}: {subject}{error}"))
    if not samples:
        raise DataError(f"{path}: there is no question in it")
    return samples


def samples_of(values: Sequence[object]) -> list[Sample]:
    """Converts mappings, as in a file's lines, to samples. A missing `id` becomes the position, from 1.

    A mapping that is no question becomes a sample with a fault, like a bad line of a file.
    """
    samples: list[Sample] = []
    for n, value in enumerate(values, 1):
        try:
            samples.append(_sample(value, str(n)))
        except ValueError as error:
            given = value.get("id") if isinstance(value, dict) else None
            samples.append(
                Sample(Question("", given if isinstance(given, str) else str(n)), {}, f"question {n}: {error}")
            )
    return samples


def chosen(samples: Sequence[Sample], n: int | None = None, seed: int = 0, limit: int | None = None) -> list[Sample]:
    """Takes the first `limit` samples, and draws `n` of these, in input order.

    With the same seed, a larger draw contains every smaller one. Each sample keeps its place in the input.
    """
    numbered = [replace(sample, n=place) if sample.n is None else sample for place, sample in enumerate(samples)]
    first = numbered if limit is None else numbered[:limit]
    if n is None or n >= len(first):
        return first
    places = list(range(len(first)))
    random.Random(seed).shuffle(places)  # noqa: S311 - a sample, not a secret
    return [first[place] for place in sorted(places[:n])]


def without_twins(samples: Sequence[Sample]) -> list[Sample]:
    """Gives every sample with a repeated id a fault: records are looked up by id."""
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


def _sample(value: object, default_id: str) -> Sample:
    """Converts one value to a sample. Raises ValueError with what is missing or wrong."""
    if not isinstance(value, dict):
        raise ValueError(f"must be an object with 'question', was: {json.dumps(value)[:60]}")
    text = value.get("question")
    if not isinstance(text, str) or not text.strip():
        raise ValueError("has no 'question'" if text is None else f"has no text in 'question': {json.dumps(text)[:60]}")
    check_text(text)
    name = name_of(value, default_id)
    check_text(name)
    glob = glob_of(value)
    documents = tuple(_document(one, n) for n, one in enumerate(_listed(value.get("documents"))))
    fields = {name: one for name, one in value.items() if name not in _OWN}
    return Sample(Question(text, name, glob, documents, filter=filter_of(value)), fields)


def _listed(value: object) -> list[object]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError("has 'documents' that are no list")
    return value


def _document(value: object, n: int) -> Document:
    if isinstance(value, str):
        value = {"text": value}
    if not isinstance(value, dict) or not isinstance(value.get("text"), str):
        raise ValueError(f"has a document without 'text' (number {n})")
    title, source = value.get("title", ""), value.get("source", "")
    if not isinstance(title, str) or not isinstance(source, str):
        raise ValueError(f"has a document whose 'title' or 'source' is no text (number {n})")
    return Document(source or title or f"document {n + 1}", value["text"], title=title)
