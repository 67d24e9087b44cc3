"""What compression costs and what it keeps: sentences found, and with a reader the answers too. Prints JSON.

    .venv/bin/python benchmarks/compression.py --set xquad --n 100 [--model PATH] [--reader PATH]

One object for each method. Without a reader: `auc` and `top1` of the scores; `supporting_recall` and `kept_ratio`
(tokens of the model) as the method keeps; `recall_at` some ratios; `s_per_1000_tokens`; against `sentences` (or what
`--against` names) on the same questions `auc_diff` and `recall_diff_at`, each as [mean, low, high] (paired bootstrap,
95 %). With a reader, on passages as a pipeline has them (xquad: the best 5 paragraphs of all by cosine; hotpotqa,
2wiki: the question's own 10): `em`, `f1`, `contained`, `prompt_tokens`, `s_end_to_end` (compressing, assembling,
reading, writing), and against `none` on the same questions `f1_diff` with its interval. Methods take turns on each
question, so that a machine that slows down slows down for all. Only rows marked eval in ../shared/data/INDEX.md are
read.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from compressors.calibration.labelled import Labelled, read_labelled
from compressors.calibration.ranking import auc, recall_at
from compressors.exit import Exit
from compressors.exit_mini import ExitMini
from compressors.probe import Probe
from compressors.selection import Units
from compressors.sentences import Sentences
from compressors.surprisal import Surprisal
from pipeline.config import PipelineConfig
from pipeline.contracts import Compressor
from pipeline.evaluation.answers import f1 as f1
from pipeline.evaluation.answers import normal as normal
from pipeline.gguf.catalogue import resolve
from pipeline.gguf.tune import machine
from pipeline.models.capabilities import Attender
from pipeline.pipeline import Pipeline
from pipeline.registry import make
from pipeline.retrieval import remembered
from pipeline.stages import run_stage, stage_ledger
from pipeline.types import Passage, Question, State, Text

ROOT = Path(__file__).parent.parent
Scores = Any  # numpy array of shape (n_units,)
RATIOS = (0.15, 0.25, 0.3, 0.4)
INSTRUCTIONS = "Answer the question from the passages, with as few words as possible, and no sentence."
TOP_K = 5


# ---------------------------------------------------------------------------------------------------------- the data
def questions_of(name: str, folder: Path) -> list[Labelled]:
    """The rows of a set that are marked eval."""
    if name == "xquad":
        questions = read_labelled(folder / "xquad" / "xquad.en.json")
        return [question for question in questions if sum(question.supports) == 1 and len(question.supports) > 1]
    if name == "xquad.tr":
        questions = read_labelled(folder / "xquad" / "xquad.tr.json")
        return [question for question in questions if sum(question.supports) == 1 and len(question.supports) > 1]
    if name == "hotpotqa":
        return read_labelled(folder / "hotpotqa" / "literaptor_100.json")
    return read_labelled(folder / "2wikimultihopqa" / "migres_train500.json")[-100:]


def sample(questions: Sequence[Labelled], n: int, seed: int) -> list[Labelled]:
    if n >= len(questions):
        return list(questions)
    places = sorted(random.Random(seed).sample(range(len(questions)), n))
    return [questions[place] for place in places]


# --------------------------------------------------------------------------------------------------------- the methods
@dataclass
class Method:
    """A way to compress: the component as a pipeline file names it, and how it scores units."""

    stage: Compressor | None
    scores: Callable[[str, Units, Pipeline], Scores]
    threshold: Callable[[Pipeline], float] | None = None
    tallies: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, **values: Any) -> None:
        for name, value in values.items():
            self.tallies.setdefault(name, []).append(value)

    def mean(self, name: str) -> float:
        return float(np.mean(self.tallies[name]))


def methods_of(names: Sequence[str], model: str | None, window: int, limits: dict[str, Any]) -> dict[str, Method]:
    """The methods by name, each with the same limits where it has any."""

    def sentences(score: Any) -> Method:
        component = Sentences(score=score, **{"top_k": None, **limits})
        stage = make("compress.sentences", {"score": score, "top_k": None, **limits})
        return Method(stage, lambda q, units, runtime: component.scores(q, units, runtime.embedder))

    def probe(similarity: bool) -> Method:
        settings = {"model": model, "similarity": similarity, "window": window, "keep_ratio": None, **limits}
        component = Probe(**settings)
        return Method(make("compress.probe", settings), component.scores)

    def exit_() -> Method:
        component = Exit(model=model)
        scores = lambda q, units, runtime: component.p_of(q, units, component.classifier(runtime))  # noqa: E731
        least = lambda runtime: component.least(component.classifier(runtime), runtime)  # noqa: E731
        return Method(make("compress.exit", {"model": model}), scores, least)

    def exit_mini() -> Method:
        settings = {"keep_ratio": None, **limits}
        return Method(make("compress.exit_mini", settings), ExitMini(**settings).scores)

    def surprisal() -> Method:
        settings = {"model": model, "keep_ratio": None, **limits}
        component = Surprisal(**settings)

        def scores(q: str, units: Units, runtime: Pipeline) -> Scores:
            reader = runtime.reader if component.model is None else runtime.model(component._settings)
            return component.scores(units, reader, runtime.listener.progress)

        return Method(make("compress.surprisal", settings), scores)

    makers: dict[str, Callable[[], Method]] = {
        "none": lambda: Method(None, lambda q, units, runtime: np.zeros(len(units))),
        "sentences": lambda: sentences("both"),
        "cosine": lambda: sentences("cosine"),
        "maxsim": lambda: sentences("maxsim"),
        "votes": lambda: sentences("votes"),
        "probe": lambda: probe(True),
        "probe_alone": lambda: probe(False),
        "exit": exit_,
        "exit_mini": exit_mini,
        "surprisal": surprisal,
    }
    return {name: makers[name]() for name in names}


# -------------------------------------------------------------------------------------------- what is found, and kept
def find(questions: Sequence[Labelled], methods: dict[str, Method], runtime: Pipeline, keep_ratio: float) -> None:
    """Scores every question's sentences by every method."""
    warm = questions[0]
    for method in methods.values():
        method.scores(warm.question, warm.units, runtime)  # loads weights
    counter = next((m for m in runtime.resources.models.values()), None) or runtime.reader
    for n, question in enumerate(questions):
        costs = question.units.tokens(counter)
        for name, method in methods.items():
            forget(runtime)
            start = perf_counter()
            scores = np.asarray(method.scores(question.question, question.units, runtime), float)
            seconds = perf_counter() - start
            kept = kept_by(method, scores, costs, keep_ratio, runtime, name)
            method.add(
                seconds=seconds,
                tokens=sum(costs),
                auc=auc(scores, question.supports),
                top1=bool(question.supports[int(scores.argmax())]),
                supporting_recall=sum(question.supports[n] for n in kept) / sum(question.supports),
                kept_ratio=sum(costs[n] for n in kept) / sum(costs),
                is_single=sum(question.supports) == 1,
                **{f"at_{ratio}": recall_at(scores, question.supports, costs, ratio) for ratio in RATIOS},
            )
        if n % 10 == 9:
            print(f"{n + 1} of {len(questions)}: " + account(methods), file=sys.stderr, flush=True)


def forget(runtime: Pipeline) -> None:
    """Makes the models read something else, and drops vectors: no method finds what the one before it has read."""
    remembered.KEPT = remembered.Kept()
    for model in (*runtime.resources.models.values(), runtime.reader):
        if isinstance(model, Attender) and model.window > 2:
            model.attend((Text("."),), (Text("?"),), ((0, 0),))


def kept_by(
    method: Method, scores: Scores, costs: Sequence[int], keep_ratio: float, runtime: Pipeline, name: str
) -> list[int]:
    from compressors.selection import Limits

    if name == "none":
        return list(range(len(scores)))
    limits = Limits(threshold=method.threshold(runtime)) if method.threshold else Limits(keep_ratio=keep_ratio)
    return limits.choose(scores.tolist(), lambda: costs)


def account(methods: dict[str, Method]) -> str:
    return ", ".join(
        f"{name} auc {m.mean('auc'):.3f} recall {m.mean('supporting_recall'):.3f} at {m.mean('kept_ratio'):.2f}"
        for name, m in methods.items()
    )


# ---------------------------------------------------------------------------------------------------------- end to end
def answer(
    questions: Sequence[Labelled], passages: Sequence[Sequence[Passage]], methods: dict[str, Method], runtime: Pipeline
) -> None:
    """Every question answered from its passages after each method, by the stages that a pipeline runs."""
    assemble, generate = runtime.config.stages[-2:]
    for method in methods.values():  # loads weights
        if method.stage is not None:
            method.stage.compress(Question("Why?"), passages[0][:1], runtime)
    for n, (question, given) in enumerate(zip(questions, passages, strict=True)):
        for method in methods.values():
            state = State(
                Question(question.question), tuple(given), ledger=stage_ledger(runtime.window, runtime.reserve, "")
            )
            start = perf_counter()
            if method.stage is not None:
                state = run_stage(method.stage, state, runtime, runtime.reserve)
            for stage in (assemble, generate):
                state = run_stage(stage, state, runtime, runtime.reserve)
            seconds = perf_counter() - start
            reply = state.answer.text if state.answer else ""
            generation = state.ledger.generation
            assert generation is not None
            method.add(
                em=max(normal(reply) == normal(gold) for gold in question.answers),
                f1=max(f1(reply, gold) for gold in question.answers),
                contained=any(normal(gold) in normal(reply) for gold in question.answers),
                answer_kept=any(
                    normal(gold) in normal(" ".join(p.text for p in state.shown)) for gold in question.answers
                ),
                prompt_tokens=generation.prompt_tokens,
                s_end_to_end=seconds,
                s_compress=state.ledger.stages[0].seconds if method.stage is not None else 0.0,
                s_read=generation.prefill_s,
            )
        if n % 10 == 9:
            reply = ", ".join(f"{k} f1 {m.mean('f1'):.3f} {m.mean('s_end_to_end'):.1f} s" for k, m in methods.items())
            print(f"{n + 1} of {len(questions)}: {reply}", file=sys.stderr, flush=True)


def passages_of(questions: Sequence[Labelled], name: str, everything: Sequence[Labelled], runtime: Pipeline) -> Any:
    """The passages that each question is answered from."""
    if not name.startswith("xquad"):
        return [question.units.passages for question in questions]
    pool = list({p.source: p for question in everything for p in question.units.passages}.values())
    vectors = paragraph_vectors(pool, runtime)
    vectors_asked = runtime.embedder.embed([question.question for question in questions])
    return [[pool[place] for place in np.argsort(-(vectors @ row), kind="stable")[:TOP_K]] for row in vectors_asked]


def paragraph_vectors(pool: Sequence[Passage], runtime: Pipeline) -> Any:
    from compressors.crag import vectors

    return vectors(pool, runtime.embedder)


def interval(differences: Sequence[float], seed: int) -> tuple[float, float, float]:
    """The mean, and its 95 % interval by a paired bootstrap of 10000 draws."""
    values = np.asarray(differences)
    draws = np.random.default_rng(seed).choice(values, (10_000, len(values))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


def difference(values: Sequence[float], others: Sequence[float], seed: int) -> list[float]:
    """The mean of the differences, question by question, and its interval."""
    return [round(figure, 4) for figure in interval([a - b for a, b in zip(values, others, strict=True)], seed)]


# -------------------------------------------------------------------------------------------------------------- output
def results(methods: dict[str, Method], against: str, seed: int) -> dict[str, Any]:
    report: dict[str, Any] = {}
    for name, method in methods.items():
        entry: dict[str, Any] = {}
        tallies = method.tallies
        if "auc" in tallies:
            singles = [top for top, is_single in zip(tallies["top1"], tallies["is_single"], strict=True) if is_single]
            entry |= {
                "auc": round(method.mean("auc"), 4),
                "top1": round(float(np.mean(singles)), 4) if singles else None,
                "supporting_recall": round(method.mean("supporting_recall"), 4),
                "kept_ratio": round(method.mean("kept_ratio"), 4),
                "recall_at": {str(ratio): round(method.mean(f"at_{ratio}"), 4) for ratio in RATIOS},
                "s_per_1000_tokens": round(1000 * sum(tallies["seconds"]) / sum(tallies["tokens"]), 3),
            }
            if against in methods and name not in (against, "none"):
                base = methods[against].tallies
                entry["auc_diff"] = difference(tallies["auc"], base["auc"], seed)
                columns = [f"at_{ratio}" for ratio in RATIOS]
                entry["recall_diff_at"] = {key[3:]: difference(tallies[key], base[key], seed) for key in columns}
        if "f1" in tallies:
            names = ("em", "f1", "contained", "answer_kept", "prompt_tokens", "s_end_to_end", "s_compress", "s_read")
            entry |= {key: round(method.mean(key), 4) for key in names}
            if name != "none" and "none" in methods:
                mean, low, high = difference(tallies["f1"], methods["none"].tallies["f1"], seed)
                entry |= {"f1_diff": mean, "f1_diff_low": low, "f1_diff_high": high}
                ratio = sum(tallies["s_end_to_end"]) / sum(methods["none"].tallies["s_end_to_end"])
                entry["s_ratio"] = round(ratio, 4)
        report[name] = entry
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=("xquad", "xquad.tr", "hotpotqa", "2wiki"), default="xquad")
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--model", default="smollm2-135m", help="probes and judges; by default SmolLM2, tuned if it is")
    parser.add_argument("--reader", help="answers; without it only what is found is measured")
    parser.add_argument("--methods", default="none,sentences,cosine,probe,probe_alone,exit")
    parser.add_argument("--against", default="sentences", help="the method that the others are compared with")
    parser.add_argument("--keep-ratio", type=float, default=0.25)
    parser.add_argument("--window", type=int, default=2048)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--skip-find", action="store_true", help="only answer")
    options = parser.parse_args()
    everything = questions_of(options.set, options.data)
    chosen = sample(everything, options.n, options.seed)
    is_reader = options.reader is not None and options.model == options.reader
    limits = {"top_k": TOP_K} if options.set.startswith("xquad") else {"keep_ratio": options.keep_ratio}
    reader = options.reader or options.model
    generate = make(
        "generate.llama", {"model": reader, "n_ctx": 4096, "n_cached": 0, "max_tokens": 32, "use_tuned": False}
    )
    config = PipelineConfig(
        "the benchmark",
        (make("retrieve.dense"), make("assemble.cited", {"instructions": INSTRUCTIONS}), generate),
    )
    names = options.methods.split(",")
    methods = methods_of(names, None if is_reader else options.model, options.window, limits)
    with Pipeline(config, ROOT / "nowhere") as runtime:
        if not options.skip_find:
            find(chosen, methods, runtime, options.keep_ratio)
        if options.reader:
            answer(chosen, passages_of(chosen, options.set, everything, runtime), methods, runtime)
        about = {
            "set": options.set,
            "n": len(chosen),
            "seed": options.seed,
            "model": options.model,
            "model_file": next((m.name for m in runtime.resources.models.values()), runtime.reader.name),
            "reader": resolve(reader).name if options.reader else None,
            "keep_ratio": options.keep_ratio,
            "against": options.against,
            "machine": machine(),
            "load": os.getloadavg()[0],
        }
    print(json.dumps({"about": about, **results(methods, options.against, options.seed)}))


if __name__ == "__main__":
    main()
