"""What soft vectors keep of a text, and what they cost. Prints JSON, the result last, on one line.

    .venv/bin/python benchmarks/extensible.py [--weights CARD] [--n 100] [--part text,wikitext,long,qa,probes,cost]

Text (Gutenberg 1661; `wikitext`: the part of WikiText that nothing was trained on; `long`: 1024 tokens of context, not
512): mean loss of the next 256 tokens after no context, the raw context, and soft vectors at each k, and after those of
another window. `gap_recovered` = (none - right soft) / (none - right raw); `content_recovered` = (wrong soft - right
soft) / (wrong raw - right raw), since part of the gap is style and any window gives that. Two controls have no training
in them: `chosen_gap_recovered` is what the tokens that become vectors give as plain text, and `last_gap_recovered` what
the last tokens of the raw context give, in as many cells. The intervals hold 95 %, by a bootstrap over windows of the
ratio of the means. Windows are equally far apart, and another window is the next one.

`qa`: XQuAD's questions on their own paragraph: F1 with intervals and the prompt's cells, raw, without, soft, and the
nearest sentences in as many tokens as there are vectors. `probes`: a number hidden in 512 tokens, chosen among ten; a
stretch of 48 tokens of the context, begun, and to be gone on with (its loss). `cost`: seconds and cells of 1024 tokens.

The rows are those marked eval in ../shared/data/INDEX.md: nothing may be chosen by these figures. A window of `text` is
some 5900 tokens to read: run `longthread models tune smollm2-135m` first, which halves that, and the parts one by one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent.parent))

from compressors.calibration.labelled import read_labelled
from compressors.extensible import KS, Extensible
from compressors.sentences import Sentences
from compressors.soft.encoder import SoftEncoder
from compressors.soft.weights import weights_for
from pipeline.config import PipelineConfig
from pipeline.evaluation.answers import f1
from pipeline.evaluation.statistics import mean_interval
from pipeline.gguf.tune import machine
from pipeline.models.engine import Engine
from pipeline.pipeline import Pipeline
from pipeline.registry import make
from pipeline.stages import run_stage, stage_ledger
from pipeline.types import Passage, Prompt, Question, Soft, State, Text
from training.extensible.texts import book, wikitext

ROOT = Path(__file__).parent.parent
NEXT, CONTEXT, LONG = 256, 512, 1024
COPIED, CUE = 48, 4
PARTS = ("text", "wikitext", "long", "qa", "probes", "cost")
INSTRUCTIONS = "Answer the question from the passages, with as few words as possible, and no sentence."
PLACES = ("lighthouse", "library", "harbour", "museum", "bakery", "station", "theatre", "castle", "garden", "hospital")
_LEAD = "\n\nThe secret number of the"
Tokens = NDArray[np.int32]


@dataclass
class Bench:
    """The reader, its encoder, and what was asked for."""

    runtime: Pipeline
    options: argparse.Namespace
    texts: dict[str, Tokens] = field(default_factory=dict)

    @property
    def reader(self) -> Engine:
        reader = self.runtime.reader
        assert isinstance(reader, Engine)
        return reader

    def encoder(self, keep: bool = True) -> SoftEncoder:
        return SoftEncoder(self.reader, weights_for(self.reader, self.options.weights), self.runtime, keep)

    def tokens(self, name: str) -> Tokens:
        """A text that is reported on, as tokens."""
        if name not in self.texts:
            folder = self.options.data
            if name == "book":
                text = book(folder / "gutenberg" / "1661.txt")
            else:
                text = wikitext(folder / "wikitext2" / "valid.txt")[1]
            self.texts[name] = self.reader.tokenize(text)
        return self.texts[name]

    def windows(self, name: str, n: int, n_context: int, n_next: int) -> list[tuple[Tokens, Tokens]]:
        """Contexts and what follows them, equally far apart and without overlap where the text is long enough."""
        tokens = self.tokens(name)
        starts = np.linspace(0, len(tokens) - n_context - n_next, n).astype(int)
        return [(tokens[s : s + n_context], tokens[s + n_context : s + n_context + n_next]) for s in starts]

    def text(self, tokens: Sequence[int] | Tokens) -> Text:
        return Text(b"".join(self.reader.weights.piece(int(token)) for token in tokens).decode("utf-8", "replace"))

    def loss(self, before: Prompt, continuation: Tokens, first: int = 1) -> float:
        """Mean loss, in nats a token, of said[first:] after a prompt and said[:first].

        What is said is given as text and read as tokens again, which may be one or two fewer or more.
        """
        prompt = (*before, self.text(continuation))
        start = self.reader.count(before) + first if before else first
        return float(-self.reader.logprobs(prompt, start).mean())


# -------------------------------------------------------------------------------------------------------- running text
def measure_text(bench: Bench, name: str, n_context: int, n: int) -> dict[str, Any]:
    """For each k the gap and the content that are recovered, and every mean loss."""
    windows = bench.windows(name, n, n_context, NEXT)
    encoder = bench.encoder()
    soft = {k: [(Soft(encoder.vectors(context, k)),) for context, _ in windows] for k in KS}
    raw: list[Prompt] = [(bench.text(context),) for context, _ in windows]
    losses: dict[str, list[float]] = {}
    for index, (_, following) in enumerate(windows):
        other = (index + 1) % n
        ways: dict[str, Prompt] = {"none": (), "raw": raw[index], "raw_wrong": raw[other]}
        for k in KS:
            last = windows[index][0][-len(soft[k][index][0].vectors) :]
            ways |= {f"k{k}": soft[k][index], f"k{k}_wrong": soft[k][other], f"k{k}_last": (bench.text(last),)}
            ways[f"k{k}_chosen"] = (Soft(encoder.chosen(windows[index][0], k)),)
        for way, before in ways.items():
            losses.setdefault(way, []).append(bench.loss(before, following))
        tell(f"{name} {n_context}", index, n)
    return recovered(losses, bench.options.seed) | {"n": n, "context": n_context, "next": NEXT}


def recovered(losses: dict[str, list[float]], seed: int) -> dict[str, Any]:
    arrays = {name: np.asarray(values) for name, values in losses.items()}
    gap, content = arrays["none"] - arrays["raw"], arrays["raw_wrong"] - arrays["raw"]
    report: dict[str, Any] = {"losses": {name: round(float(values.mean()), 4) for name, values in arrays.items()}}
    for k in KS:
        right, wrong = arrays[f"k{k}"], arrays[f"k{k}_wrong"]
        report[f"k{k}"] = (
            share("gap_recovered", arrays["none"] - right, gap, seed)
            | share("content_recovered", wrong - right, content, seed)
            | share("chosen_gap_recovered", arrays["none"] - arrays[f"k{k}_chosen"], gap, seed)
            | share("last_gap_recovered", arrays["none"] - arrays[f"k{k}_last"], gap, seed)
        )
    return report


def share(name: str, part: NDArray[np.float64], whole: NDArray[np.float64], seed: int) -> dict[str, float]:
    """The ratio of the means, with its 95 % interval by a bootstrap of 10000 draws over the windows."""
    draws = np.random.default_rng(seed).integers(len(part), size=(10_000, len(part)))
    low, high = np.quantile(part[draws].mean(1) / whole[draws].mean(1), [0.025, 0.975])
    values = {name: part.mean() / whole.mean(), f"{name}_low": low, f"{name}_high": high}
    return {key: round(float(value), 4) for key, value in values.items()}


# ------------------------------------------------------------------------------------------------------------ questions
def measure_questions(bench: Bench, n: int) -> dict[str, Any]:
    """XQuAD on the question's own paragraph; sentences get as many tokens as there are vectors."""
    everything = read_labelled(bench.options.data / "xquad" / "xquad.en.json")
    places = sorted(random.Random(bench.options.seed).sample(range(len(everything)), n))
    rows: dict[str, list[tuple[float, int]]] = {}
    for done, labelled in enumerate(everything[place] for place in places):
        question, passages = Question(labelled.question), labelled.units.passages
        rows.setdefault("raw", []).append(answered(bench, labelled.answers, question, passages))
        rows.setdefault("none", []).append(answered(bench, labelled.answers, question, ()))
        for k in KS:
            soft = Extensible(k, bench.options.weights).compress(question, passages, bench.runtime)
            n_cells = sum(len(passage.soft.vectors) for passage in soft if passage.soft)
            kept = Sentences(top_k=None, budget=n_cells).compress(question, passages, bench.runtime)
            rows.setdefault(f"k{k}", []).append(answered(bench, labelled.answers, question, soft))
            rows.setdefault(f"sentences_k{k}", []).append(answered(bench, labelled.answers, question, kept))
        tell("qa", done, n)
    return {name: account(row, rows["raw"], bench.options.seed) for name, row in rows.items()} | {"n": n}


def answered(bench: Bench, golds: Sequence[str], question: Question, passages: Sequence[Passage]) -> tuple[float, int]:
    """The best F1 of an answer from these passages, and the prompt's cells."""
    runtime = bench.runtime
    state = State(question, tuple(passages), ledger=stage_ledger(runtime.window, runtime.reserve, ""))
    for stage in runtime.config.stages[-2:]:
        state = run_stage(stage, state, runtime, runtime.reserve)
    assert state.answer is not None
    return max(f1(state.answer.text, gold) for gold in golds), state.ledger.prompt_tokens


def account(row: Sequence[tuple[float, int]], raw: Sequence[tuple[float, int]], seed: int) -> dict[str, Any]:
    scores = mean_interval([score for score, _ in row], seed)
    against = mean_interval([score - other for (score, _), (other, _) in zip(row, raw, strict=True)], seed)
    numbers = {
        "f1": scores.mean,
        "f1_low": scores.low,
        "f1_high": scores.high,
        "f1_diff": against.mean,
        "f1_diff_low": against.low,
        "f1_diff_high": against.high,
        "prompt_cells": float(np.mean([cells for _, cells in row])),
    }
    return {name: None if value is None else round(value, 4) for name, value in numbers.items()}


# --------------------------------------------------------------------------------------------------------------- probes
def measure_probes(bench: Bench, n: int) -> dict[str, Any]:
    """A number in a haystack, by its likelihood among ten; and a stretch of the context, by its loss."""
    needles: dict[str, list[bool]] = {}
    copies: dict[str, list[float]] = {}
    draw = random.Random(bench.options.seed)
    for index, (context, _) in enumerate(bench.windows("book", n, CONTEXT, NEXT)):
        hay, question, answers, right = hidden(bench, context, draw)
        for name, before in contexts(bench, hay).items():
            scores = bench.reader.score((*before, Text(_LEAD)), [question], answers)[0]
            needles.setdefault(name, []).append(int(scores.argmax()) == right)
        start = draw.randrange(len(context) - COPIED)
        for name, before in contexts(bench, context).items():
            loss = bench.loss((*before, Text("\n\n")), context[start : start + COPIED], CUE)
            copies.setdefault(name, []).append(loss)
        tell("probes", index, n)
    seed = bench.options.seed
    return {
        "needle": {name: interval("right", list(map(float, rights)), seed) for name, rights in needles.items()},
        "copy": {name: interval("loss", losses, seed) for name, losses in copies.items()},
        "n": n,
        "needle_chance": 0.1,
    }


def hidden(bench: Bench, context: Tokens, draw: random.Random) -> tuple[Tokens, str, list[str], int]:
    """A context with a sentence in it, what is asked, ten answers, and the number of the right one."""
    numbers = [f" {number}" for number in draw.sample(range(1000, 10_000), 10)]
    place, right = draw.choice(PLACES), draw.randrange(10)
    needle = bench.reader.tokenize(f" The secret number of the {place} is{numbers[right]}.")
    position = draw.randrange(len(context) - len(needle))
    hay = np.concatenate([context[:position], needle, context[position + len(needle) :]])
    return hay, f" {place} is", numbers, right


def contexts(bench: Bench, tokens: Tokens) -> dict[str, Prompt]:
    encoder = bench.encoder()
    soft: dict[str, Prompt] = {f"k{k}": (Soft(encoder.vectors(tokens, k)),) for k in KS}
    return {"none": (), "raw": (bench.text(tokens),), **soft}


def interval(name: str, values: Sequence[float], seed: int) -> dict[str, float | None]:
    result = mean_interval(values, seed)
    numbers = {name: result.mean, f"{name}_low": result.low, f"{name}_high": result.high}
    return {key: None if value is None else round(value, 4) for key, value in numbers.items()}


# ----------------------------------------------------------------------------------------------------------------- cost
def measure_cost(bench: Bench, n: int) -> dict[str, Any]:
    """Medians over windows of 1024 tokens: reading them raw; their states made, and from the disk; vectors read."""
    seconds: dict[str, list[float]] = {}
    cells: dict[str, int] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        start = perf_counter()
        result = work()
        seconds.setdefault(name, []).append(perf_counter() - start)
        return result

    fresh, kept = bench.encoder(keep=False), bench.encoder()
    fresh.vectors(bench.tokens("book")[:LONG], KS[0])  # loads
    for index, (context, _) in enumerate(bench.windows("book", n, LONG, NEXT)):
        kept.vectors(context, KS[0])
        timed("states_made", partial(fresh.states, context))
        timed("states_from_disk", partial(kept.states, context))
        ways: dict[str, Prompt] = {"raw": (bench.text(context),)}
        ways |= {f"k{k}": (Soft(kept.vectors(context, k)),) for k in KS}
        for name, before in ways.items():
            bench.reader.pool.forget()
            cells[name] = bench.reader.count(before)
            timed(f"read_{name}", partial(bench.reader.next_logprobs, before))
        tell("cost", index, n)
    return {"seconds": {name: round(float(np.median(s)), 4) for name, s in seconds.items()}, "kv_cells": cells, "n": n}


# --------------------------------------------------------------------------------------------------------------- output
def tell(what: str, done: int, n: int) -> None:
    if done % 10 == 9 or done + 1 == n:
        print(f"{what}: {done + 1} of {n}", file=sys.stderr, flush=True)


def measure(bench: Bench, parts: Sequence[str]) -> dict[str, Any]:
    n = bench.options.n
    report: dict[str, Any] = {}
    if "text" in parts:
        report |= measure_text(bench, "book", CONTEXT, n)
    if "wikitext" in parts:
        report["wikitext"] = measure_text(bench, "wikitext", CONTEXT, n)
    if "long" in parts:
        report["context_1024"] = measure_text(bench, "book", LONG, n)
    if "qa" in parts:
        report["qa"] = measure_questions(bench, n)
    if "probes" in parts:
        report["probes"] = measure_probes(bench, n)
    if "cost" in parts:
        report["cost"] = measure_cost(bench, min(n, 5))
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", help="the card of trained weights; by default those that there are for the reader")
    parser.add_argument("--part", default=",".join(PARTS), help=f"of: {', '.join(PARTS)}")
    parser.add_argument("--n", type=int, default=100, help="windows, questions, probes")
    parser.add_argument("--reader", default="smollm2-135m")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    options = parser.parse_args()
    parts = options.part.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"--part: there is no {', '.join(sorted(unknown))}; there are: {', '.join(PARTS)}")
    settings = {
        "model": options.reader,
        "n_ctx": 2048,
        "n_cached": 0,
        "max_tokens": 24,
    }  # idle cells would be attended over
    generate = make("generate.llama", settings)
    assemble = make("assemble.cited", {"instructions": INSTRUCTIONS})
    config = PipelineConfig("the benchmark", (make("retrieve.dense"), assemble, generate))
    with Pipeline(config, ROOT / "nowhere") as runtime:
        bench = Bench(runtime, options)
        card = weights_for(runtime.reader, options.weights).card
        report = measure(bench, parts)
        about = {
            "seed": options.seed,
            "reader": runtime.reader.name,
            "weights": card.sha256,
            "trained": {"steps": card.steps, "minutes": card.minutes},
            "machine": machine(),
            "load": os.getloadavg()[0],
        }
    print(json.dumps({"about": about, **report}))


if __name__ == "__main__":
    main()
