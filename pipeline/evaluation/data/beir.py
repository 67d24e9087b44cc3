"""Reads a folder in BEIR's layout (https://arxiv.org/abs/2104.08663): corpus.jsonl, queries.jsonl, qrels/test.tsv.

The path may also be one of the qrels files. Only judged questions are asked. They have gains for documents, and no
answers. The corpus is read line by line.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import DataError
from pipeline.evaluation.data.dataset import DataSet, Gold, Item
from pipeline.evaluation.data.items import json_lines, need, text_of
from pipeline.types import Document, Question

KIND = "beir"


def read(path: Path) -> DataSet:
    qrels = path if path.is_file() else _qrels(path)
    folder = qrels.parent.parent if path.is_file() else path
    gains = judgements(qrels)
    items = {}
    for where, query in json_lines(folder / "queries.jsonl"):
        name = str(query.get("_id", ""))
        if name in gains:
            items[name] = Item(Question(need(query, "text", str, where), name), Gold(gains=gains[name]))
    missing = [name for name in gains if name not in items]
    if missing:
        raise DataError(f"{qrels}: judges the question '{missing[0]}', which {folder / 'queries.jsonl'} does not hold")
    return DataSet(f"{folder.name}/{qrels.stem}", KIND, tuple(items.values()), lambda: _corpus(folder))


def _qrels(folder: Path) -> Path:
    for name in ("test", "dev", "train"):
        if (folder / "qrels" / f"{name}.tsv").is_file():
            return folder / "qrels" / f"{name}.tsv"
    raise DataError(f"{folder}: has no qrels/test.tsv: a BEIR folder holds corpus.jsonl, queries.jsonl and qrels/")


def judgements(path: Path) -> dict[str, dict[str, int]]:
    """The gain of each judged document, for each question with a gain above 0."""
    gains: dict[str, dict[str, int]] = {}
    for n, line in enumerate(text_of(path).splitlines(), 1):
        cells = line.split("\t")
        if n == 1 and cells[-1] == "score":
            continue
        try:
            question, document, score = cells
            gains.setdefault(question, {})[f"{KIND}:{document}"] = max(0, int(score))
        except ValueError:
            raise DataError(f"{path}:{n}: must be question TAB document TAB whole number, was: {line[:60]}") from None
    return {question: judged for question, judged in gains.items() if any(judged.values())}


def _corpus(folder: Path) -> Iterator[Document]:
    for where, item in json_lines(folder / "corpus.jsonl"):
        text = need(item, "text", str, where)
        if text.strip():
            name = need(item, "_id", str, where)
            yield Document(f"{KIND}:{name}", text, title=need(item, "title", str, where, ""))
