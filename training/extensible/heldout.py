"""Measures whether the vectors carry content: losses on held-out text, after its own vectors and after others.

Part of a context's benefit is style, which any page of the same book gives. So each text is read after its own context
and after that of another window, raw and soft. The difference between the two is content.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from training.extensible.draw import Draws
from training.extensible.instances import Branch, Instance
from training.extensible.llama import Llama
from training.extensible.losses import read_branches
from training.extensible.recipe import Recipe
from training.extensible.texts import Corpus, Tokenize
from training.extensible.tokenizer import ExtensibleTokenizer

N_CHUNKS = 2
KINDS = ("books", "talks", "wikitext")


@dataclass(frozen=True)
class Losses:
    """Mean losses in nats per token with one form of context: on the text that follows, and on a stretch to copy."""

    following: float
    copied: float


class HeldOut:
    """Fixed windows of running text, of all kinds in turn. The losses without vectors are measured once."""

    def __init__(self, corpus: Corpus, recipe: Recipe, tokenize: Tokenize, reader: Llama, n: int) -> None:
        random = np.random.default_rng(recipe.seed + 1)
        draws = Draws(corpus, replace(recipe, copies=1), tokenize)
        kinds = [kind for kind in KINDS if kind in corpus.streams]
        drawn = [draws.running(random, kinds[i % len(kinds)], recipe.ks[0], N_CHUNKS) for i in range(n)]
        self.reader, self.ks = reader, recipe.ks
        self.windows = [_last_only(instance) for instance in drawn]
        step = min(len(kinds), n - 1)
        self.others = [self.windows[(i + step) % n] for i in range(n)]
        self._fixed: dict[str, Losses] = {}

    def measure(self, tokenizer: ExtensibleTokenizer) -> dict[str, float]:
        """For each k the mean losses, and the shares of the gap and of the content that the vectors recover."""
        fixed = self._fixed = self._fixed or self._raw()
        result = {
            f"{name}_{part}": getattr(losses, part)
            for name, losses in fixed.items()
            for part in ("following", "copied")
        }
        gap = fixed["none"].following - fixed["raw"].following
        content = fixed["wrong"].following - fixed["raw"].following
        for k in self.ks:
            right, wrong = self._soft(tokenizer, k)
            result |= {f"k{k}_following": right.following, f"k{k}_wrong": wrong.following, f"k{k}_copied": right.copied}
            result[f"k{k}_gap"] = (fixed["none"].following - right.following) / gap
            result[f"k{k}_content"] = (wrong.following - right.following) / content
        return {name: round(value, 4) for name, value in result.items()}

    def _raw(self) -> dict[str, Losses]:
        contexts = [_tokens(self.reader, window) for window in self.windows]
        others = [_tokens(self.reader, window) for window in self.others]
        return {
            "none": self._losses([_without(window) for window in self.windows], [window[:0] for window in contexts]),
            "raw": self._losses([replace(window, k=1) for window in self.windows], contexts),
            "wrong": self._losses([replace(window, k=1) for window in self.windows], others),
        }

    def _soft(self, tokenizer: ExtensibleTokenizer, k: int) -> tuple[Losses, Losses]:
        windows = [replace(window, k=k) for window in self.windows]
        with torch.no_grad():
            soft = [tokenizer.soft(torch.from_numpy(window.context), k) for window in self.windows]
        index = {id(window): n for n, window in enumerate(self.windows)}
        wrong = [soft[index[id(window)]] for window in self.others]
        end = tokenizer.end(k)
        return self._losses(windows, soft, end), self._losses(windows, wrong, end)

    def _losses(self, windows: Sequence[Instance], contexts: Sequence[Tensor], end: Tensor | None = None) -> Losses:
        with torch.no_grad():
            results = [read_branches(self.reader, *pair, end) for pair in zip(windows, contexts, strict=True)]
        following, copied = ([float(branches[n].loss) for branches in results] for n in (0, 1))
        return Losses(float(np.mean(following)), float(np.mean(copied)))


def _last_only(instance: Instance) -> Instance:
    """The instance with only the branches after the whole context."""
    branches = [branch for branch in instance.branches if branch.after == len(instance.context)]
    return replace(instance, branches=tuple(branches))


def _tokens(reader: Llama, instance: Instance) -> Tensor:
    """The input embeddings of the context, as if k were 1."""
    return reader.embed(torch.from_numpy(instance.context.reshape(-1)))


def _without(instance: Instance) -> Instance:
    """The instance without its context."""
    bare = tuple(Branch(branch.kind, branch.tokens, 0, branch.first) for branch in instance.branches)
    return replace(instance, context=instance.context[:0], branches=bare)
