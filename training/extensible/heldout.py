"""Whether content comes through: losses on text that is not trained on, beside those of another window's vectors.

Part of what a context gives is style, and any page of the same book gives that. So each text is read after its own
context and after another window's, raw and soft; what the right one gives beyond the wrong one is content.
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
from training.extensible.losses import read
from training.extensible.recipe import Recipe
from training.extensible.texts import Corpus, Tokenize
from training.extensible.tokenizer import ExtensibleTokenizer

N_CHUNKS = 2
KINDS = ("books", "talks", "wikitext")


@dataclass(frozen=True)
class Losses:
    """Mean losses of one way to give the context, in nats a token: of the text that follows, and of a stretch of it."""

    following: float
    copied: float


class HeldOut:
    """The same windows every time, of running text of all kinds in turn; what does not change is read once."""

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
        """For each k: losses, and the shares of the gap and of the content that the vectors recover, as means."""
        fixed = self._fixed = self._fixed or self._raw()
        found = {
            f"{name}_{part}": getattr(one, part) for name, one in fixed.items() for part in ("following", "copied")
        }
        gap = fixed["none"].following - fixed["raw"].following
        content = fixed["wrong"].following - fixed["raw"].following
        for k in self.ks:
            right, wrong = self._soft(tokenizer, k)
            found |= {f"k{k}_following": right.following, f"k{k}_wrong": wrong.following, f"k{k}_copied": right.copied}
            found[f"k{k}_gap"] = (fixed["none"].following - right.following) / gap
            found[f"k{k}_content"] = (wrong.following - right.following) / content
        return {name: round(value, 4) for name, value in found.items()}

    def _raw(self) -> dict[str, Losses]:
        own = [_tokens(self.reader, one) for one in self.windows]
        others = [_tokens(self.reader, one) for one in self.others]
        return {
            "none": self._losses([_without(one) for one in self.windows], [one[:0] for one in own]),
            "raw": self._losses([replace(one, k=1) for one in self.windows], own),
            "wrong": self._losses([replace(one, k=1) for one in self.windows], others),
        }

    def _soft(self, tokenizer: ExtensibleTokenizer, k: int) -> tuple[Losses, Losses]:
        windows = [replace(one, k=k) for one in self.windows]
        with torch.no_grad():
            soft = [tokenizer.soft(torch.from_numpy(one.context), k) for one in self.windows]
        at = {id(one): n for n, one in enumerate(self.windows)}
        wrong = [soft[at[id(one)]] for one in self.others]
        end = tokenizer.end(k)
        return self._losses(windows, soft, end), self._losses(windows, wrong, end)

    def _losses(self, windows: Sequence[Instance], contexts: Sequence[Tensor], end: Tensor | None = None) -> Losses:
        with torch.no_grad():
            said = [read(self.reader, *pair, end) for pair in zip(windows, contexts, strict=True)]
        following, copied = ([float(branches[n].loss) for branches in said] for n in (0, 1))
        return Losses(float(np.mean(following)), float(np.mean(copied)))


def _last_only(instance: Instance) -> Instance:
    """The instance with the text after the whole context, and the stretch of it."""
    branches = [one for one in instance.branches if one.after == len(instance.context)]
    return replace(instance, branches=tuple(branches))


def _tokens(reader: Llama, instance: Instance) -> Tensor:
    """The context's own input embeddings: as if k were 1."""
    return reader.embed(torch.from_numpy(instance.context.reshape(-1)))


def _without(instance: Instance) -> Instance:
    """The branches with nothing before them."""
    bare = tuple(Branch(one.kind, one.tokens, 0, one.first) for one in instance.branches)
    return replace(instance, context=instance.context[:0], branches=bare)
