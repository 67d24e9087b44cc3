"""Draws random instances: running text with its continuation and stretches to copy, and questions on passages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.extensible.instances import Branch, Instance, Tokens
from training.extensible.recipe import Recipe
from training.extensible.texts import Corpus, PassageQuestion, Tokenize, tokens_of

BEFORE = "<|im_start|>user\n"
AFTER = "<|im_end|>\n<|im_start|>assistant\n"
"""SmolLM2's chat template. Half of the questions use it."""


_NOTHING: Tokens = np.empty(0, np.int64)


@dataclass(frozen=True)
class Draws:
    """Draws instances from a corpus. The generator's state decides the instance."""

    corpus: Corpus
    recipe: Recipe
    tokenize: Tokenize
    """Parses control tokens as well. The texts of the corpus are already tokens."""

    def instance(self, random: np.random.Generator) -> Instance:
        recipe = self.recipe
        k = recipe.ks[random.choice(len(recipe.ks), p=_shares(recipe.k_shares))]
        n_chunks = recipe.chunks[random.integers(len(recipe.chunks))]
        if self.corpus.questions and random.random() < recipe.answers:
            return self._question(random, k, min(n_chunks, 2))
        names = [name for name, _ in recipe.sources]
        name = names[random.choice(len(names), p=_shares([share for _, share in recipe.sources]))]
        return self.running(random, name, k, n_chunks)

    def running(self, random: np.random.Generator, name: str, k: int, n_chunks: int) -> Instance:
        """A window of running text of one kind, with branches for the text after each chunk and for copies."""
        recipe = self.recipe
        text = self._window(random, name, n_chunks * recipe.chunk + recipe.continuation)
        context, after = text[: n_chunks * recipe.chunk], text[n_chunks * recipe.chunk :]
        chunks = context.reshape(n_chunks, recipe.chunk)
        following = [*(chunk[: recipe.continuation] for chunk in chunks[1:]), after]
        branches = [Branch("next", tokens, n) for n, tokens in enumerate(following, 1)]
        return Instance(name, chunks, (*branches, *self._copies(random, context, n_chunks)), k, _NOTHING)

    def _window(self, random: np.random.Generator, name: str, length: int) -> Tokens:
        """`length` tokens of a text of one kind, from a uniformly random place. Repeats shorter texts."""
        texts = self.corpus.streams[name]
        room = np.array([max(1, len(text) - length + 1) for text in texts])
        text = texts[random.choice(len(texts), p=room / room.sum())]
        if len(text) < length:
            text = np.tile(text, -(-length // len(text)))
        start = random.integers(len(text) - length + 1)
        return text[start : start + length]

    def _copies(self, random: np.random.Generator, context: Tokens, n_chunks: int) -> list[Branch]:
        """Branches that repeat random stretches. The cue is given; the soft vectors must supply the rest."""
        branches = []
        line = tokens_of("\n\n", self.tokenize)
        for _ in range(self.recipe.copies):
            start = random.integers(len(context) - self.recipe.copy_tokens + 1)
            stretch = context[start : start + self.recipe.copy_tokens]
            branches.append(Branch("copy", np.concatenate([line, stretch]), n_chunks, len(line) + self.recipe.cue))
        return branches

    def _question(self, random: np.random.Generator, k: int, n_chunks: int) -> Instance:
        """A question after its passages, with the supporting ones, in random order, filling whole chunks."""
        item = self.corpus.questions[random.integers(len(self.corpus.questions))]
        room = n_chunks * self.recipe.chunk
        context = _filled(random, item, room)
        is_chat = random.random() < 0.5
        before = tokens_of(BEFORE, self.tokenize) if is_chat else _NOTHING
        end, answer = (AFTER, item.answer) if is_chat else ("\nAnswer:", f" {item.answer}")
        lead = f"\n\nQuestion: {item.question}{end}"
        question = tokens_of(lead, self.tokenize)
        branch = Branch("answer", np.concatenate([question, tokens_of(answer, self.tokenize)]), n_chunks, len(question))
        copies = self._copies(random, context, n_chunks)[:1]
        return Instance("questions", context.reshape(n_chunks, -1), (branch, *copies), k, before)


def _shares(numbers: Sequence[float]) -> NDArray[np.float64]:
    return np.array(numbers) / sum(numbers)


def _filled(random: np.random.Generator, question: PassageQuestion, room: int) -> Tokens:
    """Fills `room` tokens with passages in random order.

    If they do not all fit, the supporting ones come first and the rest is cut. If they are too few, they repeat.
    """
    others = random.permutation(np.arange(question.n_supporting, len(question.passages)))
    chosen = [*question.passages[: question.n_supporting]]
    for n in others:
        if sum(map(len, chosen)) >= room:
            break
        chosen.append(question.passages[n])
    context = np.concatenate([chosen[n] for n in random.permutation(len(chosen))])
    whole = np.concatenate(chosen) if len(context) > room else context
    return np.tile(whole, -(-room // len(whole)))[:room]
