"""What it costs and what it saves to put passages' kept cells together instead of reading them. Prints one JSON line.

    .venv/bin/python benchmarks/cells.py [--model PATH] [--set xquad|hotpotqa|2wiki|harbour] [--n N] [--ways A,B]

The built-in pipeline without its gate, with the prompts that users get, in these ways, which take turns on each
question: `read_all` reads the retrieved passages; `read_sentences` reads the sentences that compress.exit_mini chooses;
`passages_k<k>` is `reuse: passages` with `reread: <k>`; `sentences` is `reuse: sentences` behind compress.exit_mini.
The passages of a question were read before (what that took is `first_time_cost`, over plain reading, for a token), the
prompt's beginning up to the passages is in the cache in every way, and nothing else is: no vectors of sentences, no
other prompt.

Each way has `f1` (of what is shown; `f1_model`: of what the model wrote), with paired differences to read_all and to
read_sentences (bootstrap, 95 %), `gold_logprob` (of a token of the right answer), `ttft_s` (of the prompt alone) and
`arrival_s` (from the question's arrival to the first token: retrieval, choice and laying out included; `_cpu_s` in
processor seconds of this process, which a busy machine does not stretch), each over that of read_all, `stages_s`, and
of the prompt `cells`, `restored` and `read`.

xquad: 240 paragraphs in an index, five passages retrieved; harbour: its documents, likewise; hotpotqa, 2wiki: the
question's own documents. Only rows marked eval in ../shared/data/INDEX.md are read.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.compression import difference, questions_of, sample
from pipeline.config import PipelineConfig
from pipeline.contracts import Component
from pipeline.docs_index import update_index
from pipeline.evaluation.answers import f1
from pipeline.models import cell_files
from pipeline.models.capabilities import before_answer
from pipeline.models.catalogue import resolve
from pipeline.models.engine import Engine
from pipeline.models.tune import machine
from pipeline.pipeline import Pipeline
from pipeline.registry import make
from pipeline.retrieval import remembered
from pipeline.stages import run_stage
from pipeline.types import Document, Prompt, Question, State

ROOT = Path(__file__).parent.parent
BASES = ("read_all", "read_sentences")
MAX_TOKENS = 32


@dataclass(frozen=True)
class Asked:
    """A question with its right answers."""

    question: Question
    answers: tuple[str, ...]


@dataclass
class Way:
    """A pipeline, and what was measured with it, question by question."""

    runtime: Pipeline
    begin: Prompt = ()
    values: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    stages: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def mean(self, name: str) -> float:
        return float(np.mean(self.values[name]))


# ---------------------------------------------------------------------------------------------------------- the data
def read(name: str, n: int, seed: int, data: Path) -> tuple[list[Asked], list[Document], list[str]]:
    """Questions, the documents of the index that are given, and the paths of those that are not."""
    if name == "harbour":
        lines = (data / "harbour" / "questions.jsonl").read_text("utf-8").splitlines()
        rows = [row for row in map(json.loads, lines) if row.get("answers")]
        asked = [Asked(Question(row["question"]), tuple(row["answers"])) for row in rows]
        return asked[:n], [], [str(data / "harbour" / "docs")]
    everything = questions_of(name, data)
    chosen = sample(everything, n, seed)
    if name == "xquad":
        asked = [Asked(Question(one.question), tuple(one.answers)) for one in chosen]
        passages = {p.source: p for one in everything for p in one.units.passages}
        return asked, [Document(p.source, p.text, title=p.title) for p in passages.values()], []
    asked = []
    for one in chosen:
        documents = tuple(Document(p.source, p.text, title=p.title) for p in one.units.passages)
        asked.append(Asked(Question(one.question, documents=documents), tuple(one.answers)))
    return asked, [], []


def stages_of(way: str, name: str, model: str, n_ctx: int, threads: int | str = "auto") -> tuple[Component, ...]:
    """The built-in pipeline's stages in one of the ways."""
    given = name in ("hotpotqa", "2wiki")
    retrieve = make("retrieve.given") if given else make("retrieve.hybrid", {"k": 5})
    chooses = way in ("read_sentences", "sentences")
    limits = (("keep_ratio", 0.3),) if given else (("keep_ratio", None), ("top_k", 5))
    compress = (make("compress.exit_mini", dict(limits)),) if chooses else ()
    cited: tuple[tuple[str, Any], ...] = (("reuse", "sentences"),) if way == "sentences" else ()
    if way.startswith("passages_k"):
        cited = (("reuse", "passages"), ("reread", int(way.removeprefix("passages_k"))))
    engine = (("model", model), ("max_tokens", MAX_TOKENS), ("n_ctx", n_ctx), ("threads", threads))
    generate = make("generate.llama", dict(engine))
    return (retrieve, *compress, make("assemble.cited", dict(cited)), generate)


# --------------------------------------------------------------------------------------------------------- measuring
class Bench:
    """One engine for all ways. `piece_s` and `piece_tokens`: what reading passages to keep their cells took."""

    def __init__(self, engine: Engine, has_second_attempts: bool) -> None:
        self.engine = engine
        self.has_second_attempts = has_second_attempts
        self.piece_s, self.piece_tokens = 0.0, 0

    def measure(self, way: Way, asked: Asked) -> None:
        runtime, engine = way.runtime, self.engine
        self._read_passages(way, asked)
        started, cpu_started = perf_counter(), process_time()
        first: list[float] = []

        def on_text(text: str) -> None:
            if not first:
                first.extend((perf_counter() - started, process_time() - cpu_started))

        runtime.on_text = on_text
        state = self._answered(runtime, asked.question)
        if not first:
            on_text("")
        done, answer = state.ledger.generation, state.answer
        assert done is not None and answer is not None  # noqa: PT018
        prompt = before_answer(engine, state.prompt)
        values = {
            "f1": max(f1(answer.text, gold) for gold in asked.answers),
            "f1_model": max(f1(done.text, gold) for gold in asked.answers),
            "gold_logprob": engine.score(prompt, [""], [asked.answers[0]])[0, 0] / engine.count_text(asked.answers[0]),
            "ttft_s": done.prefill_s,
            "arrival_s": first[0],
            "arrival_cpu_s": first[1],
            "cells": done.prompt_tokens,
            "restored": done.restored_tokens,
            "read": done.read_tokens,
        }
        for name, value in values.items():
            way.values[name].append(float(value))
        for entry in state.ledger.stages[:-1]:
            way.stages[entry.stage].append(entry.seconds)

    def _answered(self, runtime: Pipeline, question: Question) -> State:
        """What `Pipeline.ask` gives, without a second attempt where these are left out."""
        state = State(question, ledger=runtime.ledger)
        for stage in runtime.config.stages:
            if not self.has_second_attempts:
                state = replace(state, second_prompt=())
            state = run_stage(stage, state, runtime, runtime.reserve)
        return state

    def _read_passages(self, way: Way, asked: Asked) -> None:
        """Everything as it is when the passages were read for another question: their cells are kept, and the cache
        holds the beginning of the prompt.
        """
        runtime, engine = way.runtime, self.engine
        is_reused = runtime.assembler.reuse != "exact" and not engine.why_not_compose  # type: ignore[attr-defined]
        if is_reused or not way.begin:
            state = State(asked.question, ledger=runtime.ledger)
            for stage in runtime.config.stages[:-1]:
                state = run_stage(stage, state, runtime, runtime.reserve)
            way.begin = beginning(state.prompt)
        if is_reused:
            n_before, s_before = engine.pieces.n_read, engine.pieces.read_s
            engine.cells(state.prompt)
            self.piece_s += engine.pieces.read_s - s_before
            self.piece_tokens += engine.pieces.n_read - n_before
        engine.pool.forget()
        engine.next_logprobs(way.begin)
        remembered.KEPT = remembered.Kept()


def beginning(prompt: Prompt) -> Prompt:
    """The prompt up to its passages."""
    n = next((n for n, span in enumerate(prompt) if span.part == "passages"), len(prompt))
    return prompt[:n]


def results(ways: dict[str, Way], seed: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, way in ways.items():
        row: dict[str, Any] = {key: round(way.mean(key), 4) for key in way.values}
        for key in ("ttft", "arrival", "arrival_cpu"):
            if "read_all" in ways:
                row[f"{key}_over_read_all"] = round(way.mean(f"{key}_s") / ways["read_all"].mean(f"{key}_s"), 4)
        row["stages_s"] = {stage: round(float(np.mean(seconds)), 4) for stage, seconds in way.stages.items()}
        for base in BASES:
            if base in ways and name != base:
                for key in ("f1", "f1_model"):
                    mean, low, high = difference(way.values[key], ways[base].values[key], seed)
                    row[f"{key}_to_{base}"] = {"diff": mean, "diff_low": low, "diff_high": high}
        found[name] = row
    return found


def line(options: argparse.Namespace, ways: dict[str, Way], bench: Bench, folder: Path) -> dict[str, Any]:
    """What is printed."""
    engine = bench.engine
    plain = [ways[name].values for name in BASES if name in ways]
    per_token = sum(sum(v["ttft_s"]) for v in plain) / max(1, sum(sum(v["read"]) for v in plain))
    n_files, n_bytes = cell_files.size_of(folder / "pieces")
    result = {
        "set": options.set,
        "n": len(next(iter(ways.values())).values["f1"]),
        "seed": options.seed,
        "model": engine.name,
        "why_not_compose": engine.why_not_compose,
        **results(ways, options.seed),
        "layout": "focus-sentence unless 'models try' ran",
        "disk_mb": round(n_bytes / 1e6, 1),
        "n_pieces": n_files,
        "machine": machine(),
        "second_attempts": bench.has_second_attempts,
        "threads": engine.resolved.threads,
        "load": round(os.getloadavg()[0], 2),
    }
    if bench.piece_tokens:
        from pipeline.models.context import cell_bytes

        result["bytes_per_token"] = cell_bytes(engine.weights, "f16", "f16")
        result["first_time_cost"] = round(bench.piece_s / bench.piece_tokens / per_token, 3) if per_token else None
        result["kl"] = round(engine.verdict.kl, 5)
    return result


def run(options: argparse.Namespace, cache: Path) -> dict[str, Any]:
    asked, given, paths = read(options.set, options.n, options.seed, options.data)
    model = str(resolve(options.model))
    names = options.ways.split(",")
    threads = options.threads or "auto"
    configs = {
        name: PipelineConfig(name, stages_of(name, options.set, model, options.n_ctx, threads)) for name in names
    }
    folder = cache / "index"
    first = configs[names[0]]
    if given or paths:
        update_index(folder, paths, first.index, lambda what, done, total: None, given=given)
    with Pipeline(first, folder) as runtime:
        ways = {name: Way(runtime.changed(config, folder)) for name, config in configs.items()}
        engine = runtime.reader
        assert isinstance(engine, Engine)
        bench = Bench(engine, not options.one_attempt)
        start = perf_counter()
        for n, one in enumerate(asked):
            for name in names[n % len(names) :] + names[: n % len(names)]:
                bench.measure(ways[name], one)
            if n % 5 == 4 or n < 3:
                said = ", ".join(f"{k} f1 {w.mean('f1'):.3f} {w.mean('ttft_s'):.2f} s" for k, w in ways.items())
                print(f"{n + 1} of {len(asked)}: {said}", file=sys.stderr, flush=True)
            if options.minutes and perf_counter() - start > 60 * options.minutes:
                break
        if not engine.why_not_compose:
            engine.pieces.store.flush()
        return line(options, ways, bench, cache)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=("xquad", "hotpotqa", "2wiki", "harbour"), default="xquad")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--ways", default="read_all,read_sentences,passages_k0,passages_k16,sentences")
    parser.add_argument("--n-ctx", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=0, help="of llama.cpp; 0: as many as there are cores")
    parser.add_argument("--one-attempt", action="store_true", help="no second attempt after an unusable answer")
    parser.add_argument("--minutes", type=float, default=0, help="no question is begun after so many; 0: all are")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    options = parser.parse_args(arguments)
    options.model = str(resolve(options.model))  # before the cache is another one
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LONGTHREAD_CACHE"] = folder
        print(json.dumps(run(options, Path(folder))))


if __name__ == "__main__":
    main()
