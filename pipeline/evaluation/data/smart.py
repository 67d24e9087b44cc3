"""The classic collections in SMART's format: Cranfield, CISI, and others of three files in one folder.

The documents end in `.all` (or have it in their name), the questions in `.qry`, the judgements in `.rel` or `qrel`.
Two traps. Cranfield's judgements number the questions by their order, and not by their `.I`: so does this where the
numbers that are judged are not those that the questions have. And a third and last column holds Cleverdon's codes, from
1 (best) to 4 (least): gains are 4 to 1 for these, and 0 for anything else; where there are four columns, all that is
listed is worth 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import DataError
from pipeline.evaluation.data.dataset import DataItem, DataSet, Gold
from pipeline.evaluation.data.items import left_out, usable
from pipeline.types import Document, Question

KIND = "smart"
_WORST = 5


def read(path: Path) -> DataSet:
    documents, queries, judged = (_file(path, *parts) for parts in ((".all",), (".qry", ".que"), (".rel", "qrel")))
    gains, faults = judgements(judged)
    written = list(entries(queries))
    by_number = {int(name): fields.get("W", "") for name, fields in written if name.isdigit()}
    by_order = {n: fields.get("W", "") for n, (_, fields) in enumerate(written, 1)}
    is_by_order = len(set(gains) - set(by_order)) < len(set(gains) - set(by_number))
    queries_by_id = by_order if is_by_order else by_number
    notes = left_out(faults, "judgements")
    if is_by_order:
        notes = ("the judgements number the questions by their order", *notes)
    items = [
        DataItem(Question(" ".join(text.split()), str(n)), Gold(gains={f"{KIND}:{d}": g for d, g in gains[n].items()}))
        for n, text in queries_by_id.items()
        if n in gains
    ]
    for n in sorted(set(gains) - set(queries_by_id)):
        fault = f"{judged}: judges question {n}, and {queries} has {len(queries_by_id)} questions"
        items.append(DataItem(Question("", str(n)), Gold(), fault))
    return DataSet(path.name, KIND, usable(items), lambda: _corpus(documents), notes)


def entries(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """(number as written, texts by field letter) of each entry of a file."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    entries = re.split(r"^\.I ", text, flags=re.MULTILINE)[1:]
    if not entries:
        raise DataError(f"{path}: has no line that begins with '.I ': it is not in SMART's format")
    for entry in entries:
        number, _, rest = entry.partition("\n")
        parts = re.split(r"^\.([TABWX])[ \t]*\n", rest, flags=re.MULTILINE)
        yield number.strip(), {letter: text.strip() for letter, text in zip(parts[1::2], parts[2::2], strict=True)}


def page(fields: dict[str, str]) -> str:
    """Title and abstract; Cranfield's abstracts begin with their title, which then stands once."""
    title, body = fields.get("T", ""), fields.get("W", "")
    return body if body.startswith(title) else f"{title}\n\n{body}"


def judgements(path: Path) -> tuple[dict[int, dict[int, int]], list[str]]:
    """The gain of each listed document for each question that has one above 0, by number, and what is wrong with lines.

    Raises DataError where no line can be read.
    """
    gains: dict[int, dict[int, int]] = {}
    faults = []
    for n, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        cells = line.split()
        if not cells:
            continue
        try:
            question, document, code = int(cells[0]), int(cells[1]), int(cells[2])
        except (ValueError, IndexError):
            faults.append(f"{path}:{n}: must be question, document and code, was: {line.strip()[:60]}")
            continue
        gain = 1 if len(cells) > 3 else _WORST - code if 0 < code < _WORST else 0
        gains.setdefault(question, {})[document] = gain
    if faults and not gains:
        raise DataError(faults[0])
    return {question: judged for question, judged in gains.items() if any(judged.values())}, faults


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
    matches = [path for path in names if any(part in path.name.lower() for part in parts)]
    if not matches:
        raise DataError(f"{folder}: no file has {' or '.join(parts)} in its name: documents, questions and judgements")
    return matches[0]
