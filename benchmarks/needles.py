"""Needles and threads in long texts: what a model finds, by what method, in what time. The last line is JSON.

    .venv/bin/python benchmarks/needles.py --method full --task single --tokens 1000,2000,4000,8000 --n 20 --model PATH
    .venv/bin/python benchmarks/needles.py --method hops --task thread --pairs 13100 --length 5,10 \
        --direction forward,backward,random --n 20 --model PATH

`cells` has one object for each cell asked for: `accuracy` (strict), `accuracy_low` and `accuracy_high` (Wilson, 95 %),
`tolerant` with its interval, faults, `s_per_question`; `index_s` is what making the index of all texts took. With one
cell its figures stand at the top as well. Texts are made from the seed; `--output` keeps the run, and goes on with it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from pipeline.errors import LongthreadError
from pipeline.evaluation.needles.grid import NeedleGrid
from pipeline.evaluation.needles.methods import method, with_reader
from pipeline.evaluation.needles.running import run_grid, sizes_of
from pipeline.gguf.tune import machine
from pipeline.pipeline import Pipeline


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--method", default="hops", help="full, one-shot, hops, hops-chain, oracle, ... or a pipeline file"
    )
    parser.add_argument("--task", default="thread", help="several with commas")
    parser.add_argument("--pairs", help="sizes in pairs of 80 characters, with commas (default: 100)")
    parser.add_argument("--tokens", help="sizes in the model's tokens instead")
    parser.add_argument("--length", default="5")
    parser.add_argument("--direction", default="forward")
    parser.add_argument("--needles", default="5")
    parser.add_argument("--threads", default="2")
    parser.add_argument("--n", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--n-ctx", type=int)
    parser.add_argument("--book", nargs="*", default=[])
    parser.add_argument("--data")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    try:
        print(json.dumps(measure(given)))
    except LongthreadError as error:
        print(f"needles: {error}", file=sys.stderr)
        sys.exit(2)


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """All that the last line says."""
    chosen = method(given.method)
    config = with_reader(chosen.config, {"model": given.model, "n_ctx": given.n_ctx or context(given)})
    chosen = replace(chosen, config=config)
    grid = NeedleGrid(
        tasks=tuple(given.task.split(",")),
        pairs=numbers(given.pairs or "100"),
        lengths=numbers(given.length),
        needles=numbers(given.needles),
        threads=numbers(given.threads),
        directions=tuple(given.direction.split(",")),
        n=given.n,
        seed=given.seed,
        book=tuple(given.book),
        data=given.data,
    )
    if given.tokens:
        with Pipeline(config, Path("no index")) as pipeline:
            grid = sizes_of(grid, numbers(given.tokens), pipeline.reader)
    clock = Clock()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.output or Path(temporary) / "run"
        start = perf_counter()
        results = run_grid(grid, chosen, folder, clock, clock.status, lambda note: print(note, file=sys.stderr))
        seconds = perf_counter() - start
    cells = [cell.to_dict() for cell in results.cells]
    about = {
        "method": results.method,
        "model": results.model,
        "machine": machine(),
        "seed": given.seed,
        "n": given.n,
        "seconds": round(seconds, 1),
        "index_s": round(clock.index_s, 1),
        "cells": cells,
    }
    return {**cells[0], **about} if len(cells) == 1 else about


def context(given: argparse.Namespace) -> int | None:
    """A small context where only what was found is read: it is made faster. A whole text takes the model's own."""
    return 4096 if given.method.startswith(("hops", "one-shot", "oracle")) else None


class Clock:
    """Says on stderr how far it is, and how long the index took."""

    def __init__(self) -> None:
        self.index_s = 0.0
        self._begun: float | None = None
        self._last = perf_counter()

    def __call__(self, what: str, done: int, total: int) -> None:
        if "index" in what or "check files" in what:
            self._begun = self._begun or perf_counter()
            self.index_s = perf_counter() - self._begun

    def status(self, status: Any) -> None:
        if perf_counter() - self._last > 20:
            self._last = perf_counter()
            left = f", {status.seconds_left:.0f} s left" if status.seconds_left is not None else ""
            print(f"{status.n_done} of {status.n_samples}{left}", file=sys.stderr, flush=True)


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


if __name__ == "__main__":
    main()
