"""The training loop's state, and one step of it."""

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
from training.extensible.losses import parts, read, total
from training.extensible.recipe import Recipe
from training.extensible.teacher import Teacher, Told
from training.extensible.tokenizer import ExtensibleTokenizer

LEAST_RATE = 0.1


class Trainer:
    """Trains an extensible tokenizer on instances as they are drawn; `progress` tells what part of the run is done.

    `others` keeps the last vectors of each k and number: another window's, for the contrast.
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
        """One step: a few instances, one change. Gives the mean of each loss, and what the step was."""
        start = perf_counter()
        done = progress()
        is_reading = done >= self.recipe.tone_first
        sums: defaultdict[str, float] = defaultdict(float)
        times: Counter[str] = Counter()
        n_tokens = 0
        for _ in range(self.recipe.accumulate):
            instance = self.draws.instance(self.random)
            found = self._losses(instance, is_reading)
            (total(found, self.recipe) / self.recipe.accumulate).backward()
            for name, loss in found.items():
                sums[name] += float(loss.detach())
            sums[f"{_first_kind(instance)}_k{instance.k}"] += float(found[_first_kind(instance)].detach())
            times.update([*found, f"{_first_kind(instance)}_k{instance.k}"])
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
        said = read(reader, instance, soft, end)
        nothing: list[Told | None] = [None] * len(said)
        told = self.teacher.told(instance) if recipe.weight_kl else nothing
        wrong = None
        if recipe.weight_contrast:
            other = self.others.get((instance.k, len(soft)))
            if other is not None:
                with torch.no_grad():
                    wrong = read(reader, instance, other, end)
            self.others[instance.k, len(soft)] = soft.detach()
        return parts(said, told, wrong, recipe)

    def _change(self, progress: float) -> tuple[float, float]:
        """Moves the weights that have a gradient; gives the share of the rates, and its length before it was cut."""
        share = share_of_rate(self.step, self.recipe.warmup, progress)
        rates = (self.recipe.learning_rate, self.recipe.tone_rate)
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * share
        length = float(torch.nn.utils.clip_grad_norm_(self.tokenizer.parameters(), self.recipe.clip))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return share, length


def share_of_rate(step: int, warmup: int, progress: float) -> float:
    """Grows over the first steps, then falls along a cosine to a tenth; `progress` is in [0, 1]."""
    falling = LEAST_RATE + (1 - LEAST_RATE) * (1 + math.cos(math.pi * min(1.0, progress))) / 2
    return min(1.0, (step + 1) / max(1, warmup)) * falling


def _first_kind(instance: Instance) -> str:
    return instance.branches[0].kind
