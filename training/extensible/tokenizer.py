"""The extensible tokenizer: the first layers of the reader with a LoRA, and a projection into its input embeddings.

Extensible Tokenization (Shao et al. 2024, arXiv 2401.07793): of every k tokens the last state is kept. Ours differs:
the sentences with the rarest words of a chunk are chosen, as many tokens as there are vectors. A vector is the scaled
input embedding of such a token plus a projection of its state. The projection is zero at the start, so training begins
with text, which the reader can read, and not with noise or a mean of embeddings. A few closing vectors are learned
directly (docs/experiments.md has the effect of each part). Each k has its own gains, offset and closing vectors, but
all share the layers, so that states on disk serve every k.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compressors.soft.choice import chosen
from training.extensible.llama import Llama, Lora, causal

PROJECTION_SCALE = 0.1
"""Unit of the trained projection: the norm of a state is about 40, that of an input embedding about 3."""


@dataclass(frozen=True, eq=False)
class Words:
    """For each token of the vocabulary its rarity in nats, and whether it ends a sentence; both (n_vocab,)."""

    information: NDArray[np.float32]
    ends: NDArray[np.bool_]

    def chosen(self, tokens: Tensor, n: int) -> Tensor:
        """The positions of the n tokens of each chunk that become vectors, (n_chunks, n)."""
        positions = [chosen(chunk, self.information, self.ends, n) for chunk in tokens.numpy()]
        return torch.from_numpy(np.stack(positions))

    def commonest(self, n: int) -> Tensor:
        return torch.from_numpy(self.information.argsort(kind="stable")[:n])


class ExtensibleTokenizer(nn.Module):  # type: ignore[misc]
    """The trained module. `ks` are the possible numbers of tokens per vector; `closing` counts the closing vectors."""

    def __init__(self, reader: Llama, layers: int, rank: int, ks: Sequence[int], words: Words, closing: int) -> None:
        super().__init__()
        self.words = words
        self.reader, self.layers, self.ks = reader, layers, tuple(ks)
        n_embd = reader.shape.n_embd
        self.lora = Lora(reader.weights, layers, rank)
        self.projection = nn.Parameter(torch.zeros(n_embd, n_embd))
        self.state_gain = nn.Parameter(torch.ones(len(ks), n_embd))
        self.token_gain = nn.Parameter(_with_shared(torch.ones(n_embd), len(ks)))
        self.offset = nn.Parameter(_with_shared(torch.zeros(n_embd), len(ks)))
        self.closing = nn.Parameter(_with_shared(reader.embed(words.commonest(closing)), len(ks)))

    @property
    def reading(self) -> list[nn.Parameter]:
        """The parameters that read the text: LoRA, projection and the gain of states. The others set the tone."""
        return [*self.lora.parameters(), self.projection, self.state_gain]

    @property
    def tone(self) -> list[nn.Parameter]:
        return [self.token_gain, self.offset, self.closing]

    def states(self, tokens: Tensor) -> Tensor:
        """The states of chunks, (n_chunks, chunk, n_embd). Each chunk is read separately, from position 0."""
        embedded = self.reader.embed(tokens)
        return self.reader.states(embedded, torch.arange(tokens.shape[1]), causal, self.layers, self.lora)

    def soft(self, tokens: Tensor, k: int, has_states: bool = True) -> Tensor:
        """The soft vectors, (n_chunks x chunk / k, n_embd), of whole chunks, in the order of the tokens.

        `has_states` False leaves out the projected states. That is faster, and the same while the projection is zero.
        """
        places = self.words.chosen(tokens, tokens.shape[1] // k)
        vectors = self.reader.embed(tokens.gather(1, places)) * self.of_k("token_gain", k) + self.of_k("offset", k)
        if has_states:
            states = self.states(tokens).take_along_dim(places[..., None], 1)
            vectors = vectors + (states * self.state_gain[self.ks.index(k)]) @ (self.projection.T * PROJECTION_SCALE)
        return vectors.flatten(0, 1)

    def end(self, k: int) -> Tensor:
        """The closing vectors, (closing, n_embd), between the last soft vector and the text that follows.

        They start as the most common words. Without them the reader continues the style of the chosen sentences.
        """
        return self.of_k("closing", k)

    def of_k(self, name: str, k: int) -> Tensor:
        """A parameter (gain, offset or closing vectors) for this k: its own row plus the shared row."""
        rows = getattr(self, name)
        return rows[self.ks.index(k)] + rows[-1]


def _with_shared(start: Tensor, n: int) -> Tensor:
    """`n` rows of `start`, and a shared row of zeros that is added to each, so that every k learns from the others."""
    return torch.cat([start.expand(n, *start.shape), torch.zeros_like(start)[None]]).clone()
