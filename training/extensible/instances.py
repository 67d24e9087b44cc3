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
class Layout:
    """How an instance's cells lie in one pass: before, soft, branches. `places` are the first cells of the branches."""

    n_before: int
    n_soft: int
    positions: Tensor
    mask: Tensor
    places: tuple[int, ...]

    @classmethod
    def of(cls, instance: Instance) -> Layout:
        n_before, a_chunk = len(instance.before), instance.soft_a_chunk
        n_soft = a_chunk * len(instance.context)
        shared = n_before + n_soft
        lengths = [len(branch.tokens) for branch in instance.branches]
        places = tuple(shared + sum(lengths[:n]) for n in range(len(lengths)))
        n = shared + sum(lengths)
        mask = torch.zeros(n, n, dtype=torch.bool)
        mask[:shared, :shared] = torch.ones(shared, shared, dtype=torch.bool).tril()
        positions = [torch.arange(shared)]
        for branch, place, length in zip(instance.branches, places, lengths, strict=True):
            seen = n_before + branch.after * a_chunk
            mask[place : place + length, :seen] = True
            mask[place : place + length, place : place + length] = torch.ones(length, length, dtype=torch.bool).tril()
            positions.append(torch.arange(seen, seen + length))
        return cls(n_before, n_soft, torch.cat(positions), mask, places)

    def asked(self, branch: Branch, place: int) -> range:
        """The cells whose logits are about tokens[first:] of a branch."""
        return range(place + branch.first - 1, place + len(branch.tokens) - 1)
