"""What a conversation costs as it grows: the wait for the first word, that of the next day, and 300 turns' memory.

    .venv/bin/python benchmarks/chat.py
    .venv/bin/python benchmarks/chat.py --rounds 1 --turns 120          # a quick look
    .venv/bin/python benchmarks/chat.py --part resumed                  # or first, ahead, turns

First word: ten questions about the same 1500 tokens of this project's own prose, all of it in every prompt, answered by
the default model with the chat's own memory. `ttft` runs from the question to the first piece of the answer, retrieval
and all; the embedder and the model are loaded before. Each round begins with an empty KV cache; medians of the rounds.

Resumed: the same documents and pipeline. A process asks the first question and two more, and ends; another opens the
session and asks a new question. `resumed_over_first` is the second process's `ttft`, what it loads from disk
included, over that of the first question. The model, and what the chat loads while one types, are loaded before in
both. `_cpu` is the same in processor seconds, which a busy machine does not stretch.

Ahead: a chat with `reuse: sentences`, whose questions are typed at eight characters a second. In one way the likely
passages are read meanwhile, in the other nothing is; ways take turns on each question, each with cells of its own.
`ahead_stop_ms` runs from the enter key to the end of that reading, which the question waits for; `ttft` begins with the
enter key in both ways.

Turns: a chat with the scripted model, and with everything else real (index, embedder, memory on disk, rewriting of
follow-ups), as `longthread chat` runs it from a pipe. `growth_mb` is the resident memory after the last turn less that
after turn 50; `latency_ratio` is the median time of the last 50 turns over that of turns 20 to 70, what memory does
after an answer included. `processor_ratio` is the same of processor time, which says more on a machine that does other
things too. The last line is JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter, process_time, sleep
from typing import Any

import psutil
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parent.parent))

from cli.chat.asking import TypedQuestion, ask
from cli.chat.chat import Chat
from cli.chat.settings import Settings
from cli.progress import Display
from memory.hierarchical import Hierarchical
from pipeline.config import IndexSettings, PipelineConfig
from pipeline.conversation.conversation import Conversation
from pipeline.default import chat_pipeline
from pipeline.docs_index import docs_folder, update_index
from pipeline.offline import switch_off_telemetry
from pipeline.pipeline import Pipeline
from pipeline.reading_ahead import IdleReader
from pipeline.registry import make
from pipeline.storage.cache import cache_folder

ROOT = Path(__file__).parent.parent
DOCUMENT_TOKENS = 1500
QUESTIONS = (
    "How many beehives does the Orla garden have?",
    "What does a return ticket for a child cost?",
    "Who repaired the clock in the tower?",
    "How large is the main mirror of the telescope?",
    "When does the ferry leave in winter?",
    "Who was the first captain of the Merrow?",
    "When was the town hall finished?",
    "Who found the comet, and when?",
    "How much honey did the garden give last summer?",
    "Where does the council meet?",
)
FOLLOW_UPS = ("And why?", "Who said that?", "How much does it cost?")
MEMORY = chat_pipeline().memory or Hierarchical()


# ----------------------------------------------------------------------------------------------------- the first word
def write_documents(folder: Path, pipeline: Pipeline) -> int:
    """The demo's documents and then our own prose, cut so that the texts have DOCUMENT_TOKENS tokens together."""
    count = pipeline.reader.count_text
    left = DOCUMENT_TOKENS
    for path in [*sorted((ROOT / "configs/demo/documents").glob("*.[mt]*")), *sorted((ROOT / "docs").rglob("0*.md"))]:
        words = path.read_text("utf-8").split(" ")
        while words and count(" ".join(words)) > left:
            words = words[: -max(1, len(words) // 20)]
        if words:
            (folder / path.name).write_text(" ".join(words), encoding="utf-8")
            left -= count(" ".join(words))
        if left < 20:
            break
    return DOCUMENT_TOKENS - left


def first_words(folder: Path, index: Path, config: PipelineConfig) -> list[dict[str, Any]]:
    """For each question in turn: seconds to the first piece, tokens of the prompt, and how many were reused."""
    turns: list[dict[str, Any]] = []
    with Pipeline(config, index) as pipeline:
        load_all(pipeline)
        with Conversation(pipeline, folder) as conversation:
            for question in QUESTIONS:
                came: list[float] = []

                def first(piece: str, came: list[float] = came) -> None:
                    came.append(perf_counter())

                pipeline.listener = replace(pipeline.listener, on_text=first)
                start = perf_counter()
                state = conversation.ask(question)
                conversation.settle()
                account = state.ledger
                generation = account.generation
                if generation is None or not came:
                    raise RuntimeError(f"no answer to {question}: {account.notes}")
                turns.append(
                    {
                        "ttft_s": came[0] - start,
                        "prompt_tokens": generation.prompt_tokens,
                        "reused_tokens": generation.reused_tokens,
                        "passage_tokens": dict(account.parts).get("passages", 0),
                    }
                )
    return turns


def measure_first_words(rounds: int, work: Path) -> dict[str, Any]:
    index, n_tokens = index_documents(work)
    all_rounds = [first_words(work / f"round{n}", index, whole_config()) for n in range(rounds)]
    for n, turns in enumerate(all_rounds):
        waits = " ".join(f"{turn['ttft_s']:.2f}" for turn in turns)
        print(f"round {n}: ttft {waits} s", flush=True)
    median = [statistics.median(turns[n]["ttft_s"] for turns in all_rounds) for n in range(len(QUESTIONS))]
    last = all_rounds[0][-1]
    return {
        "ttft_turn10_over_turn1": round(median[-1] / median[0], 3),
        "ttft_turn1_s": round(median[0], 3),
        "ttft_turn10_s": round(median[-1], 3),
        "document_tokens": n_tokens,
        "passage_tokens_turn1": all_rounds[0][0]["passage_tokens"],
        "passage_tokens_turn10": last["passage_tokens"],
        "prompt_tokens_turn10": last["prompt_tokens"],
        "reused_tokens_turn10": last["reused_tokens"],
        "reused_share": round(
            sum(turn["reused_tokens"] for turn in all_rounds[0][1:])
            / sum(turn["prompt_tokens"] for turn in all_rounds[0][1:]),
            3,
        ),
        "rounds": rounds,
    }


# ------------------------------------------------------------------------------------------------------- the next day
def whole_config() -> PipelineConfig:
    """All documents stand in every prompt."""
    return replace(
        chat_pipeline(),
        index=IndexSettings(),
        stages=(
            make("retrieve.dense", {"k": 400}),
            MEMORY,
            make("assemble.cited"),
            make("generate.llama", {"model": "smollm2-135m", "max_tokens": 48}),
        ),
    )


def _note_time(times: list[tuple[float, float]], _: str) -> None:
    times.append((perf_counter(), process_time()))


def _note_clock(times: list[float], _: str) -> None:
    times.append(perf_counter())


def one_day(index: Path, folder: Path, questions: Sequence[str]) -> list[dict[str, float]]:
    """Opens a session, asks, and closes it: seconds and processor seconds to each first piece, and the tokens read."""
    turns: list[dict[str, float]] = []
    with Pipeline(whole_config(), index) as pipeline:
        load_all(pipeline)
        with Conversation(pipeline, folder) as conversation:
            conversation.warm_up()
            for question in questions:
                came: list[tuple[float, float]] = []
                pipeline.listener = replace(pipeline.listener, on_text=partial(_note_time, came))
                start, worked = perf_counter(), process_time()
                state = conversation.ask(question)
                conversation.settle()
                generation = state.ledger.generation
                if generation is None or not came:
                    raise RuntimeError(f"no answer to {question}: {state.ledger.notes}")
                n_read = generation.read_tokens
                turns.append({"ttft_s": came[0][0] - start, "cpu_s": came[0][1] - worked, "read": n_read})
    return turns


def load_all(pipeline: Pipeline) -> None:
    pipeline.embedder.embed(["warm"])
    pipeline.reader.count_text("warm")
    pipeline.index.n_chunks  # noqa: B018 - opens it


def index_documents(work: Path) -> tuple[Path, int]:
    """An index of about DOCUMENT_TOKENS tokens, and how many there are."""
    documents = work / "documents"
    documents.mkdir(exist_ok=True)
    config = whole_config()
    with Pipeline(config, work) as pipeline:
        n_tokens = write_documents(documents, pipeline)
    index = docs_folder([str(documents)], config.index)
    update_index(index, [str(documents)], config.index, lambda what, done, total: None)
    return index, n_tokens


def measure_resumed(rounds: int, work: Path) -> dict[str, Any]:
    index, n_tokens = index_documents(work)
    first, resumed = [], []
    for n in range(rounds):
        shutil.rmtree(cache_folder() / "snapshots", ignore_errors=True)  # those of the round before hold these prompts
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            first.append(process.submit(one_day, index, work / f"days{n}", QUESTIONS[:3]).result()[0])
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            resumed.append(process.submit(one_day, index, work / f"days{n}", QUESTIONS[3:4]).result()[0])
        print(f"round {n}: first {first[-1]}, resumed {resumed[-1]}", flush=True)
    days = [statistics.median(turn["ttft_s"] for turn in turns) for turns in (first, resumed)]
    cpu = [statistics.median(turn["cpu_s"] for turn in turns) for turns in (first, resumed)]
    return {
        "resumed_over_first": round(days[1] / days[0], 3),
        "resumed_over_first_cpu": round(cpu[1] / cpu[0], 3),
        "ttft_first_day_s": round(days[0], 3),
        "ttft_resumed_s": round(days[1], 3),
        "read_first_day": first[0]["read"],
        "read_resumed": resumed[0]["read"],
        "resumed_document_tokens": n_tokens,
    }


# -------------------------------------------------------------------------------------------------- while one types
CHARACTERS_PER_SECOND = 8.0


class Typist:
    """A line as far as it is typed."""

    def __init__(self, line: str) -> None:
        self.line, self.start = line, perf_counter()

    def __call__(self) -> str:
        return self.line[: int((perf_counter() - self.start) * CHARACTERS_PER_SECOND)]

    def finish(self) -> None:
        """Waits until all is typed, and a moment longer, as for whoever reads it once more."""
        sleep(max(0.0, len(self.line) / CHARACTERS_PER_SECOND - (perf_counter() - self.start)) + 1.0)


def measure_ahead(work: Path) -> dict[str, Any]:
    documents = [str(ROOT / "configs/demo/documents"), str(ROOT / "docs/decisions")]
    config = replace(
        chat_pipeline(),
        stages=(
            *chat_pipeline().stages[:-2],
            make("assemble.cited", {"reuse": "sentences"}),
            make("generate.llama", {"model": "smollm2-135m", "n_ctx": 2048, "max_tokens": 16}),
        ),
    )
    index = docs_folder(documents, config.index)
    update_index(index, documents, config.index, lambda what, done, total: None)
    waits: dict[str, list[float]] = {"without": [], "ahead": []}
    read: dict[str, list[int]] = {"without": [], "ahead": []}
    stops: list[float] = []
    n_ahead: list[int] = []
    with contextlib.ExitStack() as stack:
        talks: dict[str, Conversation] = {}
        for name in waits:
            os.environ["LONGTHREAD_CACHE"] = str(work / name)
            pipeline = stack.enter_context(Pipeline(config, index))
            load_all(pipeline)
            pipeline.reader.pieces  # type: ignore[attr-defined]  # noqa: B018 - its folder is this way's from now on
            talks[name] = stack.enter_context(Conversation(pipeline, work / f"talk-{name}"))
        os.environ["LONGTHREAD_CACHE"] = str(work)
        last = None
        for question in QUESTIONS:
            for name, talk in talks.items():
                typist = Typist(question)
                if name == "ahead":
                    reader = IdleReader(talk.pipeline, last, typist)
                    reader.start()
                    typist.finish()
                start = perf_counter()
                if name == "ahead":
                    reader.stop()
                    stops.append(perf_counter() - start)
                    n_ahead.append(reader.n_tokens)
                came: list[float] = []
                talk.pipeline.listener = replace(talk.pipeline.listener, on_text=partial(_note_clock, came))
                state = talk.ask(question)
                generation = state.ledger.generation
                if generation is None or not came:
                    raise RuntimeError(f"no answer to {question}: {state.ledger.notes}")
                waits[name].append(came[0] - start)
                read[name].append(generation.read_tokens)
                talk.settle()
                if name == "ahead":
                    last = state
            print(
                f"{question} without {waits['without'][-1]:.2f} s, ahead {waits['ahead'][-1]:.2f} s "
                f"(stopped in {1000 * stops[-1]:.0f} ms)",
                flush=True,
            )
    medians = {name: statistics.median(values) for name, values in waits.items()}
    return {
        "ahead_ttft_over_without": round(medians["ahead"] / medians["without"], 3),
        "ahead_ttft_s": round(medians["ahead"], 3),
        "without_ttft_s": round(medians["without"], 3),
        "ahead_stop_ms": round(1000 * statistics.median(stops), 1),
        "ahead_stop_ms_max": round(1000 * max(stops), 1),
        "ahead_read_while_typing": sum(n_ahead),
        "ahead_read_after_enter": sum(read["ahead"]),
        "without_read_after_enter": sum(read["without"]),
    }


# ----------------------------------------------------------------------------------------------------------- 300 turns
SCRIPTED = """\
stages:
  - retrieve.hybrid: {k: 8}
  - compress.sentences: {top_k: 5}
  - memory.hierarchical
  - assemble.cited
  - generate.scripted: {n_ctx: 2048}
"""


def question(n: int) -> str:
    """The n-th thing said: a question of the demo, a fact to be remembered, or a follow-up; none is said twice."""
    if n % 5 == 3:
        return FOLLOW_UPS[n // 5 % len(FOLLOW_UPS)]
    if n % 5 == 4:
        return f"The box number {n} of the archive was moved to the shelf {n * 7 % 50} on the day {n % 28 + 1}."
    return f"{QUESTIONS[n % len(QUESTIONS)][:-1]} in the year {1700 + n}?"


def measure_turns(n_turns: int, work: Path) -> dict[str, Any]:
    path = work / "scripted.yaml"
    path.write_text(SCRIPTED, encoding="utf-8")
    settings = Settings(docs=(str(ROOT / "configs/demo/documents"),), config=str(path))
    process = psutil.Process()
    seconds: list[float] = []
    processor: list[float] = []
    rss: dict[int, float] = {}
    with (
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
        Chat.open("benchmark", settings, Console(file=nowhere), Display(quiet=True), False) as chat,
    ):
        for n in range(n_turns):
            start, worked = perf_counter(), process_time()
            ask(chat, TypedQuestion(question(n)))
            seconds.append(perf_counter() - start)
            processor.append(process_time() - worked)
            if n + 1 in (50, n_turns):
                gc.collect()
                rss[n + 1] = process.memory_info().rss / 1e6
        n_units = sum(item.tier == "unit" for item in chat.conversation.memory.items())
        on_disk = sum(file.stat().st_size for file in chat.folder.rglob("*") if file.is_file())
    early, late = statistics.median(seconds[20:70]), statistics.median(seconds[-50:])
    return {
        "turns": n_turns,
        "growth_mb": round(rss[n_turns] - rss[50], 1),
        "rss_turn50_mb": round(rss[50], 1),
        "latency_ratio": round(late / early, 3),
        "processor_ratio": round(statistics.median(processor[-50:]) / statistics.median(processor[20:70]), 3),
        "turn_s_early": round(early, 4),
        "turn_s_late": round(late, 4),
        "slowest_turn_s": round(max(seconds[20:]), 3),
        "units": n_units,
        "on_disk_mb": round(on_disk / 1e6, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--turns", type=int, default=300)
    parser.add_argument("--part", choices=("all", "first", "resumed", "ahead", "turns"), default="all")
    arguments = parser.parse_args()
    if arguments.turns < 120 or arguments.rounds < 1:
        parser.error("--turns must be at least 120 (the last 50 are compared with turns 20 to 70), --rounds at least 1")
    switch_off_telemetry()
    load = os.getloadavg()[0]
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        os.environ["LONGTHREAD_CACHE"] = os.environ["LONGTHREAD_DATA"] = name
        if arguments.part in ("all", "first"):
            result |= measure_first_words(arguments.rounds, work)
        if arguments.part in ("all", "resumed"):
            result |= measure_resumed(arguments.rounds, work)
        if arguments.part in ("all", "ahead"):
            result |= measure_ahead(work)
        if arguments.part in ("all", "turns"):
            result |= measure_turns(arguments.turns, work)
    print(json.dumps(result | {"load_before": round(load, 2)}))


if __name__ == "__main__":
    main()
