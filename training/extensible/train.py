"""Trains an extensible tokenizer for SmolLM2-135M, resumes an interrupted run, and writes weights with a card.

    python -m training.extensible.train --minutes 150 --out .cache/extensible [--set weight_kl=0 ...]

The log (OUT/log.jsonl) has a line for each step and for each measurement on the held-out text. docs/training.md says
how to read it. Ctrl-C stops after the current step and saves everything.
"""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np
import torch

from compressors.soft.choice import ends_sentence
from pipeline.errors import LongthreadError
from pipeline.gguf.catalogue import resolve
from pipeline.models.weights import Vocabulary
from training.extensible import checkpoint
from training.extensible.draw import Draws
from training.extensible.export import export
from training.extensible.heldout import HeldOut
from training.extensible.llama import Llama
from training.extensible.recipe import Recipe
from training.extensible.teacher import Teacher
from training.extensible.texts import information, read_corpora
from training.extensible.tokenizer import ExtensibleTokenizer, Words
from training.extensible.trainer import Trainer

MODEL = "smollm2-135m"
NAME = "extensible-smollm2-135m-instruct"


class Run:
    """A trainer, the held-out text, and the output folder."""

    def __init__(self, options: argparse.Namespace) -> None:
        recipe = Recipe().changed(options.set)
        torch.set_num_threads(options.threads)
        torch.manual_seed(recipe.seed)
        self.options, self.out = options, Path(options.out)
        self.model = resolve(options.model)
        vocabulary = Vocabulary(self.model)
        train, held = read_corpora(options.data, vocabulary.tokenize)
        control = lambda text: vocabulary.tokenize(text, special=True)  # noqa: E731
        reader = Llama.load(self.model, lambda *_: None)
        n_vocab = len(reader.weights["token_embd.weight"])
        ends = np.array([ends_sentence(vocabulary.piece(token)) for token in range(n_vocab)])
        words = Words(information(train, dict(recipe.sources), n_vocab), ends)
        tokenizer = ExtensibleTokenizer(reader, recipe.layers, recipe.rank, recipe.ks, words, recipe.closing)
        cache = None if options.no_teacher_cache else options.teacher or self.out / "teacher"
        self.trainer = Trainer(tokenizer, Draws(train, recipe, control), Teacher(reader, recipe.top, cache))
        self.held = HeldOut(held, recipe, control, reader, options.windows)
        self.is_stopped = False
        self.notes: tuple[str, ...] = ()
        if options.start:
            steps = checkpoint.begin_from(options.start, self.trainer)
            self.notes = (f"begun from what another run had learned in {steps} steps, which are not counted here",)
        if (self.out / "checkpoint.pt").exists():
            checkpoint.restore(self.out / "checkpoint.pt", self.trainer)

    def progress(self) -> float:
        """The share of the run that is done: of its steps if they are given, else of its minutes."""
        if self.options.steps:
            return float(self.trainer.step / self.options.steps)
        return float(self.trainer.seconds / (60 * self.options.minutes))

    def train(self) -> None:
        """Trains until the minutes or steps are used up, then writes the weights. An interrupt stops it earlier."""
        trainer, options = self.trainer, self.options
        while not self.is_over():
            losses = trainer.run_step(self.progress)
            self.log({"step": trainer.step, "seconds": round(trainer.seconds, 1), **losses})
            if trainer.step % options.look_every == 0 and not self.is_over():
                self.look()
            if trainer.step % options.save_every == 0:
                checkpoint.save(self.out / "checkpoint.pt", trainer)
        checkpoint.save(self.out / "checkpoint.pt", trainer)
        if self.is_stopped:
            return
        command = shlex.join(["python", "-m", "training.extensible.train", *sys.argv[1:]])
        card = export(self.out / NAME, trainer, self.model, command, self.look(), self.notes)
        print(json.dumps({"weights": str(self.out / NAME), "sha256": card.sha256, "steps": trainer.step}))

    def is_over(self) -> bool:
        max_steps = self.options.steps
        return (
            self.is_stopped
            or self.trainer.seconds >= 60 * self.options.minutes
            or bool(max_steps and self.trainer.step >= max_steps)
        )

    def look(self) -> dict[str, float]:
        """Measures the losses on the held-out text. The time counts as training."""
        start = perf_counter()
        losses = self.held.measure(self.trainer.tokenizer)
        self.trainer.seconds += perf_counter() - start
        self.log({"step": self.trainer.step, "seconds": round(self.trainer.seconds, 1), "held_out": losses})
        return losses

    def log(self, line: dict[str, Any]) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if "held_out" in line or line["step"] % 10 == 0:
            print(json.dumps(line), file=sys.stderr, flush=True)


def measure(run: Run, n_steps: int) -> None:
    """Prints how long steps and measurements take here, and how many steps fit the minutes. Writes no files."""
    trainer = run.trainer
    for _ in range(n_steps):
        trainer.run_step(run.progress)
    step_s = trainer.seconds / n_steps
    start = perf_counter()
    run.held.measure(trainer.tokenizer)
    look_s = perf_counter() - start
    n = 60 * run.options.minutes / (step_s + look_s / run.options.look_every)
    print(json.dumps({"s_a_step": round(step_s, 2), "s_a_look": round(look_s, 1), "steps": int(n)}))


def stop_on_interrupt(run: Run) -> Callable[..., None]:
    def stop(*_: Any) -> None:
        run.is_stopped = True

    return stop


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=150)
    parser.add_argument("--steps", type=int, help="stop after so many; the rate then falls by steps, not by minutes")
    parser.add_argument("--out", default=str(ROOT / ".cache" / "extensible"))
    parser.add_argument("--start", type=Path, help="another run's checkpoint, or its card: begin from what it learned")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=JSON", help="change a setting of the recipe"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--windows", type=int, default=12, help="held-back windows that are looked at")
    parser.add_argument("--look-every", type=int, default=200, help="steps between two looks")
    parser.add_argument("--save-every", type=int, default=25, help="steps between two checkpoints")
    parser.add_argument("--teacher", type=Path, help="where what the teacher said is kept; by default OUT/teacher")
    parser.add_argument("--no-teacher-cache", action="store_true")
    parser.add_argument("--measure", type=int, metavar="STEPS", help="only say how long a step takes")
    return parser.parse_args(arguments)


def main() -> None:
    options = options_of()
    try:
        run = Run(options)
        if options.measure:
            measure(run, options.measure)
            return
        signal.signal(signal.SIGINT, stop_on_interrupt(run))
        run.train()
    except LongthreadError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
