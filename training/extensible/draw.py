"""Instances at random: running text with what follows it and stretches to say again, and questions on passages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.extensible.instances import Branch, Instance, Tokens
from training.extensible.recipe import Recipe
from training.extensible.texts import Asked, Corpus, Tokenize, tokens_of

BEFORE = "<|im_start|>user\n"
AFTER = "<|im_end|>\n<|im_start|>assistant\n"
"""As SmolLM2's chat template has it: half of the questions are asked so."""


_NOTHING: Tokens = np.empty(0, np.int64)


@dataclass(frozen=True)
class Draws:
    """Draws instances from a corpus; the same generator in the same state draws the same."""

    corpus: Corpus
    recipe: Recipe
    tokenize: Tokenize
    """With control tokens: texts of the corpus are tokens already."""

    def instance(self, random: np.random.Generator) -> Instance:
        recipe = self.recipe
        k = recipe.ks[random.choice(len(recipe.ks), p=_shares(recipe.k_shares))]
        n_chunks = recipe.chunks[random.integers(len(recipe.chunks))]
        if self.corpus.asked and random.random() < recipe.answers:
            return self._question(random, k, min(n_chunks, 2))
        names = [name for name, _ in recipe.sources]
        name = names[random.choice(len(names), p=_shares([share for _, share in recipe.sources]))]
        return self.running(random, name, k, n_chunks)

    def running(self, random: np.random.Generator, name: str, k: int, n_chunks: int) -> Instance:
        """A window of running text of one kind: the text after each chunk, and copies of stretches of all of them."""
        recipe = self.recipe
        text = self._window(random, name, n_chunks * recipe.chunk + recipe.continuation)
        context, after = text[: n_chunks * recipe.chunk], text[n_chunks * recipe.chunk :]
        chunks = context.reshape(n_chunks, recipe.chunk)
        following = [*(chunk[: recipe.continuation] for chunk in chunks[1:]), after]
        branches = [Branch("next", tokens, n) for n, tokens in enumerate(following, 1)]
        return Instance(name, chunks, (*branches, *self._copies(random, context, n_chunks)), k, _NOTHING)

    def _window(self, random: np.random.Generator, name: str, length: int) -> Tokens:
        """So many tokens of one text of that kind, every place as likely; texts that are shorter are said again."""
        texts = self.corpus.streams[name]
        room = np.array([max(1, len(text) - length + 1) for text in texts])
        text = texts[random.choice(len(texts), p=room / room.sum())]
        if len(text) < length:
            text = np.tile(text, -(-length // len(text)))
        start = random.integers(len(text) - length + 1)
        return text[start : start + length]

    def _copies(self, random: np.random.Generator, context: Tokens, n_chunks: int) -> list[Branch]:
        """Stretches that begin anywhere; the cue is given, and the rest has to be found in the soft vectors."""
        found = []
        line = tokens_of("\n\n", self.tokenize)
        for _ in range(self.recipe.copies):
            start = random.integers(len(context) - self.recipe.copy_tokens + 1)
            stretch = context[start : start + self.recipe.copy_tokens]
            found.append(Branch("copy", np.concatenate([line, stretch]), n_chunks, len(line) + self.recipe.cue))
        return found

    def _question(self, random: np.random.Generator, k: int, n_chunks: int) -> Instance:
        """Passages of a question, those that support the answer among them, in any order, as whole chunks."""
        asked = self.corpus.asked[random.integers(len(self.corpus.asked))]
        room = n_chunks * self.recipe.chunk
        context = _filled(random, asked, room)
        is_chat = random.random() < 0.5
        before = tokens_of(BEFORE, self.tokenize) if is_chat else _NOTHING
        end, answer = (AFTER, asked.answer) if is_chat else ("\nAnswer:", f" {asked.answer}")
        lead = f"\n\nQuestion: {asked.question}{end}"
        question = tokens_of(lead, self.tokenize)
        branch = Branch("answer", np.concatenate([question, tokens_of(answer, self.tokenize)]), n_chunks, len(question))
        copies = self._copies(random, context, n_chunks)[:1]
        return Instance("questions", context.reshape(n_chunks, -1), (branch, *copies), k, before)


def _shares(numbers: Sequence[float]) -> NDArray[np.float64]:
    return np.array(numbers) / sum(numbers)


def _filled(random: np.random.Generator, asked: Asked, room: int) -> Tokens:
    """Passages in `room` tokens, in any order; where not all of them fit, the supporting ones first, cut where it is
    full; where there are too few, said again.
    """
    others = random.permutation(np.arange(asked.n_supporting, len(asked.passages)))
    chosen = [*asked.passages[: asked.n_supporting]]
    for n in others:
        if sum(map(len, chosen)) >= room:
            break
        chosen.append(asked.passages[n])
    context = np.concatenate([chosen[n] for n in random.permutation(len(chosen))])
    whole = np.concatenate(chosen) if len(context) > room else context
    return np.tile(whole, -(-room // len(whole)))[:room]
