"""The state of the training loop, and its step."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from training.extensible.draw import Draws
from training.extensible.instances import Instance
from training.extensible.losses import parts, read_branches, total
from training.extensible.recipe import Recipe
from training.extensible.teacher import Teacher, TeacherLogs
from training.extensible.tokenizer import ExtensibleTokenizer

LEAST_RATE = 0.1


class Trainer:
    """Trains an extensible tokenizer on randomly drawn instances.

    `others` keeps the last vectors of each (k, number of vectors): another window's, for the contrastive loss.
    """

    def __init__(self, tokenizer: ExtensibleTokenizer, draws: Draws, teacher: Teacher) -> None:
        self.recipe: Recipe = draws.recipe
        self.tokenizer, self.draws, self.teacher = tokenizer, draws, teacher
        self.random = np.random.default_rng(self.recipe.seed)
        self.optimizer = torch.optim.AdamW(
            [
                {"params": tokenizer.reading, "weight_decay": self.recipe.weight_decay},
                {"params": tokenizer.tone, "weight_decay": 0.0},
            ],
            betas=(0.9, 0.98),
        )
        self.step, self.seconds = 0, 0.0
        self.others: dict[tuple[int, int], Tensor] = {}

    @property
    def n_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.tokenizer.parameters())

    def run_step(self, progress: Callable[[], float]) -> dict[str, float]:
        """Runs one optimizer step on a few instances. Gives the mean of each loss and the step's figures.

        `progress` gives the share of the run that is done, in [0, 1].
        """
        start = perf_counter()
        done = progress()
        is_reading = done >= self.recipe.tone_first
        sums: defaultdict[str, float] = defaultdict(float)
        times: Counter[str] = Counter()
        n_tokens = 0
        for _ in range(self.recipe.accumulate):
            instance = self.draws.instance(self.random)
            losses = self._losses(instance, is_reading)
            (total(losses, self.recipe) / self.recipe.accumulate).backward()
            for name, loss in losses.items():
                sums[name] += float(loss.detach())
            sums[f"{_first_kind(instance)}_k{instance.k}"] += float(losses[_first_kind(instance)].detach())
            times.update([*losses, f"{_first_kind(instance)}_k{instance.k}"])
            n_tokens += instance.context.size
        rate, length = self._change(done)
        self.step += 1
        self.seconds += perf_counter() - start
        means = {name: round(value / times[name], 4) for name, value in sums.items()}
        return means | {"rate": rate, "gradient": round(length, 4), "context_tokens": n_tokens}

    def _losses(self, instance: Instance, is_reading: bool) -> dict[str, Tensor]:
        reader, recipe = self.tokenizer.reader, self.recipe
        soft = self.tokenizer.soft(torch.from_numpy(instance.context), instance.k, is_reading)
        end = self.tokenizer.end(instance.k)
        results = read_branches(reader, instance, soft, end)
        nothing: list[TeacherLogs | None] = [None] * len(results)
        teachers = self.teacher.predict(instance) if recipe.weight_kl else nothing
        wrong = None
        if recipe.weight_contrast:
            other = self.others.get((instance.k, len(soft)))
            if other is not None:
                with torch.no_grad():
                    wrong = read_branches(reader, instance, other, end)
            self.others[instance.k, len(soft)] = soft.detach()
        return parts(results, teachers, wrong, recipe)

    def _change(self, progress: float) -> tuple[float, float]:
        """Updates the weights. Gives the share of the learning rates, and the gradient's norm before clipping."""
        share = share_of_rate(self.step, self.recipe.warmup, progress)
        rates = (self.recipe.learning_rate, self.recipe.tone_rate)
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * share
        length = float(torch.nn.utils.clip_grad_norm_(self.tokenizer.parameters(), self.recipe.clip))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return share, length


def share_of_rate(step: int, warmup: int, progress: float) -> float:
    """The learning-rate schedule: linear warm-up, then a cosine to a tenth. `progress` is in [0, 1]."""
    falling = LEAST_RATE + (1 - LEAST_RATE) * (1 + math.cos(math.pi * min(1.0, progress))) / 2
    return min(1.0, (step + 1) / max(1, warmup)) * falling


def _first_kind(instance: Instance) -> str:
    return instance.branches[0].kind
