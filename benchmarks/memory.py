"""Memory on LoCoMo: whether what holds the answer is recalled, and with a reader what is answered and what it costs.

    .venv/bin/python benchmarks/memory.py --set locomo [--conversations N]
    .venv/bin/python benchmarks/memory.py --set locomo --model PATH --questions 60 [--window N] [--answers-only]

The first form needs no language model. A unit is one turn of a dialogue, that is one message of one speaker with their
name (and the caption of a picture that they show): the same units, of the same text, for every method. `recall_at_k` is
the share of a question's evidence turns, as LoCoMo names them, among the k best units, averaged over questions; those
without a valid evidence id are left out and counted. `dense` is the cosine of all-MiniLM-L6-v2, `bm25` the index of
retrieve.bm25, each over the single turns; `hierarchical` is memory.hierarchical with its defaults, through its store on
disk. Its settings were chosen on conversation conv-26 alone; `held_out` has the figures without it.

With a model, a seeded sample of questions (categories 1 to 4, which have an answer) is answered by memory.none, window,
hierarchical and full (the last turns that take FULL_SHARE of the window, whose template fills the rest; they are the
same for all questions of a conversation, so that the cache is hit), each through the whole pipeline: token F1,
prompt tokens a question, and for each the 95 % interval of its difference to `full` (paired bootstrap). Here a turn is
a pair of messages, as in a chat: the first speaker's as the question, the second's as the answer; the first of each
session begins with its date, for every method. The data are under CC BY-NC 4.0: for measuring only. The last line is
JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import string
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from memory.hierarchical import Hierarchical
from memory.transcribed import turn_text
from pipeline.config import IndexSettings, PipelineConfig
from pipeline.contracts import Embedder
from pipeline.conversation.conversation import memory_of
from pipeline.offline import switch_off_telemetry
from pipeline.pipeline import Pipeline, open_embedder
from pipeline.registry import make
from pipeline.retrieval.word_index import WordIndex
from pipeline.types import Question, Turn

DATA = Path(__file__).parent.parent.parent / "shared" / "data" / "locomo" / "locomo_first6.json"
CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop", 5: "adversarial"}
DEPTHS = (5, 10, 20)
TUNED_ON = "conv-26"
FULL_SHARE = 0.77
"""The share of the window for the words of the turns. The template of that many turns takes most of the rest."""
INSTRUCTIONS = (
    "Answer the question about what was said between two people, with as few words as possible, and no sentence. A "
    "date is a day, a month and a year."
)


@dataclass(frozen=True)
class TalkQuestion:
    """A question, the numbers of its evidence turns, its answer, and its category."""

    text: str
    evidence: frozenset[int]
    answer: str
    category: int


@dataclass(frozen=True)
class Talk:
    """A conversation: its turns, numbered from 1, and its questions."""

    name: str
    turns: tuple[Turn, ...]
    questions: tuple[TalkQuestion, ...]
    n_without_evidence: int


def conversations(path: Path, n: int | None) -> list[Talk]:
    return [parse_talk(raw) for raw in json.loads(path.read_text(encoding="utf-8"))[:n]]


def parse_talk(raw: dict[str, Any]) -> Talk:
    turns: list[Turn] = []
    numbers: dict[str, int] = {}
    sessions = sorted((key for key in raw["conversation"] if re.fullmatch(r"session_\d+", key)), key=_number)
    for session in sessions:
        time = _time(raw["conversation"][f"{session}_date_time"])
        for message in raw["conversation"][session]:
            text = f"{message['speaker']}: {message['text']}"
            text += f" [shows {message['blip_caption']}]" if message.get("blip_caption") else ""
            numbers[message["dia_id"]] = len(turns) + 1
            turns.append(Turn(len(turns) + 1, text, "", time))
    questions = []
    for qa in raw["qa"]:
        ids = [id_.replace("D:", "D") for text in qa["evidence"] for id_ in re.findall(r"D:?\d+:\d+", text)]
        evidence = frozenset(numbers[id_] for id_ in ids if id_ in numbers)
        if evidence:
            questions.append(TalkQuestion(qa["question"], evidence, str(qa.get("answer", "")), qa["category"]))
    return Talk(raw["sample_id"], tuple(turns), tuple(questions), len(raw["qa"]) - len(questions))


def _number(session: str) -> int:
    return int(session.split("_")[1])


def _time(text: str) -> str:
    """`1:56 pm on 8 May, 2023` in ISO 8601."""
    return datetime.strptime(text.upper(), "%I:%M %p ON %d %B, %Y").replace(tzinfo=UTC).isoformat(timespec="seconds")


# ---------------------------------------------------------------------------------------------------------- evidence
class Once:
    """An embedder that reads each text once, for all methods."""

    def __init__(self, inner: Embedder) -> None:
        self.inner = inner
        self.known: dict[str, Any] = {}

    def embed(self, texts: Sequence[str], progress: Any = None) -> Any:
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        if new:
            self.known.update(zip(new, self.inner.embed(new, progress), strict=True))
        return np.stack([self.known[text] for text in texts])

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def rankings(talk: Talk, folder: Path, runtime: Pipeline) -> dict[str, list[list[int]]]:
    """For each method and question the numbers of the turns, best first."""
    depth = max(DEPTHS)
    return {
        "hierarchical": by_memory(talk, folder, runtime, depth),
        "dense": by_cosine(talk, runtime.embedder, depth),
        "bm25": by_words(talk, depth),
    }


def by_memory(talk: Talk, folder: Path, runtime: Pipeline, depth: int) -> list[list[int]]:
    memory = Hierarchical(summarise="none").open(folder, runtime)
    for turn in talk.turns:
        memory.commit(turn)
    component = memory.settings
    ranked = [
        [n for hit in memory.search(component.query(question.text), depth) for n in hit.turns]
        for question in talk.questions
    ]
    memory.close()
    return ranked


def by_cosine(talk: Talk, embedder: Embedder, depth: int) -> list[list[int]]:
    vectors = embedder.embed([turn_text(turn) for turn in talk.turns])
    queries = embedder.embed([question.text for question in talk.questions])
    return (np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, :depth] + 1).tolist()  # type: ignore[no-any-return]


def by_words(talk: Talk, depth: int) -> list[list[int]]:
    index = WordIndex.build((turn.number, turn_text(turn)) for turn in talk.turns)
    return [[number for number, _ in index.search(question.text, depth)] for question in talk.questions]


def recall(ranked: Sequence[int], evidence: frozenset[int], k: int) -> float:
    return len(evidence & set(ranked[:k])) / len(evidence)


def summed_up(rows: Sequence[tuple[str, TalkQuestion, dict[str, list[int]]]]) -> dict[str, Any]:
    """Means over questions, of all and by category."""

    def mean(method: str, k: int, category: int | None) -> float | None:
        each = [recall(r[method], a.evidence, k) for _, a, r in rows if category in (None, a.category)]
        return round(sum(each) / len(each), 4) if each else None

    result: dict[str, Any] = {"n_questions": len(rows)}
    for method in ("hierarchical", "dense", "bm25"):
        result[method] = {f"recall_at_{k}": mean(method, k, None) for k in DEPTHS}
        result[method]["by_category"] = {
            name: {f"recall_at_{k}": mean(method, k, category) for k in DEPTHS} for category, name in CATEGORIES.items()
        }
    best = max(result[m]["recall_at_10"] for m in ("dense", "bm25"))
    result["above_better_baseline_at_10"] = round(result["hierarchical"]["recall_at_10"] - best, 4)
    return result


# ----------------------------------------------------------------------------------------------------------- answers
def answered(
    talks: Sequence[Talk],
    model: str,
    n: int,
    window: int,
    max_tokens: int,
    seed: int,
    folder: Path,
    summarise: str,
    embedder: Embedder,
) -> dict[str, Any]:
    """F1 and tokens of each memory on a sample of questions, all methods on each question."""
    pool = [
        (talk, question) for talk in talks for question in talk.questions if question.category != 5 and question.answer
    ]
    sample = random.Random(seed).sample(pool, min(n, len(pool)))
    methods = {
        "none": make("memory.none"),
        "window": make("memory.window", {"turns": 10, "tokens": 600}),
        "hierarchical": make("memory.hierarchical", {"summarise": summarise}),
        "full": make("memory.window", {"turns": 100_000, "tokens": int(FULL_SHARE * window)}),
    }
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in methods}
    generate = make("generate.llama", {"model": model, "n_ctx": window, "max_tokens": max_tokens})
    assemble = make("assemble.cited", {"instructions": INSTRUCTIONS})
    shared: Pipeline | None = None
    for name, memory in methods.items():
        config = PipelineConfig("memory.py", (memory, assemble, generate))
        pipeline = Pipeline(config, folder)
        pipeline.use(embedder=embedder)
        if shared is not None:  # one model for all
            pipeline.use(reader=shared.reader)
        shared = shared or pipeline
        for talk in talks:
            # By length, so that the turns that fit, and with them the cached prefix, change as rarely as possible.
            questions = sorted(
                (question for t, question in sample if t is talk), key=lambda question: len(question.text)
            )
            if questions:
                rows[name] += _ask_all(talk, questions, name, pipeline, folder)
    if shared is not None:
        shared.close()
    return _compared(rows, seed)


def _ask_all(
    talk: Talk, questions: Sequence[TalkQuestion], name: str, pipeline: Pipeline, folder: Path
) -> list[dict[str, float]]:
    """Each question alone after the whole conversation: none of them becomes a turn."""
    memory = memory_of(pipeline).open(folder / f"{talk.name}-{name}", pipeline)
    start = perf_counter()
    for turn in paired(talk.turns):
        memory.commit(turn)
    memory.settle(pipeline)
    pipeline.recollection = memory
    settle_s = perf_counter() - start
    rows = []
    for question in questions:
        start = perf_counter()
        state = pipeline.ask(Question(question.text))
        text = state.answer.text if state.answer else ""
        row = {"f1": f1(text, question.answer), "tokens": state.ledger.prompt_tokens, "s": perf_counter() - start}
        rows.append(row)
        print(
            f"{name:13} {talk.name} {row['f1']:.2f} {row['tokens']:6} {question.answer!r:.50} <- {text!r:.80}",
            flush=True,
        )
    print(f"{name:13} {talk.name}: {len(talk.turns)} turns remembered in {settle_s:.0f} s", flush=True)
    memory.close()
    pipeline.recollection = None
    return rows


def paired(messages: Sequence[Turn]) -> list[Turn]:
    """Messages two by two, as question and answer, never across sessions; a session's last may have no answer."""
    turns: list[Turn] = []
    before = ""
    for message in messages:
        if message.time != before:
            date = datetime.fromisoformat(message.time).strftime("%d %B %Y")
            turns.append(Turn(len(turns) + 1, f"[{date}] {message.question}", "", message.time))
        elif not turns[-1].answer:
            turns[-1] = replace(turns[-1], answer=message.question)
        else:
            turns.append(Turn(len(turns) + 1, message.question, "", message.time))
        before = message.time
    return turns


def f1(answer: str, gold: str) -> float:
    """The F1 of the words that answer and gold answer share, as SQuAD counts them."""
    words, gold_words = _plain(answer), _plain(gold)
    same = sum((Counter(words) & Counter(gold_words)).values())
    return 2 * same / (len(words) + len(gold_words)) if same else 0.0


def _plain(text: str) -> list[str]:
    text = re.sub(r"\[\d+\]", " ", text.lower())
    text = "".join(" " if character in string.punctuation else character for character in text)
    return [word for word in text.split() if word not in ("a", "an", "the")]


def _compared(rows: dict[str, list[dict[str, float]]], seed: int) -> dict[str, Any]:
    full = np.array([row["f1"] for row in rows["full"]])
    result: dict[str, Any] = {}
    for name, each in rows.items():
        scores = np.array([row["f1"] for row in each])
        result[name] = {
            "f1": round(float(scores.mean()), 4),
            "f1_interval": _interval(scores, seed),
            "f1_minus_full": round(float((scores - full).mean()), 4),
            "f1_minus_full_interval": _interval(scores - full, seed),
            "tokens_per_question": round(float(np.mean([row["tokens"] for row in each])), 1),
            "s_per_question": round(float(np.mean([row["s"] for row in each])), 2),
        }
    share = result["hierarchical"]["tokens_per_question"] / result["full"]["tokens_per_question"]
    return {"n_questions": len(full), **result, "hierarchical_tokens_over_full": round(share, 4)}


def _interval(values: Any, seed: int, n: int = 10_000) -> list[float]:
    """The 95 % percentile interval of the mean, by bootstrap over questions."""
    picks = np.random.default_rng(seed).integers(0, len(values), (n, len(values)))
    low, high = np.percentile(values[picks].mean(axis=1), [2.5, 97.5])
    return [round(float(low), 4), round(float(high), 4)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=["locomo"], required=True)
    parser.add_argument("--conversations", type=int, help="the first N of the six")
    parser.add_argument("--model", help="a GGUF file or a name: then questions are answered too")
    parser.add_argument("--questions", type=int, default=60, help="how many are answered, over all conversations")
    parser.add_argument("--window", type=int, default=8192, help="cells of the reader's context")
    parser.add_argument("--max-tokens", type=int, default=32)
    parser.add_argument("--summaries", choices=["model", "extract"], default="extract")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--answers-only", action="store_true", help="without the recall of evidence; needs --model")
    arguments = parser.parse_args()
    if arguments.answers_only and not arguments.model:
        parser.error("--answers-only needs --model")
    switch_off_telemetry()
    start = perf_counter()
    talks = conversations(DATA, arguments.conversations)
    runtime = Pipeline(PipelineConfig("memory.py", ()), Path("nowhere"))
    runtime.use(embedder=Once(open_embedder(IndexSettings())))
    rows: list[tuple[str, TalkQuestion, dict[str, list[int]]]] = []
    with tempfile.TemporaryDirectory() as temporary:
        for talk in () if arguments.answers_only else talks:
            ranked = rankings(talk, Path(temporary) / talk.name, runtime)
            for n, question in enumerate(talk.questions):
                rows.append((talk.name, question, {method: numbers[n] for method, numbers in ranked.items()}))
            print(
                f"{talk.name}: {len(talk.turns)} turns, {len(talk.questions)} questions, {perf_counter() - start:.0f} s"
            )
        result: dict[str, Any] = {
            "set": arguments.set,
            "unit": "one turn of the dialogue (one message of one speaker, with name and picture caption)",
            "n_conversations": len(talks),
            "n_turns": sum(len(talk.turns) for talk in talks),
            "n_without_evidence": sum(talk.n_without_evidence for talk in talks),
            "settings": vars(Hierarchical(summarise="none")),
        }
        if rows:
            held_out = [row for row in rows if row[0] != TUNED_ON]
            result |= summed_up(rows)
            result["held_out"] = summed_up(held_out) if held_out else None
            result |= {"tuned_on": TUNED_ON, "evidence_s": round(perf_counter() - start, 1)}
        if arguments.model:
            result["model"] = arguments.model
            result["window"] = arguments.window
            result["seed"] = arguments.seed
            result["answers"] = answered(
                talks, arguments.model, arguments.questions, arguments.window, arguments.max_tokens, arguments.seed,
                Path(temporary), arguments.summaries, runtime.embedder,
            )  # fmt: skip
    for method in ("hierarchical", "dense", "bm25") if rows else ():
        print(f"{method:13}", "  ".join(f"recall@{k} {result[method][f'recall_at_{k}']:.4f}" for k in DEPTHS))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
