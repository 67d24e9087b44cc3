"""A batch over few documents, and an evaluation of three pipelines: seconds and tokens when passages are read once.

    .venv/bin/python benchmarks/read_once.py [--model PATH] [--n 50] [--documents 20] [--part batch|evaluation|all]

Questions of XQuAD (English) on 20 of its 240 paragraphs, five articles of four; a block of questions is answered by
each way before the next block, so that a machine that slows down slows down all ways. Every way begins with an empty
store, and reading its passages is part of its seconds. `cpu_s` are processor seconds, which a busy machine does not
stretch. Use --n 25 --documents 10 for a shorter run.

batch, up to 16 answers at a time:
- `exact`: eight chunks are retrieved and read for every question, which is what the engine did before cells were kept;
- `passages`: the same chunks, whose cells are kept and put together;
- `exact_sentences`: compress.exit_mini keeps five sentences, which are read;
- `sentences`: the cells of the same sentences are cut out of those of their chunks.

evaluation, one question at a time, in turns, by `evaluate` as `longthread eval` calls it: three pipelines (whole
passages of five chunks; five sentences by exit_mini; five sentences by cosine), first with `reuse: exact`, then with
`passages` or `sentences`. `read` are tokens decoded for prompts, those of passages that were read to be kept included;
`stored` those of passages; `chunks` the tokens of all texts that could be kept. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.batch import Batch, blocks, interval
from pipeline.config import PipelineConfig
from pipeline.contracts import Component
from pipeline.docs_index import docs_folder, update_index
from pipeline.evaluation.answers import best, f1
from pipeline.evaluation.corpus import materialise
from pipeline.evaluation.data.kinds import read_data
from pipeline.evaluation.evaluate import EvalOptions, Method, evaluate
from pipeline.executors.folder import read_run
from pipeline.executors.local import LocalExecutor
from pipeline.executors.samples import Sample
from pipeline.executors.tasks import Task
from pipeline.gguf.tune import machine
from pipeline.offline import switch_off_telemetry
from pipeline.pipeline import Pipeline
from pipeline.registry import make
from pipeline.types import Question

ROOT = Path(__file__).parent.parent
N_ARTICLES = 5
EXIT = make("compress.exit_mini", {"keep_ratio": None, "top_k": 5})
COSINE = make("compress.sentences", {"top_k": 5, "score": "cosine"})


# ---------------------------------------------------------------------------------------------------------------- data
def write_subset(source: Path, target: Path, n_documents: int, n: int, seed: int) -> None:
    """A file like XQuAD's with some paragraphs of a few articles, and n of their questions."""
    rng = random.Random(seed)
    articles = rng.sample(json.loads(source.read_text("utf-8"))["data"], N_ARTICLES)
    chosen = [dict(article, paragraphs=article["paragraphs"][: n_documents // N_ARTICLES]) for article in articles]
    questions = [qa["id"] for article in chosen for paragraph in article["paragraphs"] for qa in paragraph["qas"]]
    if len(questions) < n:
        raise SystemExit(f"{n_documents} documents have {len(questions)} questions, and {n} are wanted: lower --n")
    kept = set(rng.sample(questions, n))
    for article in chosen:
        for paragraph in article["paragraphs"]:
            paragraph["qas"] = [qa for qa in paragraph["qas"] if qa["id"] in kept]
    target.write_text(json.dumps({"version": "1.1", "data": chosen}), "utf-8")


def config(name: str, model: str, stages: Sequence[Component], reuse: str, k: int, max_tokens: int) -> PipelineConfig:
    settings = (("model", model), ("n_ctx", 2048), ("n_cells", 4096), ("max_tokens", max_tokens))
    return PipelineConfig(
        f"{name}.yaml",
        (
            make("retrieve.hybrid", {"k": k}),
            *stages,
            make("assemble.cited", {"reuse": reuse}),
            make("generate.llama", dict(settings)),
        ),
    )


@contextmanager
def cache(folder: Path) -> Iterator[None]:
    """Inside, kept cells are those of this folder."""
    before = os.environ.get("LONGTHREAD_CACHE")
    os.environ["LONGTHREAD_CACHE"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["LONGTHREAD_CACHE"]
        else:
            os.environ["LONGTHREAD_CACHE"] = before


def read_tokens(folder: Path) -> dict[str, int]:
    generations = [record.result.to_dict()["ledger"]["generation"] for record in read_run(folder).ok if record.result]
    total = {
        name: sum(one[f"{name}_tokens"] for one in generations if one)
        for name in ("prompt", "reused", "restored", "stored")
    }
    read = total["prompt"] - total["reused"] - total["restored"] + total["stored"]
    return total | {"read": read}


# --------------------------------------------------------------------------------------------------------------- batch
def measure_batch(
    options: argparse.Namespace, index: Path, samples: Sequence[Sample], golds: dict[str, list[str]], work: Path
) -> dict[str, Any]:
    kinds: dict[str, tuple[tuple[Component, ...], str]] = {
        "exact": ((), "exact"),
        "passages": ((), "passages"),
        "exact_sentences": ((EXIT,), "exact"),
        "sentences": ((EXIT,), "sentences"),
    }
    ways: dict[str, Batch] = {}
    cpu = dict.fromkeys(options.ways, 0.0)
    for name in options.ways:
        stages, reuse = kinds[name]
        with cache(work / f"cells-{name}"):
            settings = config(name, options.model, stages, reuse, 8, options.max_tokens)
            pipeline = Pipeline(settings, index)
            ways[name] = Batch(settings, index, LocalExecutor(pipeline), work / f"batch-{name}")
            if not pipeline.reader.why_not_compose:  # type: ignore[attr-defined]
                pipeline.reader.pieces  # type: ignore[attr-defined]  # noqa: B018 - its folder is this one from now on
            warm = Task(0, "warm", Sample(Question("Why is the sea salt?", "warm")))
            if reuse == "exact":  # the others would have read its passages
                list(ways[name].executor.run(iter([warm]), 0, lambda n: None))
    for n, block in enumerate(blocks(samples, options.block), 1):
        for name, way in ways.items():
            with cache(work / f"cells-{name}"):
                start = process_time()
                way.run(block)
                cpu[name] += process_time() - start
        so_far = ", ".join(f"{name} {way.way.seconds:.1f} ({cpu[name]:.1f})" for name, way in ways.items())
        print(f"block {n}: seconds (and processor seconds) so far: {so_far}", file=sys.stderr, flush=True)
    seconds = {name: way.way.seconds for name, way in ways.items()}
    scores = {}
    for name, way in ways.items():
        answers = way.end().said
        scores[name] = [best(f1, answers[sample.question.id], golds[sample.question.id]) for sample in samples]
    result: dict[str, Any] = {
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "cpu_s": {name: round(value, 2) for name, value in cpu.items()},
        "f1": {name: round(float(np.mean(values)), 4) for name, values in scores.items()},
        "tokens": {name: read_tokens(work / f"batch-{name}") for name in ways},
    }
    for name, base in (("passages", "exact"), ("sentences", "exact"), ("sentences", "exact_sentences")):
        if name in ways and base in ways:
            mean, low, high = interval(np.subtract(scores[name], scores[base]).tolist(), options.seed)
            result[f"{name}_over_{base}"] = {
                "speedup": round(seconds[base] / seconds[name], 2),
                "cpu_speedup": round(cpu[base] / cpu[name], 2),
                "f1_diff": {"mean": round(mean, 4), "low": round(low, 4), "high": round(high, 4)},
            }
    return result


# ---------------------------------------------------------------------------------------------------------- evaluation
def measure_evaluation(options: argparse.Namespace, data_path: Path, work: Path) -> dict[str, Any]:
    kinds = {"whole": ((), "passages", 5), "exit": ((EXIT,), "sentences", 8), "cosine": ((COSINE,), "sentences", 8)}
    data = read_data("squad", str(data_path))
    result: dict[str, Any] = {}
    for name in ("today", "read_once"):
        methods = []
        for method, (stages, reuse, k) in kinds.items():
            reuse = "exact" if name == "today" else reuse
            methods.append(Method(method, config(method, options.model, stages, reuse, k, options.max_tokens)))
        start = perf_counter()
        with cache(work / f"eval-cache-{name}"):
            evaluate(methods, data, data_path, work / f"eval-{name}", EvalOptions(turns=2, executor="local"))
        tokens = {method.name: read_tokens(work / f"eval-{name}" / method.name) for method in methods}
        result[name] = {
            "read": sum(one["read"] for one in tokens.values()),
            "stored": {method: one["stored"] for method, one in tokens.items()},
            "read_by_pipeline": {method: one["read"] for method, one in tokens.items()},
            "seconds": round(perf_counter() - start, 1),
        }
        print(f"evaluation, {name}: {json.dumps(result[name])}", file=sys.stderr, flush=True)
    result["read_over_today"] = round(result["read_once"]["read"] / result["today"]["read"], 3)
    return result


def chunk_tokens(settings: PipelineConfig, index: Path) -> int:
    """Tokens of all passages of an index, as they are read to be kept."""
    with Pipeline(replace(settings), index) as pipeline:
        assembler: Any = pipeline.assembler
        passages = [chunk for source in pipeline.index.sources for chunk in pipeline.index.passages(source)]
        return sum(
            sum(pipeline.reader.count_text(text) for text in span.texts)
            for prompt in assembler.excerpts_ahead(passages, pipeline)
            for span in prompt
            if len(span.texts) > 1
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--n", type=int, default=50)
    parser.add_argument("--documents", type=int, default=20)
    parser.add_argument("--block", type=int, default=10, help="questions that a way answers before the next way")
    parser.add_argument("--max-tokens", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", choices=("all", "batch", "evaluation"), default="all")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "xquad" / "xquad.en.json")
    parser.add_argument("--ways", default="exact,passages,exact_sentences,sentences", help="of the batch")
    options = parser.parse_args()
    options.ways = options.ways.split(",")
    switch_off_telemetry()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="longthread-read-once-") as name:
        work = Path(name)
        data_path = work / "questions.json"
        write_subset(options.data, data_path, options.documents, options.n, options.seed)
        with cache(work / "cache"):
            data = read_data("squad", str(data_path))
            corpus = materialise(data, lambda *_: None)
            settings = config("all", options.model, (), "passages", 8, options.max_tokens)
            index = docs_folder([str(corpus.documents)], settings.index)
            update_index(index, [str(corpus.documents)], settings.index, lambda *_: None)
            chunks = chunk_tokens(settings, index)
        samples = [Sample(replace(item.question, documents=())) for item in data.items]
        samples = random.Random(options.seed).sample(samples, len(samples))
        golds = {item.question.id: list(item.gold.answers or ()) for item in data.items}
        result: dict[str, Any] = {"n": len(samples), "documents": options.documents, "chunks": chunks}
        result |= {"model": options.model, "seed": options.seed, "machine": machine(), "load_before": round(load, 2)}
        if options.part in ("all", "batch"):
            result["batch"] = measure_batch(options, index, samples, golds, work)
        if options.part in ("all", "evaluation"):
            result["evaluation"] = measure_evaluation(options, data_path, work)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
