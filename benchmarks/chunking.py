"""How well chunks match what questions ask for: recall, precision and IoU of characters, on Chroma's chunking data.

    python benchmarks/chunking.py
    python benchmarks/chunking.py --limit 50 --variants tokens:200 structure:200

Each question has the characters of its corpus that answer it. Every corpus is one document of one index.
retrieve.hybrid finds passages for each question, and their characters are compared with the reference: once of the
first 5 passages, as Chroma's report does, and once of as many as fit into 800 of the embedder's tokens, since five
larger chunks bring more text. IoU is of both. Means over the questions; `interval` is that of the paired difference of
IoU to the first variant, by 2000 bootstrap samples. The last line is JSON.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.retrieval import DATA
from pipeline.config import IndexSettings
from pipeline.contracts import Embedder
from pipeline.documents.discover import Discovery
from pipeline.offline import switch_off_telemetry
from pipeline.pipeline import chunker, open_embedder
from pipeline.registry import make
from pipeline.retrieval.open_index import open_index
from pipeline.types import Document, Passage, Question

CORPORA = DATA / "chunking_eval"
K = 5
BUDGET_TOKENS = 800
POOL = 40
NAMES = ("finance", "pubmed", "state_of_the_union", "wikitexts")
VARIANTS = ("tokens:200", "structure:200", "tokens:120", "structure:120")


@dataclass(frozen=True)
class Asked:
    """A question, and the spans of one corpus that answer it."""

    text: str
    corpus: str
    spans: tuple[tuple[int, int], ...]


def documents(names: Sequence[str]) -> list[Document]:
    return [Document(name, (CORPORA / f"{name}.md").read_text("utf-8"), sha256=name) for name in names]


def questions(known: Sequence[str], limit: int | None) -> list[Asked]:
    with (CORPORA / "questions_df.csv").open(encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["corpus_id"] in known]
    step = max(1, len(rows) // limit) if limit else 1
    return [
        Asked(
            row["question"],
            row["corpus_id"],
            tuple((part["start_index"], part["end_index"]) for part in json.loads(row["references"])),
        )
        for row in rows[::step]
    ]


def characters(source: str, spans: Sequence[tuple[int, int]]) -> set[tuple[str, int]]:
    return {(source, at) for start, end in spans for at in range(start, end)}


def measured(asked: Asked, found: Sequence[Passage]) -> tuple[float, float, float]:
    """Recall, precision and IoU of the characters of these passages."""
    wanted = characters(asked.corpus, asked.spans)
    given = {one for passage in found for one in characters(passage.source, [(passage.start, passage.end)])}
    both = len(wanted & given)
    return both / len(wanted), both / len(given) if given else 0.0, both / len(wanted | given)


def within(passages: Sequence[Passage], tokens: Sequence[int]) -> list[Passage]:
    """The first passages that fit into the budget together."""
    total, kept = 0, []
    for passage, n in zip(passages, tokens, strict=True):
        total += n
        if total > BUDGET_TOKENS:
            break
        kept.append(passage)
    return kept


def run(
    variant: str, retriever: dict[str, Any], corpora: Sequence[Document], asked: Sequence[Asked], embedder: Embedder
) -> dict[str, Any]:
    mode, _, tokens = variant.partition(":")
    settings = IndexSettings(chunks=mode, chunk_tokens=int(tokens))  # type: ignore[arg-type]
    search = make("retrieve.hybrid", {"k": POOL, **retriever}).search
    rows: list[tuple[float, ...]] = []
    with tempfile.TemporaryDirectory() as folder:
        started = perf_counter()
        with open_index(folder, embedder, chunker(settings), mode="write") as index:
            report = index.update(Discovery(()), lambda what, done, total: None, corpora)
        indexing_s = perf_counter() - started
        with open_index(folder, embedder, chunker(settings)) as index:
            runtime: Any = SimpleNamespace(
                index=index, embedder=embedder, note=lambda text, once=False: None, reader=_Counting(embedder)
            )
            for one in asked:
                found = search(Question(one.text), runtime)
                counts = embedder.count_tokens([passage.text for passage in found])
                rows.append((*measured(one, found[:K]), *measured(one, within(found, counts))))
    values = np.array(rows)
    names = ("recall_at_5", "precision_at_5", "iou_at_5", "recall_in_800", "precision_in_800", "iou_in_800")
    means = {name: round(float(value), 4) for name, value in zip(names, values.mean(0), strict=True)}
    return {
        "variant": variant,
        "n_chunks": report.n_chunks,
        "indexing_s": round(indexing_s, 1),
        **means,
        "rows": values,
    }


class _Counting:
    """Counts a text's tokens for retrieve.parents, with the embedder's tokenizer."""

    def __init__(self, embedder: Embedder) -> None:
        self.count_text = lambda text: embedder.count_tokens([text])[0]


def interval(first: Any, other: Any, column: int) -> list[float]:
    """Of the mean difference, question by question: 95 %."""
    difference = other[:, column] - first[:, column]
    draws = np.random.default_rng(0).integers(0, len(difference), (2000, len(difference)))
    return [round(float(value), 4) for value in np.quantile(difference[draws].mean(1), [0.025, 0.975])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, help="about so many of the questions, evenly drawn")
    parser.add_argument("--corpora", nargs="+", default=NAMES, choices=NAMES)
    parser.add_argument("--variants", nargs="+", default=VARIANTS, help="MODE:TOKENS")
    parser.add_argument("--retriever", type=json.loads, default={}, help="settings of retrieve.hybrid, as JSON")
    arguments = parser.parse_args()
    switch_off_telemetry()
    embedder = open_embedder(IndexSettings())
    asked = questions(arguments.corpora, arguments.limit)
    corpora = documents(arguments.corpora)
    results = []
    for variant in arguments.variants:
        results.append(run(variant, arguments.retriever, corpora, asked, embedder))
        print({name: value for name, value in results[-1].items() if name != "rows"}, flush=True)
    first = results[0]["rows"]
    for result in results:
        rows = result.pop("rows")
        result["interval_at_5"], result["interval_in_800"] = interval(first, rows, 2), interval(first, rows, 5)
    print(
        json.dumps(
            {
                "n_questions": len(asked),
                "corpora": arguments.corpora,
                "retriever": arguments.retriever,
                "variants": results,
            }
        )
    )


if __name__ == "__main__":
    main()
