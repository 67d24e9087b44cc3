"""Clustered RAG on reviews: what it saves, what its answers are worth, and what the second question costs. Prints JSON.

    .venv/bin/pip install --no-deps --target .peers -r benchmarks/peers.txt
    .venv/bin/python benchmarks/clustered.py --set opinosis --topics 12 [--model PATH]

For each topic (opinosis) or product (amazon), and for 4, 16, 75 of its reviews (as many as there are): a question about
the gist is answered from the reviews as they are (`none`) and from summaries of their clusters (`crag`). `tokens` are
those of the passages in the prompt, `reduction` the share saved; `rouge1`, `rougeL` compare the answer with the human
summaries (F, mean over them); `s_first` is a question with nothing in the cache, `s_second` another one on the same
reviews. `rouge1_of_another`: the control, the same answers against the summaries of the next topic.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.append(str(Path(__file__).parent.parent / ".peers"))

import numpy as np

from benchmarks.compression import ROOT, interval
from pipeline.config import PipelineConfig
from pipeline.gguf.catalogue import resolve
from pipeline.gguf.tune import machine
from pipeline.pipeline import Pipeline
from pipeline.registry import make
from pipeline.types import Document, Question, State

SIZES = (4, 16, 75)
GIST = "Overall, what do the reviewers say about {topic}? Answer in two or three sentences."
SECOND = "What are the main points of these reviews about {topic}, in general?"
INSTRUCTIONS = "Answer the question from the passages. Write only the answer."
METHODS = ("none", "crag")


@dataclass(frozen=True)
class Topic:
    """Reviews, or sentences of reviews, and what people made of them."""

    name: str
    reviews: tuple[str, ...]
    summaries: tuple[str, ...]


def opinosis(folder: Path) -> list[Topic]:
    with zipfile.ZipFile(next(folder.glob("opinosis/*.zip"))) as archive:
        texts = {name: archive.read(name).decode("latin-1") for name in archive.namelist() if not name.endswith("/")}
    result = []
    for name, text in sorted(texts.items()):
        if not name.endswith(".txt.data"):
            continue
        topic = name.rsplit("/", 1)[-1].removesuffix(".txt.data")
        golds = tuple(
            " ".join(t.split()) for n, t in sorted(texts.items()) if f"/{topic}." in n and n.endswith(".gold")
        )
        reviews = tuple(" ".join(line.split()) for line in text.splitlines() if line.strip())
        result.append(Topic(topic.replace("_", " "), reviews, golds))
    return result


def amazon(folder: Path) -> list[Topic]:
    result = []
    for name in ("train", "val", "test"):
        with (folder / "fewsum_amazon" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                reviews = tuple(row[f"rev{n}"] for n in range(1, 9))
                result.append(Topic(f"this product ({row['cat']})", reviews, tuple(row[f"summ{n}"] for n in (1, 2, 3))))
    return result


def config_of(method: str, model: str) -> PipelineConfig:
    compress = () if method == "none" else (make("compress.crag", {"words": 30, "max_tokens": 64}),)
    generate = make("generate.llama", {"model": model, "n_ctx": 8192, "n_cached": 0, "max_tokens": 96})
    assemble = make("assemble.cited", {"instructions": INSTRUCTIONS, "show_titles": False})
    return PipelineConfig("the benchmark", (make("retrieve.given"), *compress, assemble, generate))


def ask(pipeline: Pipeline, question: str, topic: Topic, reviews: list[str]) -> tuple[State, float]:
    documents = tuple(Document(f"{topic.name} {n}", text) for n, text in enumerate(reviews))
    state = pipeline.ask(Question(question, documents=documents))
    return state, sum(entry.seconds for entry in state.ledger.stages)


def rouge(text: str, golds: tuple[str, ...]) -> tuple[float, float]:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge1", "rougeL"], use_stemmer=True)
    scores = [scorer.score(gold, text) for gold in golds]
    return tuple(float(np.mean([score[key].fmeasure for score in scores])) for key in ("rouge1", "rougeL"))  # type: ignore[return-value]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=("opinosis", "amazon"), default="opinosis")
    parser.add_argument("--topics", type=int, default=12)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    options = parser.parse_args()
    topics = opinosis(options.data) if options.set == "opinosis" else amazon(options.data)
    chosen = random.Random(options.seed).sample(topics, min(options.topics, len(topics)))
    rows = measure(chosen, options.model, options.seed)
    about = {
        "set": options.set,
        "topics": len(chosen),
        "seed": options.seed,
        "model": resolve(options.model).name,
        "machine": machine(),
        "load": os.getloadavg()[0],
    }
    print(json.dumps({"about": about, **results(rows, options.seed)}))


def measure(topics: list[Topic], model: str, seed: int) -> list[dict[str, Any]]:
    """One row for each topic, size and method."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LONGTHREAD_CACHE"] = folder  # nothing was made before
        pipelines = {method: Pipeline(config_of(method, model), ROOT / "nowhere") for method in METHODS}
        pipelines["crag"] = pipelines["none"].changed(pipelines["crag"].config, ROOT / "nowhere")  # one model, one load
        for n, topic in enumerate(topics):
            other = topics[(n + 1) % len(topics)]
            sizes = [size for size in SIZES if size <= len(topic.reviews)]
            for size in sizes or [len(topic.reviews)]:
                reviews = random.Random(seed).sample(topic.reviews, size)
                for method in METHODS:
                    pipeline = pipelines[method]
                    first, s_first = ask(pipeline, GIST.format(topic=topic.name), topic, reviews)
                    _, s_second = ask(pipeline, SECOND.format(topic=topic.name), topic, reviews)
                    reply = first.answer.text if first.answer else ""
                    rouge1, rouge_l = rouge(reply, topic.summaries)
                    rows.append(
                        {
                            "method": method,
                            "size": size,
                            "tokens": first.ledger.stages[-2].tokens_out,
                            "rouge1": rouge1,
                            "rougeL": rouge_l,
                            "rouge1_of_another": rouge(reply, other.summaries)[0],
                            "s_first": s_first,
                            "s_second": s_second,
                        }
                    )
            print(f"{n + 1} of {len(topics)}", file=sys.stderr, flush=True)
        for pipeline in pipelines.values():
            pipeline.close()
    return rows


def results(rows: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    report: dict[str, Any] = {}
    for size in sorted({row["size"] for row in rows}):
        of = {method: [r for r in rows if r["size"] == size and r["method"] == method] for method in METHODS}
        block: dict[str, Any] = {"n": len(of["none"])}
        for method, some in of.items():
            keys = ("tokens", "rouge1", "rougeL", "rouge1_of_another", "s_first", "s_second")
            block[method] = {key: round(float(np.mean([row[key] for row in some])), 4) for key in keys}
        block["reduction"] = round(1 - block["crag"]["tokens"] / block["none"]["tokens"], 4)
        pairs = zip(of["crag"], of["none"], strict=True)
        diff, low, high = interval([a["rouge1"] - b["rouge1"] for a, b in pairs], seed)
        block |= {"rouge1_diff": round(diff, 4), "rouge1_diff_low": round(low, 4), "rouge1_diff_high": round(high, 4)}
        block["second_over_first"] = round(block["crag"]["s_second"] / block["crag"]["s_first"], 4)
        report[str(size)] = block
    return report


if __name__ == "__main__":
    main()
