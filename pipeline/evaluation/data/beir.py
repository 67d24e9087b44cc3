"""A folder in BEIR's layout (https://arxiv.org/abs/2104.08663): corpus.jsonl, queries.jsonl, qrels/test.tsv.

The path may also be one of the qrels files. Only judged questions are asked; they have documents with a worth, and no
answers. The corpus is read line by line.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import DataError
from pipeline.evaluation.data.dataset import DataItem, DataSet, Gold
from pipeline.evaluation.data.items import json_lines, left_out, need, object_rows, text_of, usable
from pipeline.executors.question_files import Row, read_utf8
from pipeline.types import Document, Question

KIND = "beir"


def read(path: Path) -> DataSet:
    qrels = path if path.is_file() else _qrels(path)
    folder = qrels.parent.parent if path.is_file() else path
    gains, faults = judgements(qrels)
    items = {}
    for row in object_rows(read_utf8(folder / "queries.jsonl"), folder / "queries.jsonl"):
        name = "" if row.fault else str(row.value.get("_id", ""))
        if name in gains:
            items[name] = _item(row, name, gains[name])
    for name in gains:
        if name not in items:
            fault = f"{qrels}: judges the question '{name}', which {folder / 'queries.jsonl'} does not hold"
            items[name] = DataItem(Question("", name), Gold(), fault)
    notes = left_out(faults, "judgements")
    return DataSet(f"{folder.name}/{qrels.stem}", KIND, usable(items.values()), lambda: _corpus(folder), notes)


def _item(row: Row, name: str, gains: dict[str, int]) -> DataItem:
    try:
        return DataItem(Question(need(row.value, "text", str, row.where), name), Gold(gains=gains))
    except DataError as error:
        return DataItem(Question("", name), Gold(), str(error))


def _qrels(folder: Path) -> Path:
    for name in ("test", "dev", "train"):
        if (folder / "qrels" / f"{name}.tsv").is_file():
            return folder / "qrels" / f"{name}.tsv"
    raise DataError(f"{folder}: has no qrels/test.tsv: a BEIR folder holds corpus.jsonl, queries.jsonl and qrels/")


def judgements(path: Path) -> tuple[dict[str, dict[str, int]], list[str]]:
    """The worth of each judged document for each question that has one worth something, and what is wrong with lines.

    Raises DataError where no line can be read.
    """
    gains: dict[str, dict[str, int]] = {}
    faults = []
    for n, line in enumerate(text_of(path).splitlines(), 1):
        cells = line.split("\t")
        if n == 1 and cells[-1] == "score":
            continue
        try:
            question, document, score = cells
            gains.setdefault(question, {})[f"{KIND}:{document}"] = max(0, int(score))
        except ValueError:
            faults.append(f"{path}:{n}: must be question TAB document TAB whole number, was: {line[:60]}")
    if faults and not gains:
        raise DataError(faults[0])
    return {question: judged for question, judged in gains.items() if any(judged.values())}, faults


def _corpus(folder: Path) -> Iterator[Document]:
    for where, item in json_lines(folder / "corpus.jsonl"):
        text = need(item, "text", str, where)
        if text.strip():
            name = need(item, "_id", str, where)
            yield Document(f"{KIND}:{name}", text, title=need(item, "title", str, where, ""))
