"""What it costs and what it saves to put passages' kept cells together instead of reading them. Prints one JSON line.

    .venv/bin/python benchmarks/cells.py [--model PATH] [--set xquad|hotpotqa|2wiki|harbour] [--n N] [--ways A,B]
        [--choices A,B] [--out FILE [--from I] [--minutes M] [--cache FOLDER]]

The built-in pipeline without its gate, with the prompts that users get, in these ways, which take turns on each
question: `read_all` reads the retrieved passages; `read_sentences` reads the sentences that compress.exit_mini chooses;
`passages_k<k>` is `reuse: passages` with `reread: <k>`; `sentences` is `reuse: sentences` behind compress.exit_mini;
`attention` is the same behind compress.attention, and `attention_again<n>` chooses again after every n tokens of the
answer (`n_added`: how often that found something). The passages of a question were read before (what that took is
`first_time_cost`, over plain reading, for a token), the prompt's beginning up to the passages is in the cache in every
way, and nothing else is: no vectors of sentences, no other prompt.

Each way is asked in the layout that `models try` found for it (`layouts`). It has `f1` (of what is shown; `f1_model`:
of what the model wrote) and `right` (the share of answers that hold the right one; `right_model`), with paired
differences to read_all and to read_sentences (bootstrap, 95 %), `gold_logprob` (of a token of the right answer),
`ttft_s` (of the prompt alone) and `arrival_s` (from the question's arrival to the first token: retrieval, choice and
laying out included; `_cpu_s` in processor seconds of this process, which a busy machine does not stretch), each over
that of read_all, `done_s` (until the answer is there), `answer_tokens`, `stages_s`, of the prompt `cells`, `restored`
and `read`, and `supporting_recall`: the share of the supporting sentences that is shown.

`choices` compares what chooses the sentences, on the retrieved passages and (`_paragraph`) on the question's own
paragraph or documents alone: `attention` on passages that were read before, `probe` (compress.probe with the same
model), both also `_alone` (without `similarity`), and `exit_mini`. Each has its `auc`, `s`, `cpu_s`, and these seconds
over those of `probe` and `probe_alone`.

xquad: 240 paragraphs in an index, five passages retrieved; harbour: its documents, likewise; hotpotqa, 2wiki: the
question's own documents. Only rows marked eval in ../shared/data/INDEX.md are read.

With `--out` each question is a line of that file, and a later call with the same options goes on after the last of
them: `--minutes 20` in a loop measures 200 questions in stages, and the JSON line is of all that are there. `--cache`
keeps the index and the passages' cells between the calls. What is left is estimated on standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.compression import difference, questions_of, sample
from compressors.attention import Attention
from compressors.calibration.labelled import Labelled
from compressors.calibration.ranking import auc
from compressors.calibration.store import AttentionCalibration, ProbeCalibration, stored
from compressors.exit_mini import ExitMini
from compressors.probe import Probe
from compressors.selection import Units
from pipeline.answers.writing import ADDED
from pipeline.config import PipelineConfig
from pipeline.contracts import Component
from pipeline.docs_index import update_index
from pipeline.evaluation.answers import f1, holds
from pipeline.gguf.catalogue import resolve
from pipeline.gguf.tune import machine
from pipeline.listener import Listener
from pipeline.models.capabilities import before_answer
from pipeline.models.engine import Engine
from pipeline.pipeline import Pipeline
from pipeline.registry import make
from pipeline.retrieval import remembered
from pipeline.stages import run_stage
from pipeline.storage import cell_files
from pipeline.storage.cache import cache_folder
from pipeline.types import Document, Passage, Prompt, Question, State, Text

ROOT = Path(__file__).parent.parent
BASES = ("read_all", "read_sentences")
MAX_TOKENS = 32
CHOICES: dict[str, Any] = {
    "attention": Attention(),
    "attention_alone": Attention(similarity=False),
    "probe": Probe(model=None),
    "probe_alone": Probe(model=None, similarity=False),
    "exit_mini": ExitMini(),
}
"""What chooses sentences, by name."""


@dataclass(frozen=True)
class Asked:
    """A question with its right answers, and where there are labels, the sentences that support them."""

    question: Question
    answers: tuple[str, ...]
    labelled: Labelled | None = None


@dataclass
class Way:
    """A pipeline. `begin` is the beginning of its prompts, up to the passages."""

    runtime: Pipeline
    begin: Prompt = ()


Row = dict[str, Any]
"""What was measured on one question, as a line of the file: `ways`, `stages`, `choices`, `pieces`, `seconds`."""


class Rows(list[Row]):
    """The rows of all questions so far."""

    def values(self, part: str, name: str, key: str) -> list[float]:
        """A figure of each question that has it, in the order of the questions."""
        return [row[part][name][key] for row in self if key in row[part].get(name, {})]

    def mean(self, part: str, name: str, key: str) -> float:
        return float(np.mean(self.values(part, name, key)))

    def keys(self, part: str, name: str) -> list[str]:
        return list(dict.fromkeys(key for row in self for key in row[part].get(name, {})))


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
        asked = [Asked(Question(one.question), tuple(one.answers), one) for one in chosen]
        passages = {p.source: p for one in everything for p in one.units.passages}
        return asked, [Document(p.source, p.text, title=p.title) for p in passages.values()], []
    asked = []
    for one in chosen:
        documents = tuple(Document(p.source, p.text, title=p.title) for p in one.units.passages)
        asked.append(Asked(Question(one.question, documents=documents), tuple(one.answers), one))
    return asked, [], []


def stages_of(way: str, name: str, model: str, n_ctx: int, threads: int | str = "auto") -> tuple[Component, ...]:
    """The built-in pipeline's stages in one of the ways."""
    given = name in ("hotpotqa", "2wiki")
    retrieve = make("retrieve.given") if given else make("retrieve.hybrid", {"k": 5})
    limits = (("keep_ratio", 0.3),) if given else (("keep_ratio", None), ("top_k", 5))
    kind, _, again = way.partition("_again")
    compressor = {"read_sentences": "exit_mini", "sentences": "exit_mini", "attention": "attention"}.get(kind)
    more = (("again", int(again)),) if again else ()
    compress = (make(f"compress.{compressor}", dict(limits + more)),) if compressor else ()
    cited: tuple[tuple[str, Any], ...] = (("reuse", "sentences"),) if kind in ("sentences", "attention") else ()
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

    def measure(self, way: Way, asked: Asked) -> tuple[dict[str, float], dict[str, float]]:
        """The figures of one way on one question, and the seconds of its stages."""
        runtime, engine = way.runtime, self.engine
        self._read_passages(way, asked)
        started, cpu_started = perf_counter(), process_time()
        first: list[float] = []

        def on_text(text: str) -> None:
            if not first:
                first.extend((perf_counter() - started, process_time() - cpu_started))

        runtime.listener = Listener(on_text=on_text)
        state = self._answered(runtime, asked.question)
        if not first:
            on_text("")
        done_s = perf_counter() - started
        done, answer = state.ledger.generation, state.answer
        assert done is not None and answer is not None  # noqa: PT018
        prompt = before_answer(engine, state.prompt)
        values = {
            "f1": max(f1(answer.text, gold) for gold in asked.answers),
            "f1_model": max(f1(done.text, gold) for gold in asked.answers),
            "right": any(holds(answer.text, gold) for gold in asked.answers),
            "right_model": any(holds(done.text, gold) for gold in asked.answers),
            "gold_logprob": engine.score(prompt, [""], [asked.answers[0]])[0, 0] / engine.count_text(asked.answers[0]),
            "ttft_s": done.prefill_s,
            "arrival_s": first[0],
            "arrival_cpu_s": first[1],
            "done_s": done_s,
            "answer_tokens": done.answer_tokens,
            "n_added": sum(note.endswith(ADDED) for note in state.ledger.stages[-1].notes),
            "cells": done.prompt_tokens,
            "restored": done.restored_tokens,
            "read": done.read_tokens,
        }
        if asked.labelled is not None:
            values["supporting_recall"] = supporting_recall(asked.labelled, state.shown)
        stages = {entry.stage: round(entry.seconds, 5) for entry in state.ledger.stages[:-1]}
        return {name: round(float(value), 5) for name, value in values.items()}, stages

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
            n_before, s_before = (engine.pieces.n_read, engine.pieces.read_s) if is_reused else (0, 0.0)
            state = State(asked.question, ledger=runtime.ledger)
            for stage in runtime.config.stages[:-1]:
                state = run_stage(stage, state, runtime, runtime.reserve)
            way.begin = beginning(state.prompt)
            if is_reused:
                engine.cells(state.prompt)
                self.piece_s += engine.pieces.read_s - s_before
                self.piece_tokens += engine.pieces.n_read - n_before
        engine.pool.forget()
        engine.next_logprobs(way.begin)
        self.look_elsewhere(way.begin)
        remembered.KEPT = remembered.Kept()

    def look_elsewhere(self, begin: Prompt) -> None:
        """Leaves the beginning of the prompts in the context that reads attention, and no passage."""
        calibrated = stored(AttentionCalibration, self.engine) or stored(ProbeCalibration, self.engine)
        if calibrated is not None:
            self.engine.attend(begin, (Text("?"),), [(layer, head) for layer, head, _ in calibrated.heads])

    def choices(self, names: Sequence[str], way: Way, asked: Asked) -> dict[str, dict[str, float]]:
        """How well and how fast each way to choose ranks the sentences that support the answer."""
        labelled, runtime = asked.labelled, way.runtime
        assert labelled is not None
        state = State(asked.question, ledger=runtime.ledger)
        state = run_stage(runtime.config.stages[0], state, runtime, runtime.reserve)
        found = Units.of(state.passages, runtime)
        both = {"": (found, supports_of(labelled, found.parts)), "_paragraph": (labelled.units, labelled.supports)}
        figures: dict[str, dict[str, float]] = {name: {} for name in names}
        for suffix, (units, supports) in both.items():
            if not any(supports) or all(supports):
                continue
            for name in names:
                chooser = CHOICES[name]
                if isinstance(chooser, Attention):
                    chooser.scores(asked.question.text, units, runtime)  # reads the passages that are not kept yet
                self.look_elsewhere(way.begin)
                remembered.KEPT = remembered.Kept()
                start, cpu_start = perf_counter(), process_time()
                scores = chooser.scores(asked.question.text, units, runtime)
                seconds, cpu_seconds = perf_counter() - start, process_time() - cpu_start
                figures[name][f"auc{suffix}"] = round(auc(scores, supports), 5)
                figures[name][f"s{suffix}"] = round(seconds, 4)
                figures[name][f"cpu_s{suffix}"] = round(cpu_seconds, 4)
        return figures


def supports_of(labelled: Labelled, parts: Sequence[Passage]) -> tuple[bool, ...]:
    """Which of some sentences overlap one that supports the answer."""
    right = [unit for unit, is_right in zip(labelled.units.parts, labelled.supports, strict=True) if is_right]
    return tuple(any(_overlaps(unit, part) for unit in right) for part in parts)


def supporting_recall(labelled: Labelled, shown: Sequence[Passage]) -> float:
    right = [unit for unit, is_right in zip(labelled.units.parts, labelled.supports, strict=True) if is_right]
    return sum(any(_overlaps(unit, passage) for passage in shown) for unit in right) / max(1, len(right))


def _overlaps(one: Passage, other: Passage) -> bool:
    return one.source == other.source and one.start < other.end and other.start < one.end


def beginning(prompt: Prompt) -> Prompt:
    """The prompt up to its passages."""
    n = next((n for n, span in enumerate(prompt) if span.part == "passages"), len(prompt))
    return prompt[:n]


def results(rows: Rows, ways: Sequence[str], choices: Sequence[str], seed: int) -> dict[str, Any]:
    report: dict[str, Any] = {}
    for name in ways:
        row: dict[str, Any] = {key: round(rows.mean("ways", name, key), 4) for key in rows.keys("ways", name)}
        for key in ("ttft", "arrival", "arrival_cpu"):
            if "read_all" in ways:
                base = rows.mean("ways", "read_all", f"{key}_s")
                row[f"{key}_over_read_all"] = round(rows.mean("ways", name, f"{key}_s") / base, 4)
        stages = rows.keys("stages", name)
        row["stages_s"] = {stage: round(rows.mean("stages", name, stage), 4) for stage in stages}
        once = name.partition("_again")[0]
        for base_name in (*BASES, *([once] if once != name else [])):
            if base_name in ways and name != base_name:
                for key in ("f1", "f1_model", "right", "right_model", "gold_logprob"):
                    own, other = (rows.values("ways", which, key) for which in (name, base_name))
                    if len(own) != len(other) or not own:  # rows of an older version
                        continue
                    mean, low, high = difference(own, other, seed)
                    row[f"{key}_to_{base_name}"] = {"diff": mean, "diff_low": low, "diff_high": high}
        report[name] = row
    for name in choices:
        row = {key: round(rows.mean("choices", name, key), 4) for key in rows.keys("choices", name)}
        for suffix in ("", "_paragraph"):
            for base_name in ("probe", "probe_alone"):
                for key in ("s", "cpu_s"):
                    if base_name in choices and f"{key}{suffix}" in row:
                        base = rows.mean("choices", base_name, f"{key}{suffix}")
                        row[f"{key}{suffix}_over_{base_name}"] = round(row[f"{key}{suffix}"] / base, 4)
        report.setdefault("choices", {})[name] = row
    return report


def line(
    options: argparse.Namespace, rows: Rows, engine: Engine, folder: Path, layouts: dict[str, str]
) -> dict[str, Any]:
    """What is printed."""
    ways, choices = names_of(options)
    plain = [name for name in BASES if name in ways]
    seconds = sum(sum(rows.values("ways", name, "ttft_s")) for name in plain)
    per_token = seconds / max(1, sum(sum(rows.values("ways", name, "read")) for name in plain))
    n_files, n_bytes = cell_files.size_of(folder / "pieces")
    piece_s, piece_tokens = (sum(row["pieces"][key] for row in rows) for key in ("s", "tokens"))
    result = {
        "set": options.set,
        "n": len(rows),
        "seed": options.seed,
        "model": engine.name,
        "why_not_compose": engine.why_not_compose,
        **results(rows, ways, choices, options.seed),
        "layouts": layouts,
        "disk_mb": round(n_bytes / 1e6, 1),
        "n_pieces": n_files,
        "s_per_question": round(float(np.mean([row["seconds"] for row in rows])), 2),
        "machine": machine(),
        "second_attempts": not options.one_attempt,
        "threads": engine.resolved.threads,
        "load": round(os.getloadavg()[0], 2),
    }
    if piece_tokens:
        from pipeline.models.resolving import cell_bytes

        result["bytes_per_token"] = cell_bytes(engine.weights, "f16", "f16")
        result["first_time_cost"] = round(piece_s / piece_tokens / per_token, 3) if per_token else None
        result["kl"] = round(engine.verdict.kl, 5)
    return result


def names_of(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """The ways, and the choices that are compared."""
    return [name for name in options.ways.split(",") if name], [name for name in options.choices.split(",") if name]


def earlier_rows(options: argparse.Namespace) -> tuple[Rows, dict[str, Any]]:
    """The rows of the file, and what its first line must be: the options that decide what is measured."""
    keys = ("set", "n", "seed", "ways", "choices", "model", "n_ctx", "threads", "one_attempt")
    head = {key: getattr(options, key) for key in keys}
    if options.out is None or not options.out.exists():
        return Rows(), head
    first, *others = (json.loads(text) for text in options.out.read_text("utf-8").splitlines())
    if first != head:
        changed = [f"{key}: {first.get(key)} there, {head[key]} here" for key in keys if first.get(key) != head[key]]
        sys.exit(f"{options.out}: was measured with other options ({'; '.join(changed)}): name another file")
    return Rows(sorted(others, key=lambda row: row["number"])), head


def run(options: argparse.Namespace, cache: Path) -> dict[str, Any]:
    rows, head = earlier_rows(options)
    asked, given, paths = read(options.set, options.n, options.seed, options.data)
    model = str(resolve(options.model))
    names, choices = names_of(options)
    threads = options.threads or "auto"
    configs = {
        name: PipelineConfig(name, stages_of(name, options.set, model, options.n_ctx, threads)) for name in names
    }
    folder = cache / "index"
    first = configs[names[0]]
    if given or paths:
        update_index(folder, paths, first.index, lambda what, done, total: None, given=given)
    done = {row["number"] for row in rows}
    pending = [(n, one) for n, one in enumerate(asked) if n not in done and n >= options.first]
    with Pipeline(first, folder) as runtime:
        ways = {name: Way(runtime.changed(config, folder)) for name, config in configs.items()}
        engine = runtime.reader
        assert isinstance(engine, Engine)
        bench = Bench(engine, not options.one_attempt)
        start = perf_counter()
        for n_done, (n, one) in enumerate(pending, 1):
            before = perf_counter(), bench.piece_s, bench.piece_tokens
            row: Row = {"number": n, "ways": {}, "stages": {}, "choices": {}}
            for name in names[n % len(names) :] + names[: n % len(names)]:
                row["ways"][name], row["stages"][name] = bench.measure(ways[name], one)
            if choices and one.labelled is not None:
                row["choices"] = bench.choices(choices, next(reversed(ways.values())), one)
            row["pieces"] = {"s": bench.piece_s - before[1], "tokens": bench.piece_tokens - before[2]}
            row["seconds"] = round(perf_counter() - before[0], 2)
            rows.append(row)
            write_row(options.out, head, row)
            passed = perf_counter() - start
            if n_done % 5 == 0 or n_done < 4:
                left = passed / n_done * (len(pending) - n_done) / 60
                figures = (
                    f"{k} f1 {rows.mean('ways', k, 'f1'):.3f} {rows.mean('ways', k, 'ttft_s'):.2f} s" for k in names
                )
                chosen = (f"{k} auc {rows.mean('choices', k, 'auc_paragraph'):.3f}" for k in choices)
                print(
                    f"{len(rows)} of {len(asked)}, {left:.0f} min left: {', '.join((*figures, *chosen))}",
                    file=sys.stderr,
                    flush=True,
                )
            if options.minutes and passed > 60 * options.minutes:
                break
        if not engine.why_not_compose:
            engine.pieces.store.flush()
        layouts = {
            name: way.runtime.assembler.suited(engine, way.runtime)[0].name  # type: ignore[attr-defined]
            for name, way in ways.items()
        }
        return line(options, rows, engine, cache, layouts)


def write_row(path: Path | None, head: dict[str, Any], row: Row) -> None:
    """Appends a row; the first one after the line of options."""
    if path is None:
        return
    is_new = not path.exists()
    with path.open("a", encoding="utf-8") as file:
        if is_new:
            file.write(json.dumps(head) + "\n")
        file.write(json.dumps(row) + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=("xquad", "hotpotqa", "2wiki", "harbour"), default="xquad")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--ways", default="read_all,read_sentences,passages_k0,passages_k16,sentences,attention")
    parser.add_argument(
        "--choices", default="attention,attention_alone,probe,probe_alone", help=f"of {', '.join(CHOICES)}; empty: none"
    )
    parser.add_argument("--n-ctx", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=0, help="of llama.cpp; 0: as many as there are cores")
    parser.add_argument("--one-attempt", action="store_true", help="no second attempt after an unusable answer")
    parser.add_argument("--minutes", type=float, default=0, help="no question is begun after so many; 0: all are")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a file that each question is appended to, and that is gone on from")
    parser.add_argument("--from", type=int, default=0, dest="first", help="number of the first question")
    parser.add_argument("--cache", type=Path, help="a folder that keeps index and cells between calls")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    options = parser.parse_args(arguments)
    options.model = str(resolve(options.model))  # before the cache is another one
    calibrations = cache_folder() / "calibrations"
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.cache or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        if calibrations.is_dir() and calibrations != folder / "calibrations":
            shutil.copytree(calibrations, folder / "calibrations", dirs_exist_ok=True)
        os.environ["LONGTHREAD_CACHE"] = str(folder)
        print(json.dumps(run(options, folder)))


if __name__ == "__main__":
    main()
