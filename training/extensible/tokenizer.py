"""The extensible tokenizer: the first layers of the reader with a LoRA, and a projection into its input embeddings.

Extensible Tokenization (Shao et al. 2024, arXiv 2401.07793): of every k tokens the last state is kept. Ours differs:
of a chunk the sentences of the rarest words are taken, as many tokens as there are vectors; each is the input
embedding of such a token, scaled, plus a projection of its state, which is zero at the start. So training begins from
text, which the reader knows how to read, and not from noise or from a mean of embeddings, which is no word; a few
vectors at the end are learned outright (docs/experiments.md has what each is worth). Gains, offset and the vectors at
the end are of each k apart; the layers are the same for all, so that states that are kept on a disk serve every k.
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
"""The projection is trained in units of this: a state has a length of some 40, an input embedding of 3."""


@dataclass(frozen=True, eq=False)
class Words:
    """Of each token of the vocabulary how rare it is, in nats, and whether it ends a sentence; both (n_vocab,)."""

    information: NDArray[np.float32]
    ends: NDArray[np.bool_]

    def chosen(self, tokens: Tensor, n: int) -> Tensor:
        """Positions of the n tokens of each chunk that become vectors, (n_chunks, n)."""
        found = [chosen(chunk, self.information, self.ends, n) for chunk in tokens.numpy()]
        return torch.from_numpy(np.stack(found))

    def commonest(self, n: int) -> Tensor:
        return torch.from_numpy(self.information.argsort(kind="stable")[:n])


class ExtensibleTokenizer(nn.Module):  # type: ignore[misc]
    """What is trained. `ks` are the numbers of tokens to one vector, `closing` counts the vectors at the end."""

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
        """What reads the text: the LoRA and the projection. The other parameters only set its tone."""
        return [*self.lora.parameters(), self.projection, self.state_gain]

    @property
    def tone(self) -> list[nn.Parameter]:
        return [self.token_gain, self.offset, self.closing]

    def states(self, tokens: Tensor) -> Tensor:
        """The states of chunks, (n_chunks, chunk, n_embd), each chunk read by itself from position 0."""
        embedded = self.reader.embed(tokens)
        return self.reader.states(embedded, torch.arange(tokens.shape[1]), causal, self.layers, self.lora)

    def soft(self, tokens: Tensor, k: int, has_states: bool = True) -> Tensor:
        """Soft vectors (n_chunks x chunk / k, n_embd) of whole chunks, in the order of the tokens.

        `has_states` False leaves out what the states add: quicker, and the same where the projection is zero.
        """
        places = self.words.chosen(tokens, tokens.shape[1] // k)
        found = self.reader.embed(tokens.gather(1, places)) * self.of_k("token_gain", k) + self.of_k("offset", k)
        if has_states:
            states = self.states(tokens).take_along_dim(places[..., None], 1)
            found = found + (states * self.state_gain[self.ks.index(k)]) @ (self.projection.T * PROJECTION_SCALE)
        return found.flatten(0, 1)

    def end(self, k: int) -> Tensor:
        """What stands between the last soft vector and the text that follows, (closing, n_embd).

        It begins as the commonest words: after sentences that broke off, the reader goes on in their manner otherwise.
        """
        return self.of_k("closing", k)

    def of_k(self, name: str, k: int) -> Tensor:
        """Gain, offset or the vectors at the end, for this k: a row of its own, and one that all share."""
        rows = getattr(self, name)
        return rows[self.ks.index(k)] + rows[-1]


def _with_shared(start: Tensor, n: int) -> Tensor:
    """Rows that begin as `start`, and one of zeros that is added to each: what one k learns, all learn."""
    return torch.cat([start.expand(n, *start.shape), torch.zeros_like(start)[None]]).clone()
