"""What it costs and what it saves to put passages' kept cells together instead of reading them. Prints one JSON line.

    .venv/bin/python benchmarks/cells.py [--model PATH] [--set xquad|hotpotqa|2wiki] [--n N] [--k 0,16]

Ways, which take turns on each question: `read_all` reads all its passages; `read_sentences` reads the text of the
sentences that compress.exit_mini chooses; `passages_k<k>` puts the passages' cells together and reads the first k
tokens of each anew (EPIC, arXiv 2410.15332); `sentences` puts the cells of the chosen sentences together, cut out of
their passages' cells. Each with `f1`, `f1_diff_low` and `f1_diff_high` to read_all and to read_sentences (paired
bootstrap, 95 %), `gold_logprob` (of a token of the right answer), `ttft_s` (from the prompt to the first token; the
prompt's prefix, up to the passages, is in the cache in every way), `ttft_over_read_all`, and `cells`, `restored`,
`read` of the prompt. `first_time_cost` is making the cells of a passage and keeping them over plain reading, per token.
xquad: the best 5 paragraphs of all by cosine; hotpotqa, 2wiki: the question's own. Only rows marked eval in
../shared/data/INDEX.md are read.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.compression import difference, passages_of, questions_of, sample
from compressors.exit_mini import ExitMini
from compressors.selection import Limits, Units
from pipeline.build import Pipeline
from pipeline.config import PipelineConfig
from pipeline.evaluation.answers import f1
from pipeline.models import cell_files
from pipeline.models.catalogue import resolve
from pipeline.models.engine import Engine, open_engine
from pipeline.models.settings import EngineSettings
from pipeline.models.tune import machine
from pipeline.registry import Spec
from pipeline.types import Cached, Message, Passage, Piece, Prompt, PromptSpan, Sampling, Text

ROOT = Path(__file__).parent.parent
INSTRUCTIONS = "Answer the question from the passages, with as few words as possible, and no sentence."
OPENING, CLOSING = Text("<passage>\n", "passages"), Text("\n</passage>\n", "passages")
MAX_TOKENS = 24


@dataclass
class Kept:
    """A passage's cells, and where its text lies in them: `spans` are the characters of each token of the text."""

    passage: Passage
    piece: Piece
    n_opening: int
    spans: Sequence[tuple[int, int]]

    def sentence(self, start: int, end: int) -> tuple[int, int]:
        """The cells [low, high) of the characters [start, end) of the text."""
        inside = [n for n, (low, high) in enumerate(self.spans) if low < end and high > start]
        return self.n_opening + inside[0], self.n_opening + inside[-1] + 1


@dataclass
class Way:
    """What was measured, question by question."""

    values: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def mean(self, name: str) -> float:
        return float(np.mean(self.values[name]))


class Bench:
    """One engine, the pieces that it has made, and what making them took."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.kept: dict[str, Kept] = {}
        self.piece_s, self.piece_tokens = 0.0, 0
        rendered = engine.render(
            [Message("system", (Text(INSTRUCTIONS, "system"),)), Message("user", (Text("P", "passages"),))]
        )
        (place,) = [n for n, span in enumerate(rendered) if span.part == "passages"]
        self.prefix, self.tail = rendered[:place], rendered[place + 1 :]

    def keep(self, passage: Passage) -> Kept:
        key = f"{passage.source} {passage.start} {passage.end}"
        if key not in self.kept:
            body = Text(passage.text, "passages")
            self.engine.next_logprobs(self.prefix)  # the prefix is there, as it is for every way
            start = perf_counter()
            piece = self.engine.piece(self.prefix, (OPENING, body, CLOSING))
            self.piece_s += perf_counter() - start
            self.piece_tokens += len(piece)
            n_opening = self.engine.count((OPENING,))
            self.kept[key] = Kept(passage, piece, n_opening, self.engine.token_spans(passage.text))
        return self.kept[key]

    # ---------------------------------------------------------------------------------------------------------- ways
    def documents(self, name: str, passages: Sequence[Passage], chosen: Sequence[Sequence[Passage]]) -> Prompt:
        """The passages of a prompt in one of the ways; `chosen` are the kept sentences of each."""
        if name == "read_all":
            return self.read([passage.text for passage in passages])
        if name == "read_sentences":
            return self.read([" ".join(part.text.strip() for part in parts) for parts in chosen if parts])
        if name == "sentences":
            return self.sentences(passages, chosen)
        return self.passages(passages, int(name.removeprefix("passages_k")))

    def read(self, texts: Sequence[str]) -> Prompt:
        return tuple(span for text in texts for span in (OPENING, Text(text, "passages"), CLOSING))

    def passages(self, passages: Sequence[Passage], k: int) -> Prompt:
        spans: list[PromptSpan] = []
        for passage in passages:
            kept = self.keep(passage)
            n = min(max(0, k - kept.n_opening), len(kept.spans) - 1)
            if k:
                spans += [OPENING, Text(passage.text[: kept.spans[n][0]], "passages")]
            spans.append(Cached(kept.piece, kept.n_opening + n if k else 0))
        return tuple(spans)

    def sentences(self, passages: Sequence[Passage], chosen: Sequence[Sequence[Passage]]) -> Prompt:
        spans: list[PromptSpan] = []
        for passage, parts in zip(passages, chosen, strict=True):
            if not parts:
                continue
            kept = self.keep(passage)
            n_closing = len(kept.piece) - kept.n_opening - len(kept.spans)
            stretches = [
                (0, kept.n_opening),
                *(kept.sentence(p.start - passage.start, p.end - passage.start) for p in parts),
            ]
            stretches.append((len(kept.piece) - n_closing, len(kept.piece)))
            spans += [Cached(kept.piece, low, high) for low, high in joined(stretches)]
        return tuple(spans)

    # ------------------------------------------------------------------------------------------------------ measuring
    def measure(self, way: Way, documents: Prompt, question: str, answers: Sequence[str]) -> None:
        engine = self.engine
        prompt = (*self.prefix, *documents, Text(f"\nQuestion: {question}", "question"), *self.tail)
        engine.pool.forget()
        engine.next_logprobs(self.prefix)
        start = perf_counter()
        (stream,) = engine.generate([prompt], Sampling(max_tokens=MAX_TOKENS))
        next(iter(stream), "")
        ttft = perf_counter() - start
        done = stream.result()
        gold = engine.score(prompt, [""], [answers[0]])[0, 0] / engine.count_text(answers[0])
        for name, value in {
            "f1": max(f1(done.text, gold) for gold in answers),
            "gold_logprob": gold,
            "ttft_s": ttft,
            "cells": done.prompt_tokens,
            "restored": done.restored_tokens,
            "read": done.read_tokens,
        }.items():
            way.values[name].append(float(value))


def joined(stretches: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ascending stretches, those that touch or overlap made one."""
    merged: list[tuple[int, int]] = []
    for low, high in stretches:
        if merged and low <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(high, merged[-1][1])
        else:
            merged.append((low, high))
    return merged


def choose(question: str, passages: Sequence[Passage], tools: Pipeline, limits: Limits) -> list[list[Passage]]:
    """The sentences that compress.exit_mini keeps of each passage, in the order of their text."""
    units = Units.of(passages, tools)
    scores = ExitMini(keep_ratio=None, top_k=5).scores(question, units, tools)
    kept = set(limits.choose(scores.tolist(), lambda: units.tokens(tools.reader)))
    return [
        [part for n, part in enumerate(units.parts) if n in kept and units.owners[n] == owner]
        for owner in range(len(passages))
    ]


def results(ways: dict[str, Way], seed: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, way in ways.items():
        row: dict[str, Any] = {key: round(way.mean(key), 4) for key in way.values}
        row["ttft_over_read_all"] = round(way.mean("ttft_s") / ways["read_all"].mean("ttft_s"), 4)
        for base in ("read_all", "read_sentences"):
            if name != base:
                mean, low, high = difference(way.values["f1"], ways[base].values["f1"], seed)
                row[f"to_{base}"] = {"f1_diff": mean, "f1_diff_low": low, "f1_diff_high": high}
        found[name] = row
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=("xquad", "hotpotqa", "2wiki"), default="xquad")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--k", default="0,16", help="tokens of each passage that are read anew")
    parser.add_argument("--n-ctx", type=int, default=4096)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    options = parser.parse_args()
    everything = questions_of(options.set, options.data)
    chosen = sample(everything, options.n, options.seed)
    limits = Limits(top_k=5) if options.set == "xquad" else Limits(keep_ratio=0.3)
    config = PipelineConfig(
        "the benchmark", (Spec("retrieve.dense"), Spec("assemble.plain"), Spec("generate.scripted"))
    )
    path = resolve(options.model)
    settings = EngineSettings(str(path), n_ctx=options.n_ctx, n_seq_max=2, n_cached=2)
    ks = [int(k) for k in options.k.split(",")]
    ways = {name: Way() for name in ("read_all", "read_sentences", *(f"passages_k{k}" for k in ks), "sentences")}
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("LONGTHREAD_CACHE", str(Path.home() / ".cache" / "longthread"))
        with Pipeline(config, ROOT / "nowhere") as tools, open_engine(settings, path) as engine:
            bench = Bench(engine)
            store = engine.pieces.store
            store.root, store.folder = Path(folder), Path(folder) / "cells"
            for n, (one, passages) in enumerate(
                zip(chosen, passages_of(chosen, options.set, everything, tools), strict=True)
            ):
                parts = choose(one.question, passages, tools, limits)
                names = list(ways)
                for name in names[n % len(names) :] + names[: n % len(names)]:
                    bench.measure(ways[name], bench.documents(name, passages, parts), one.question, one.answers)
                if n % 10 == 9:
                    said = ", ".join(f"{k} f1 {w.mean('f1'):.3f} {w.mean('ttft_s'):.2f} s" for k, w in ways.items())
                    print(f"{n + 1} of {len(chosen)}: {said}", file=sys.stderr, flush=True)
            store.flush()
            read = ways["read_all"]
            plain = sum(read.values["ttft_s"]) / sum(read.values["read"])
            piece = next(iter(bench.kept.values())).piece
            line = {
                "set": options.set,
                "n": len(chosen),
                "seed": options.seed,
                "model": path.name,
                **results(ways, options.seed),
                "bytes_per_token": round(piece.state.nbytes / len(piece)),
                "disk_mb": round(cell_files.size_of(Path(folder))[1] / 1e6, 1),
                "n_pieces": len(bench.kept),
                "first_time_cost": round(bench.piece_s / bench.piece_tokens / plain, 3),
                "kl": round(engine.pieces.verdict.kl, 5),
                "machine": machine(),
                "load": os.getloadavg()[0],
            }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
