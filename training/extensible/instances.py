"""Training instances: a context that becomes soft vectors, and branches of raw text that are read after it.

The reader reads all branches in one pass. Each branch sees the text before the context, the soft vectors before its own
place, and itself, at the same positions as if it were alone. The result equals one pass per branch, but the soft
vectors are read only once. With a branch after each chunk this is the paper's two streams.
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
    """Raw tokens to read after the first `after` chunks. The loss is on tokens[first:]; `first` is at least 1.

    Kind `next` is the text that follows, `copy` a stretch of the context, `answer` a question with its answer.
    """

    kind: Kind
    tokens: Tokens
    after: int
    first: int = 1


@dataclass(frozen=True, eq=False)
class Instance:
    """A context, (n_chunks, chunk), and its branches. `before` is raw text before it, possibly empty."""

    source: str
    context: Tokens
    branches: tuple[Branch, ...]
    k: int
    before: Tokens

    @property
    def soft_per_chunk(self) -> int:
        return int(self.context.shape[1]) // self.k


@dataclass(frozen=True, eq=False)
class BranchCells:
    """A branch's cells in a pass, [start, end), and `seen`: how many of the shared cells it attends to."""

    start: int
    end: int
    seen: int

    @property
    def mask(self) -> Tensor:
        """Attention mask, bool (n, seen + n): the seen cells, and the branch up to each of its cells."""
        return torch.ones(self.end - self.start, self.seen + self.end - self.start, dtype=torch.bool).tril(self.seen)


@dataclass(frozen=True, eq=False)
class Layout:
    """The cells of an instance in one pass: `n_shared` for the text before and the soft vectors, then the branches.

    Each branch has `n_closing` cells before its tokens.
    """

    n_shared: int
    positions: Tensor
    places: tuple[BranchCells, ...]
    masks: tuple[Tensor, ...]

    @classmethod
    def of(cls, instance: Instance, n_closing: int = 0) -> Layout:
        n_before, per_chunk = len(instance.before), instance.soft_per_chunk
        start = n_shared = n_before + per_chunk * len(instance.context)
        positions, places = [torch.arange(n_shared)], []
        for branch in instance.branches:
            n = n_closing + len(branch.tokens)
            place = BranchCells(start, start + n, n_before + branch.after * per_chunk)
            positions.append(torch.arange(place.seen, place.seen + n))
            places.append(place)
            start = place.end
        return cls(n_shared, torch.cat(positions), tuple(places), tuple(place.mask for place in places))

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attention of the shared cells to those before them, and of each branch to the cells that it sees.

        A single product with a mask over all cells gives the same, but takes twice as long with four branches.
        """
        n = self.n_shared
        attended = [functional.scaled_dot_product_attention(q[:, :, :n], k[:, :, :n], v[:, :, :n], is_causal=True)]
        for place, mask in zip(self.places, self.masks, strict=True):
            branch = slice(place.start, place.end)
            keys, values = (torch.cat([x[:, :, : place.seen], x[:, :, branch]], 2) for x in (k, v))
            attended.append(functional.scaled_dot_product_attention(q[:, :, branch], keys, values, attn_mask=mask))
        return torch.cat(attended if n else attended[1:], 2)

    def loss_cells(self, branch: Branch, place: BranchCells) -> range:
        """The cells whose logits predict tokens[first:] of a branch."""
        return range(place.end - len(branch.tokens) + branch.first - 1, place.end - 1)
