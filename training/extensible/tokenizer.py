"""The extensible tokenizer: the first layers of the reader with a LoRA, and a projection into its input embeddings.

Extensible Tokenization (Shao et al. 2024, arXiv 2401.07793): of every k tokens the last state is kept. Ours differs:
the soft vector is the input embedding of the rarest of the k tokens, scaled, plus a projection of that state, which is
zero at the start; so training begins from a text of rare words, which the reader knows how to read, and not from noise
or from a mean of embeddings, which is no word (docs/experiments.md has both). Gains and offset are of each k apart; the
layers are the same for all, so that states that are kept on a disk serve every k.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.extensible.llama import Llama, Lora, causal

PROJECTION_SCALE = 0.1
"""The projection is trained in units of this: a state has a length of some 40, an input embedding of 3."""


class ExtensibleTokenizer(nn.Module):  # type: ignore[misc]
    """What is trained. `ks` are the numbers of tokens that one vector may stand for.

    `information` says how rare each token of the vocabulary is, (n_vocab,); it is not trained.
    """

    def __init__(
        self, reader: Llama, layers: int, rank: int, ks: Sequence[int], information: Tensor, closing: int = 0
    ) -> None:
        super().__init__()
        self.information = information
        self.reader, self.layers, self.ks = reader, layers, tuple(ks)
        n_embd = reader.shape.n_embd
        self.lora = Lora(reader.weights, layers, rank)
        self.projection = nn.Parameter(torch.zeros(n_embd, n_embd))
        self.state_gain = nn.Parameter(torch.ones(len(ks), n_embd))
        self.token_gain = nn.Parameter(torch.ones(len(ks), n_embd))
        self.offset = nn.Parameter(torch.zeros(len(ks), n_embd))
        common = reader.embed(information.argsort(stable=True)[:closing])
        self.closing = nn.Parameter(common.expand(len(ks), -1, -1).clone())

    def states(self, tokens: Tensor) -> Tensor:
        """The states of chunks, (n_chunks, chunk, n_embd), each chunk read by itself from position 0."""
        embedded = self.reader.embed(tokens)
        return self.reader.states(embedded, torch.arange(tokens.shape[1]), causal, self.layers, self.lora)

    def soft(self, tokens: Tensor, k: int) -> Tensor:
        """Soft vectors (n_chunks x chunk / k, n_embd) of whole chunks, in the order of the tokens."""
        row = self.ks.index(k)
        rarest = self.information[tokens].unflatten(1, (-1, k)).argmax(2, keepdim=True)
        chosen = self.reader.embed(tokens.unflatten(1, (-1, k)).gather(2, rarest)[..., 0])
        last = self.states(tokens)[:, k - 1 :: k]
        added = (last * self.state_gain[row]) @ (self.projection.T * PROJECTION_SCALE)
        return (chosen * self.token_gain[row] + added + self.offset[row]).flatten(0, 1)

    def end(self, k: int) -> Tensor:
        """What stands between the last soft vector and the text that follows, (closing, n_embd).

        It begins as the commonest words: after a text of rare ones, the reader goes on in its manner otherwise.
        """
        return self.closing[self.ks.index(k)]
