"""Which passage an answer came from: how often attribution names it, and what that costs. Prints one JSON line.

    .venv/bin/python benchmarks/why.py [--model PATH] [--n 100] [--seed 0] [--method cells] [--exact 20] [--minutes M]

XQuAD: each question is answered from the best five paragraphs of all 240 (by cosine), each whole and not in the
sentences that the built-in pipeline would keep of it, by the built-in pipeline's last two stages. `hit1` is of the
answers that are right (an accepted answer stands in them): whether the passage with the largest drop holds an accepted
answer. `hit1_sentence`: whether the sentence with the largest drop does. `hit1_gold` is the same as `hit1` with the
accepted answer in the place of the model's, of the first --n-gold questions whose passages hold it. `chance` is the
share of the five that hold one. Questions are drawn until --n were right, or none are left.

`cost_over_prefill`: seconds of the attribution over seconds of reading the whole prompt with nothing in the cache,
summed over the right answers.

`contradiction_hit1`: pairs of passages that contradict one another on one point (made below), with three others; of the
answers whose words say which of the two they came from, how often it is the one with the largest drop.

With --exact, that many right answers are attributed by prompts read anew as well: `exact_hit1`,
`exact_cost_over_prefill`, how often the two name the same passage (`same_best`), and the mean rank correlation of the
five drops (`rank_agreement`).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.compression import ROOT, TOP_K, paragraph_vectors
from compressors.calibration.labelled import Labelled, read_labelled
from pipeline.answers.attribution import Attribution, attribute
from pipeline.answers.left_out import Method
from pipeline.config import PipelineConfig
from pipeline.default import default_pipeline, with_generator_settings, with_model
from pipeline.evaluation import answers as accepted
from pipeline.gguf.catalogue import resolve
from pipeline.gguf.tune import machine
from pipeline.pipeline import Pipeline
from pipeline.registry import with_settings
from pipeline.retrieval.given import Given
from pipeline.stages import run_stage, stage_ledger
from pipeline.types import Answer, Passage, Question, State

MAX_TOKENS = 32
"""Of an answer: one that goes on longer is not what is measured here."""


# --------------------------------------------------------------------------------------------- pairs that contradict
PLACES = (
    "Aldmoor Brackwater Corvale Dunmere Eastholt Farrowby Grindle Hallowick Inverleigh Jarrowfield Kestrelham "
    "Longmarsh Millbourne Northcote Oakhanger Pennerley Quarrendon Ravensworth Selbourne Thornbury"
).split()
FACTS = (
    # subject, the sentence with its value, the question, two lists of values
    ("bridge", "The bridge at {p} was opened in {v}.", "In which year was the bridge at {p} opened?", "year"),
    ("library", "The head of the library at {p} is {v}.", "Who is the head of the library at {p}?", "person"),
    ("tower", "The tower at {p} is {v} metres high.", "How many metres high is the tower at {p}?", "number"),
    ("market", "The market at {p} is held on {v}.", "On which day is the market at {p} held?", "day"),
    ("roof", "The roof of the hall at {p} is made of {v}.", "What is the roof of the hall at {p} made of?", "stuff"),
)
AROUND = (
    "A note from the parish council. {s} Visitors are asked to keep to the paths.",
    "The guide for travellers has a page on it. The road there is narrow. {s} There is room for few cars.",
    "{s} The people who live there are proud of it, and tell every guest.",
    "From the almanac of the county, second part. {s} The entry was checked by two readers.",
)
FIRST = (
    "Ada Ben Clara David Emma Felix Greta Henry Iris Jonas Karla Leon Maria Noah Olive Peter Rosa Simon Thea".split()
)
LAST = "Ashdown Barker Cole Dorsey Ellis Fenwick Garner Holt Irving Jensen Keller Lambert Moss Norton Osborne".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
STUFF = "slate copper thatch lead clay tin oak glass".split()


def value(kind: str, chance: random.Random) -> str:
    if kind == "year":
        return str(chance.randint(1780, 1990))
    if kind == "person":
        return f"{chance.choice(FIRST)} {chance.choice(LAST)}"
    if kind == "number":
        return str(chance.randint(21, 98))
    return chance.choice(DAYS if kind == "day" else STUFF)


def pairs(n: int, seed: int) -> Iterator[tuple[str, list[Passage], str, str]]:
    """A question, five passages in a random order, and the two values: each stands in one passage, and nowhere else."""
    chance = random.Random(seed)
    topics = [(place, fact) for place in PLACES for fact in FACTS]
    chance.shuffle(topics)
    for place, (_, sentence, question, kind) in topics[:n]:
        values: list[str] = []
        while len(values) < 2:
            values += [v for v in [value(kind, chance)] if v not in values]
        others: list[str] = []
        while len(others) < 3:
            other, (_, other_sentence, _, other_kind) = chance.choice(topics)
            text = other_sentence.format(p=other, v=value(other_kind, chance))
            if other != place and not any(v in text for v in values):
                others.append(text)
        texts = [sentence.format(p=place, v=v) for v in values] + others
        chance.shuffle(texts)
        passages = []
        for number, text in enumerate(texts):
            whole = chance.choice(AROUND).format(s=text)
            passages.append(Passage(f"note-{number}.txt", 0, len(whole), whole))
        yield question.format(p=place), passages, values[0], values[1]


# ------------------------------------------------------------------------------------------------------------ asking
class Asked:
    """The built-in pipeline's last two stages, without its second attempt: the passages are given.

    The model's own words are the answer also where quotes lead them: these are what is attributed.
    """

    def __init__(self, model: str, method: Method | None, threads: int | None) -> None:
        settings = {"max_tokens": MAX_TOKENS, "threads": threads or "auto"}
        config = with_generator_settings(with_model(default_pipeline(), model), settings)
        own_words = with_settings(config.assembler, {"answer": "generate"})
        stages = (Given(), own_words, config.generator)
        self.runtime = Pipeline(PipelineConfig("the benchmark", stages), ROOT)
        self.stages = self.runtime.config.stages[1:]
        self.method = method

    def ask(self, question: str, passages: Sequence[Passage]) -> State:
        """The answer, with nothing in the cache before."""
        reader: Any = self.runtime.reader
        reader.pool.forget()
        ledger = stage_ledger(self.runtime.window, self.runtime.reserve, "")
        state = State(Question(question), tuple(passages), ledger=ledger)
        for stage in self.stages:
            state = run_stage(stage, state, self.runtime, self.runtime.reserve)
            state = replace(state, second_prompt=())
        return state

    def why(self, state: State, method: Method | None = None) -> Attribution:
        return attribute(state, self.runtime.config.assembler, self.runtime, method=method or self.method)


def text_of(state: State) -> str:
    """The answer, where the model wrote it."""
    return state.answer.text if state.answer and state.answer.by == "model" else ""


def best_passage(attribution: Attribution) -> Passage:
    """The passage with the largest drop, summed over the sentences of the answer."""
    return max(summed(attribution), key=lambda pair: pair[1])[0]


def summed(attribution: Attribution) -> list[tuple[Passage, float]]:
    """The passages in the order of their numbers, with their drops over the whole answer."""
    drops: dict[int, float] = {}
    passages: dict[int, Passage] = {}
    for grounds in attribution.sentences:
        for one in grounds.passages:
            drops[one.number] = drops.get(one.number, 0.0) + one.drop
            passages[one.number] = one.passage
    return [(passages[n], drops[n]) for n in sorted(drops)]


def best_sentence(attribution: Attribution) -> str | None:
    quotes = [quote for grounds in attribution.sentences for one in grounds.passages for quote in one.sentences]
    return max(quotes, key=lambda quote: quote.drop).quote.text if quotes else None


def holds(text: str, answers: Sequence[str]) -> bool:
    return any(accepted.holds(text, answer) for answer in answers)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# ------------------------------------------------------------------------------------------------------------- XQuAD
def xquad(asked: Asked, folder: Path, n: int, n_exact: int, n_gold: int, seed: int, until: float) -> dict[str, Any]:
    questions = read_labelled(folder / "xquad" / "xquad.en.json")
    pool = list({p.source: p for one in questions for p in one.units.passages}.values())
    vectors = paragraph_vectors(pool, asked.runtime)
    random.Random(seed).shuffle(questions)
    rows: list[dict[str, Any]] = []
    gold: list[bool] = []
    asked.ask("Why?", pool[:1])  # loads the weights
    n_asked = 0
    for one in questions:
        if len(rows) >= n or perf_counter() > until:
            break
        n_asked += 1
        (row,) = asked.runtime.embedder.embed([one.question])
        shown = [pool[place] for place in np.argsort(-(vectors @ row), kind="stable")[:TOP_K]]
        state = asked.ask(one.question, shown)
        is_right = holds(text_of(state), one.answers)
        if is_right:
            rows.append(measured(asked, state, one, exact=len(rows) < n_exact))
        if len(gold) < n_gold and any(holds(p.text, one.answers) for p in shown):
            answer = Answer(one.answers[0])
            gold.append(holds(best_passage(asked.why(replace(state, answer=answer))).text, one.answers))
        if is_right:
            say(f"{len(rows)} right of {n_asked}, with the accepted answer {sum(gold)} of {len(gold)}: {summary(rows)}")
    return {"asked": n_asked, "right": len(rows), **summary(rows), "hit1_gold": mean(gold), "n_gold": len(gold)}


def measured(asked: Asked, state: State, one: Labelled, exact: bool) -> dict[str, Any]:
    generation = state.ledger.generation
    assert generation is not None
    attribution = asked.why(state)
    top, sentence = best_passage(attribution), best_sentence(attribution)
    row: dict[str, Any] = {
        "hit": holds(top.text, one.answers),
        "sentence": sentence is not None and holds(sentence, one.answers),
        "chance": mean([holds(p.text, one.answers) for p in state.shown]),
        "prefill_s": generation.prefill_s,
        "seconds": attribution.seconds,
        "prompt_tokens": generation.prompt_tokens,
        "tokens": attribution.n_tokens,
        "variants": attribution.n_variants,
    }
    if not row["hit"]:
        say(f"  missed: {one.question} | {text_of(state)} | {[round(d, 2) for _, d in summed(attribution)]}")
    if exact:
        asked.runtime.reader.pool.forget()  # type: ignore[attr-defined]
        asked.ask(state.question.text, state.passages)
        other = asked.why(state, "prompts")
        mine, theirs = ([drop for _, drop in summed(each)] for each in (attribution, other))
        row["exact"] = {
            "hit": holds(best_passage(other).text, one.answers),
            "seconds": other.seconds,
            "same": best_passage(other) == top,
            "rank": float(np.corrcoef(np.argsort(np.argsort(mine)), np.argsort(np.argsort(theirs)))[0, 1]),
        }
    return row


def mean(values: Sequence[Any]) -> float | None:
    return round(float(np.mean(values)), 4) if len(values) else None


def ratio(seconds: Sequence[float], rows: Sequence[dict[str, Any]]) -> float | None:
    """Seconds over those of reading the prompts of the same rows."""
    return round(sum(seconds) / sum(row["prefill_s"] for row in rows), 4) if rows else None


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    if not rows:
        return {}
    result = {
        "hit1": mean([row["hit"] for row in rows]),
        "hit1_sentence": mean([row["sentence"] for row in rows]),
        "chance": mean([row["chance"] for row in rows]),
        "cost_over_prefill": ratio([row["seconds"] for row in rows], rows),
        "prompt_tokens": mean([row["prompt_tokens"] for row in rows]),
        "tokens": mean([row["tokens"] for row in rows]),
        "variants": mean([row["variants"] for row in rows]),
        "prefill_s": mean([row["prefill_s"] for row in rows]),
    }
    exact = [row for row in rows if "exact" in row]
    if exact:
        result |= {
            "n_exact": len(exact),
            "exact_hit1": mean([row["exact"]["hit"] for row in exact]),
            "hit1_of_these": mean([row["hit"] for row in exact]),
            "same_best": mean([row["exact"]["same"] for row in exact]),
            "rank_agreement": mean([row["exact"]["rank"] for row in exact]),
            "exact_cost_over_prefill": ratio([row["exact"]["seconds"] for row in exact], exact),
        }
    return result


# ------------------------------------------------------------------------------------------------------ contradictions
def contradictions(asked: Asked, n: int, seed: int, until: float) -> dict[str, Any]:
    hits: list[bool] = []
    n_asked = 0
    for question, passages, one, other in pairs(100, seed):
        if len(hits) >= n or perf_counter() > until:
            break
        n_asked += 1
        state = asked.ask(question, passages)
        said = [v for v in (one, other) if holds(text_of(state), [v])]
        if len(said) != 1:
            continue
        attribution = asked.why(state)
        hits.append(holds(best_passage(attribution).text, said))
        if not hits[-1]:
            say(f"  missed: {question} | {text_of(state)} | {[round(d, 2) for _, d in summed(attribution)]}")
        say(f"contradictions: {sum(hits)} of {len(hits)}, {n_asked} asked")
    return {"contradiction_hit1": mean(hits), "n_contradictions": len(hits), "contradictions_asked": n_asked}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--n-pairs", type=int, default=60)
    parser.add_argument("--n-gold", type=int, default=20)
    parser.add_argument("--exact", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=1e6, help="ask no further question after so many")
    parser.add_argument("--threads", type=int, help="of llama.cpp: 1 wastes least on a machine that others use as well")
    parser.add_argument("--method", choices=("cells", "prompts"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    options = parser.parse_args()
    start = perf_counter()
    asked = Asked(options.model, options.method, options.threads)
    until = start + 60 * options.minutes
    result = contradictions(asked, options.n_pairs, options.seed, until) if options.n_pairs else {}
    if options.n:
        result |= xquad(asked, options.data, options.n, options.exact, options.n_gold, options.seed, until)
    about = {
        "model": resolve(options.model).name,
        "n": options.n,
        "seed": options.seed,
        "method": options.method or "cells",
        "threads": options.threads or "auto",
        "machine": machine(),
        "load": round(os.getloadavg()[0], 2),
        "seconds": round(perf_counter() - start, 1),
    }
    print(json.dumps({**about, **result}))


if __name__ == "__main__":
    main()
