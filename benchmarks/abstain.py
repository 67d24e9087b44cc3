"""How well gate.support tells questions that the documents answer from those that they do not, before a model reads.

    python benchmarks/abstain.py [--n 200] [--seed 0] [--cost 3] [--words]

Questions of XQuAD (eval: measured, never tuned on), searched in all its paragraphs as the built-in pipeline searches:
once as they are, and once with the paragraph that holds the answer taken out, while the others of its article stay.
Prints one JSON line: `answerable_kept`, `absent_refused` and their mean `balanced_accuracy`; at other costs as well.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from pipeline.answers.support import Support
from pipeline.errors import LongthreadError
from pipeline.evaluation.data.items import json_items
from pipeline.retrieval import remembered
from pipeline.retrieval.embedder import open_embedder
from pipeline.retrieval.hybrid import Hybrid
from pipeline.types import Document, Question
from training.abstain.examples import MemoryIndex, chunks_of
from training.abstain.fit import ROOM, auc

ROOT = Path(__file__).parent.parent
COSTS = (1.0, 2.0, 3.0, 4.0)


def questions(path: Path) -> tuple[list[Document], list[tuple[str, str]]]:
    """The paragraphs as documents, and each question with the source of its paragraph."""
    documents, pairs = [], []
    for _, item in json_items(path):
        for article in item["data"]:
            title = article["title"].replace("_", " ")
            for n, paragraph in enumerate(article["paragraphs"]):
                documents.append(Document(f"{title} {n}", paragraph["context"], title=title))
                pairs += [(question["question"], documents[-1].source) for question in paragraph["qas"]]
    return documents, pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "xquad" / "xquad.en.json")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cost", type=float, default=Support().cost)
    parser.add_argument("--words", action="store_true", help="without vectors")
    options = parser.parse_args()
    gate = Support(cost=options.cost, min_similarity=None if options.words else Support().min_similarity)
    remembered.KEPT = remembered.Kept(ROOM)
    try:
        embedder = open_embedder("minilm")
        documents, pairs = questions(options.data)
        index = MemoryIndex(chunks_of(documents, embedder), embedder, is_quick=False)
        runtime: Any = SimpleNamespace(index=index, embedder=embedder, note=print)
        drawn = random.Random(options.seed).sample(pairs, min(options.n, len(pairs)))
        refused: dict[bool, list[bool]] = {True: [], False: []}
        probabilities: dict[bool, list[float]] = {True: [], False: []}
        started = perf_counter()
        for text, source in drawn:
            for is_there in (True, False):
                index.hidden = frozenset() if is_there else frozenset({source})
                question = Question(text)
                verdict = gate.judge(question, Hybrid(k=8).search(question, runtime), runtime)
                refused[is_there].append(verdict.why is not None)
                probabilities[is_there].append(1.0 if verdict.probability is None else verdict.probability)
    except LongthreadError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    here, gone = (np.array(probabilities[key]) for key in (True, False))
    kept, absent = 1 - float(np.mean(refused[True])), float(np.mean(refused[False]))
    others = {cost: (float((here >= 1 / (1 + cost)).mean()), float((gone < 1 / (1 + cost)).mean())) for cost in COSTS}
    report = {
        "set": options.data.name,
        "n": len(drawn),
        "seed": options.seed,
        "cost": options.cost,
        "vectors": not options.words,
        "answerable_kept": round(kept, 4),
        "absent_refused": round(absent, 4),
        "balanced_accuracy": round((kept + absent) / 2, 4),
        "auc": round(auc(np.concatenate([here, gone]), np.arange(2 * len(here)) < len(here)), 4),
        "at_cost": {
            f"{cost:g}": [round(share, 3) for share in (*pair, sum(pair) / 2)] for cost, pair in others.items()
        },
        "seconds_a_question": round((perf_counter() - started) / (2 * len(drawn)), 3),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
