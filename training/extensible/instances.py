"""What is learned from: a context that becomes soft vectors, and branches of raw text that are read after it.

All branches are read in one pass of the reader. Each sees what stands before the context, the soft vectors up to its
own place, and itself, at the positions that it would have alone: the same numbers as one pass for each, and the soft
vectors are read once. With a branch after each chunk this is the paper's two streams.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

Tokens = NDArray[np.int64]
Kind = Literal["next", "copy", "answer"]


@dataclass(frozen=True, eq=False)
class Branch:
    """Raw tokens that are read after the first `after` chunks; a loss is on tokens[first:], `first` being at least 1.

    Kind `next`: the text that follows; `copy`: a stretch of the context; `answer`: a question, and then the answer.
    """

    kind: Kind
    tokens: Tokens
    after: int
    first: int = 1


@dataclass(frozen=True, eq=False)
class Instance:
    """`context` is (n_chunks, chunk). `before` is raw text in front of it, which may be empty."""

    source: str
    context: Tokens
    branches: tuple[Branch, ...]
    k: int
    before: Tokens

    @property
    def soft_a_chunk(self) -> int:
        return int(self.context.shape[1]) // self.k


@dataclass(frozen=True, eq=False)
class Place:
    """Where a branch's cells lie in one pass, [start, end), and how many cells before all branches it sees."""

    start: int
    end: int
    seen: int

    @property
    def mask(self) -> Tensor:
        """Bool (n, seen + n): all that it sees, and itself up to each cell."""
        return torch.ones(self.end - self.start, self.seen + self.end - self.start, dtype=torch.bool).tril(self.seen)


@dataclass(frozen=True, eq=False)
class Layout:
    """How an instance's cells lie in one pass: `n_shared` before and soft, then the branches, one after the other.

    Each branch has `n_closing` cells in front of its tokens.
    """

    n_shared: int
    positions: Tensor
    places: tuple[Place, ...]
    masks: tuple[Tensor, ...]

    @classmethod
    def of(cls, instance: Instance, n_closing: int = 0) -> Layout:
        n_before, a_chunk = len(instance.before), instance.soft_a_chunk
        at = n_shared = n_before + a_chunk * len(instance.context)
        positions, places = [torch.arange(n_shared)], []
        for branch in instance.branches:
            n = n_closing + len(branch.tokens)
            place = Place(at, at + n, n_before + branch.after * a_chunk)
            positions.append(torch.arange(place.seen, place.seen + n))
            places.append(place)
            at = place.end
        return cls(n_shared, torch.cat(positions), tuple(places), tuple(place.mask for place in places))

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attention of the shared cells to those before them, and of each branch to what it sees.

        One product with a mask over all cells gives the same, and takes twice as long with four branches.
        """
        n = self.n_shared
        found = [functional.scaled_dot_product_attention(q[:, :, :n], k[:, :, :n], v[:, :, :n], is_causal=True)]
        for place, mask in zip(self.places, self.masks, strict=True):
            own = slice(place.start, place.end)
            keys, values = (torch.cat([x[:, :, : place.seen], x[:, :, own]], 2) for x in (k, v))
            found.append(functional.scaled_dot_product_attention(q[:, :, own], keys, values, attn_mask=mask))
        return torch.cat(found if n else found[1:], 2)

    def asked(self, branch: Branch, place: Place) -> range:
        """The cells whose logits are about tokens[first:] of a branch."""
        return range(place.end - len(branch.tokens) + branch.first - 1, place.end - 1)
