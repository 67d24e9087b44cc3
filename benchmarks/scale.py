"""How search and memory grow with the index: synthetic chunks with synthetic vectors, through the real index.

    python benchmarks/scale.py --chunks 100000

Files of 100 short paragraphs, each a chunk; 384 dimensions, around 1000 centres, from a seed. The only part that is not
the real one is the embedder: it makes a text's vector from the number that the text begins with. Each size is searched
in a process of its own, whose resident memory is reported; `recall_at_10` is against the exact search. The last line is
JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent.parent))

from pipeline.contracts import Progress
from pipeline.documents.chunking import Chunker
from pipeline.documents.discover import discover
from pipeline.offline import switch_off_telemetry
from pipeline.retrieval.open_index import open_index

DIMENSION = 384
N_CENTRES = 1000
N_QUESTIONS = 200
PER_FILE = 100
SIZES = (10_000, 30_000, 100_000)
CHUNKER = Chunker(tokens=16)
WORDS = [f"{first}{last}" for first in "ba de fi go ku la me ni po ra".split() for last in "lk rn st mp ct".split()]


def vector(number: int, spread: float = 1.0) -> NDArray[np.float32]:
    """The unit vector of a number: a centre and noise of its own; the same in every process."""
    rng = np.random.default_rng(number + 1)
    centre = np.random.default_rng([7, number % N_CENTRES]).normal(size=DIMENSION)
    found = centre + spread * rng.normal(size=DIMENSION)
    return np.asarray(found / np.linalg.norm(found), np.float32)


class Lookup:
    """Makes vectors from numbers. A token is a word."""

    name = "lookup"
    fingerprint = "lookup"
    dimension = DIMENSION
    max_tokens = 64

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def embed(self, texts: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]:
        return np.stack([vector(int(text.split()[0])) for text in texts])

    def token_vectors(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        raise NotImplementedError

    def token_spans(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        raise NotImplementedError


def write_files(folder: Path, first: int, last: int) -> None:
    folder.mkdir(exist_ok=True)
    for start in range(first, last, PER_FILE):
        rng = random.Random(start)
        pages = [f"{n} " + " ".join(rng.choices(WORDS, k=11)) for n in range(start, min(start + PER_FILE, last))]
        (folder / f"{start:07}.txt").write_text("\n\n".join(pages))


def search(folder: Path) -> None:
    """Searches an index and prints what was found, how fast, and in how much memory: a process of its own."""
    import psutil

    with open_index(folder, Lookup(), CHUNKER) as index:
        questions = [f"{10_000_000 + n} " + " ".join(random.Random(n).sample(WORDS, 3)) for n in range(N_QUESTIONS)]
        started = perf_counter()
        index.search_dense(questions[0], 8)
        first_s = perf_counter() - started
        found: list[list[int]] = []
        seconds: dict[str, list[float]] = {"dense": [], "bm25": []}
        for question in questions:
            started = perf_counter()
            passages = index.search_dense(question, 10)
            seconds["dense"].append(perf_counter() - started)
            found.append([int(passage.text.split()[0]) for passage in passages])
            started = perf_counter()
            index.search_bm25(question.partition(" ")[2], 10)
            seconds["bm25"].append(perf_counter() - started)
        resident = psutil.Process().memory_info().rss
    print(json.dumps({"found": found, "seconds": seconds, "first_s": first_s, "resident": resident}))


def percentile(seconds: Sequence[float], percent: int) -> float:
    return round(statistics.quantiles(seconds, n=100)[percent - 1] * 1000, 2)


def recall(found: Sequence[Sequence[int]], corpus: NDArray[np.float32]) -> float:
    hits = 0
    for n, numbers in enumerate(found):
        exact = np.argsort(-(corpus @ vector(10_000_000 + n)), kind="stable")[:10]
        hits += len(set(exact.tolist()) & set(numbers))
    return round(hits / (10 * len(found)), 4)


def measure(folder: Path, docs: Path, first: int, size: int) -> dict[str, Any]:
    write_files(docs, first, size)
    started = perf_counter()
    with open_index(folder, Lookup(), CHUNKER, mode="write") as index:
        report = index.update(discover([str(docs)]), lambda what, done, total: None)
    seconds = perf_counter() - started
    assert report.n_chunks == size, report
    line = subprocess.run(
        [sys.executable, __file__, "--search", str(folder)], capture_output=True, text=True, check=True
    ).stdout.splitlines()[-1]
    seen = json.loads(line)
    return {
        "chunks": size,
        "p50_ms": percentile(seen["seconds"]["dense"], 50),
        "p95_ms": percentile(seen["seconds"]["dense"], 95),
        "first_ms": round(seen["first_s"] * 1000, 1),
        "bm25_p50_ms": percentile(seen["seconds"]["bm25"], 50),
        "bm25_p95_ms": percentile(seen["seconds"]["bm25"], 95),
        "resident_mb": round(seen["resident"] / 1e6, 1),
        "recall_at_10": recall(seen["found"], np.stack([vector(n) for n in range(size)])),
        "added_per_s": round((size - first) / seconds, 1),
        "disk_mb": round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=SIZES[-1], help="the largest size")
    parser.add_argument("--search", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    switch_off_telemetry()
    if arguments.search:
        search(arguments.search)
        return
    load = os.getloadavg()[0]
    sizes: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder, docs = Path(temporary) / "index", Path(temporary) / "docs"
        first = 0
        for size in [size for size in SIZES if size < arguments.chunks] + [arguments.chunks]:
            sizes.append(measure(folder, docs, first, size))
            print(json.dumps(sizes[-1]), flush=True)
            first = size
    print(json.dumps({"dimension": DIMENSION, "sizes": sizes, "load_before": round(load, 2), "cores": os.cpu_count()}))


if __name__ == "__main__":
    main()
