"""Reads collections in SMART's format (Cranfield, CISI and others): three files in one folder.

The documents are in `.all`, the questions in `.qry` or `.que`, the judgements in `.rel` or `qrel`. There are two traps.
Cranfield's judgements number the questions by their order, not by their `.I`. This reader does the same if the judged
numbers are not those of the questions. And with three columns, the last one holds Cleverdon's codes, from 1 (best) to 4
(least): these give gains of 4 to 1, and other codes 0. With four columns, every listed document has a gain of 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import DataError
from pipeline.evaluation.data.dataset import DataSet, Gold, Item
from pipeline.types import Document, Question

KIND = "smart"
_WORST = 5


def read(path: Path) -> DataSet:
    """Reads a folder. Only judged questions are asked. Raises DataError for a missing or malformed file."""
    documents, queries, judged = (_file(path, *parts) for parts in ((".all",), (".qry", ".que"), (".rel", "qrel")))
    gains = judgements(judged)
    questions = {_number(name, queries): fields.get("W", "") for name, fields in entries(queries)}
    notes: tuple[str, ...] = ()
    if not set(gains) <= set(questions):
        questions = dict(enumerate(questions.values(), 1))
        notes = ("the judgements number the questions by their order",)
    if not set(gains) <= set(questions):
        strange = min(set(gains) - set(questions))
        raise DataError(f"{judged}: judges question {strange}, and {queries} has {len(questions)} questions")
    items = tuple(
        Item(Question(" ".join(text.split()), str(n)), Gold(gains={f"{KIND}:{d}": g for d, g in gains[n].items()}))
        for n, text in questions.items()
        if n in gains
    )
    return DataSet(path.name, KIND, items, lambda: _corpus(documents), notes)


def entries(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields (number as written, texts by field letter) for each entry of a file."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    sections = re.split(r"^\.I ", text, flags=re.MULTILINE)[1:]
    if not sections:
        raise DataError(f"{path}: has no line that begins with '.I ': it is not in SMART's format")
    for section in sections:
        number, _, rest = section.partition("\n")
        parts = re.split(r"^\.([TABWX])[ \t]*\n", rest, flags=re.MULTILINE)
        yield number.strip(), {letter: text.strip() for letter, text in zip(parts[1::2], parts[2::2], strict=True)}


def page(fields: dict[str, str]) -> str:
    """Title and abstract. Cranfield's abstracts begin with the title: it is not repeated."""
    title, body = fields.get("T", ""), fields.get("W", "")
    return body if body.startswith(title) else f"{title}\n\n{body}"


def judgements(path: Path) -> dict[int, dict[int, int]]:
    """The gain of each listed document by number, for each question with a gain above 0."""
    gains: dict[int, dict[int, int]] = {}
    for n, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        cells = line.split()
        if not cells:
            continue
        try:
            question, document, code = int(cells[0]), int(cells[1]), int(cells[2])
        except (ValueError, IndexError):
            raise DataError(f"{path}:{n}: must be question, document and code, was: {line.strip()[:60]}") from None
        gain = 1 if len(cells) > 3 else _WORST - code if 0 < code < _WORST else 0
        gains.setdefault(question, {})[document] = gain
    return {question: judged for question, judged in gains.items() if any(judged.values())}


def _corpus(path: Path) -> Iterator[Document]:
    for number, fields in entries(path):
        text = page(fields)
        if text.strip():
            yield Document(f"{KIND}:{_number(number, path)}", text, title=" ".join(fields.get("T", "").split()))


def _number(written: str, path: Path) -> int:
    if not written.isdigit():
        raise DataError(f"{path}: an entry's number must be digits, was: {written[:40]}")
    return int(written)


def _file(folder: Path, *parts: str) -> Path:
    if not folder.is_dir():
        raise DataError(f"{folder}: must be the folder of a SMART collection")
    names = sorted(path for path in folder.iterdir() if path.is_file() and "readme" not in path.name.lower())
    matching = [path for path in names if any(part in path.name.lower() for part in parts)]
    if not matching:
        raise DataError(f"{folder}: no file has {' or '.join(parts)} in its name: documents, questions and judgements")
    return matching[0]
