"""How well bm25, dense and hybrid find the judged documents of Cranfield or CISI, through the real index.

    python benchmarks/retrieval.py --set cranfield
    python benchmarks/retrieval.py --set cisi --settings '{"rrf_k": 20}'

Each document is one file, title and abstract; a document ranks where its best chunk does. The last line is JSON.
Cranfield's codes run from 1 (best) to 4: the gains are 4 to 1, and 0 for its code -1. CISI's judgements are yes or no,
and only the 76 questions that have any count. Copies are kept, since each document has judgements of its own; `folded`
is retrieve.hybrid as it ships, which gives near copies as places of the passage that stands for them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from pipeline.config import IndexSettings
from pipeline.contracts import Retriever
from pipeline.documents.discover import discover
from pipeline.evaluation.data import smart
from pipeline.offline import switch_off_telemetry
from pipeline.pipeline import chunker, open_embedder
from pipeline.registry import make, settings_of
from pipeline.retrieval.index import DocumentIndex
from pipeline.retrieval.open_index import open_index
from pipeline.types import Question

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
DEPTH = 100
"""Chunks asked for: enough for the ten best documents, and for recall at 100."""


@dataclass(frozen=True)
class Collection:
    """Documents and questions by id, and the gain of each judged document for each question that has any."""

    documents: dict[str, str]
    questions: dict[str, str]
    gains: dict[str, dict[str, int]]


def collection_of(folder: Path) -> Collection:
    data = smart.read(folder)
    return Collection(
        {_number(document.source): document.text for document in data.corpus()},
        {item.question.id: item.question.text for item in data.items},
        {item.question.id: {_number(s): g for s, g in (item.gold.gains or {}).items()} for item in data.items},
    )


def _number(source: str) -> str:
    return source.removeprefix("smart:")


SETS = ("cranfield", "cisi")


def write_files(documents: dict[str, str], folder: Path) -> None:
    """One text file a document, named by its number; the few without any text have none."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, text in documents.items():
        (folder / f"{number}.txt").write_text(text)


def ranked(index: DocumentIndex, retriever: Retriever, questions: dict[str, str]) -> dict[str, dict[str, float]]:
    """For each question the score of each document found: that of its best chunk."""
    runtime: Any = SimpleNamespace(index=index, embedder=index.embedder, note=lambda text, once=False: None)
    run: dict[str, dict[str, float]] = {}
    for number, text in questions.items():
        found: dict[str, float] = {}
        for rank, passage in enumerate(retriever.search(Question(text), runtime)):
            places = (*passage.copies, *passage.near_copies)
            for source in (passage.source, *(copy.source for copy in places)):
                found.setdefault(Path(source).stem, float(-rank))  # by rank, so that ties stay as we broke them
        run[number] = found
    return run


def measured(collection: Collection, run: dict[str, dict[str, float]]) -> dict[str, float]:
    import ir_measures
    from ir_measures import AP, R, nDCG

    found = ir_measures.calc_aggregate([nDCG @ 10, R @ 10, R @ 100, AP @ 100], collection.gains, run)
    return {str(measure): round(value, 4) for measure, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=SETS, required=True)
    parser.add_argument("--settings", type=json.loads, default={}, help="settings of retrieve.hybrid, as JSON")
    parser.add_argument("--index", type=json.loads, default={}, help="settings of the index, as JSON")
    parser.add_argument("--keep", type=Path, help="a folder for documents and index, used again by the next run")
    arguments = parser.parse_args()
    switch_off_telemetry()
    collection = collection_of(DATA / arguments.set)
    settings = IndexSettings(**arguments.index)
    specs = {
        "bm25": make("retrieve.bm25", {"k": DEPTH, "copies": "keep"}),
        "dense": make("retrieve.dense", {"k": DEPTH, "copies": "keep"}),
        "hybrid": make("retrieve.hybrid", {"k": DEPTH, "copies": "keep", **arguments.settings}),
        "folded": make("retrieve.hybrid", {"k": DEPTH, **arguments.settings}),
    }
    with tempfile.TemporaryDirectory() as temporary:
        place = arguments.keep or Path(temporary)
        docs, folder = place / "docs", place / "index"
        write_files(collection.documents, docs)
        embedder, cutter = open_embedder(settings), chunker(settings)
        with open_index(folder, embedder, cutter, mode="write") as index:
            report = index.update(discover([str(docs)]), lambda what, done, total: None)
        with open_index(folder, embedder, cutter) as index:
            measures = {
                name: measured(collection, ranked(index, retriever, collection.questions))
                for name, retriever in specs.items()
            }
    for name, values in measures.items():
        print(f"{name:8}", "  ".join(f"{measure} {value:.4f}" for measure, value in values.items()))
    answer = {
        "set": arguments.set,
        "n_questions": len(collection.gains),
        "n_documents": len(collection.documents),
        "n_chunks": report.n_chunks,
        "ndcg_at_10": {name: values["nDCG@10"] for name, values in measures.items()},
        "recall_at_10": {name: values["R@10"] for name, values in measures.items()},
        "recall_at_100": {name: values["R@100"] for name, values in measures.items()},
        "hybrid": settings_of(specs["hybrid"]),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
