"""Saved states of hybrid and recurrent models, so that a prompt can continue from the middle of another.

A recurrent state covers all positions before it and cannot be trimmed. So it is saved, in host memory, at exact places:
at the ends of sections, and where two prompts diverge (a prefix that is read twice is likely to recur: Marconi, arXiv
2411.19379; theirs also weighs savings against size, ours evicts the least recently used). The cells of attending layers
are not saved: they stay in the sequences that hold the prefix, and a checkpoint is dropped with the last of these.
llama.cpp's server does the same for one slot (llama.cpp #25592).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(eq=False)
class Checkpoint:
    """The state after the first n cells, which the sequences in `holders` share."""

    n: int
    state: NDArray[np.uint8]
    holders: set[int] = field(default_factory=set)


class Checkpoints:
    """The checkpoints of one context, with LRU eviction beyond `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.n_bytes = 0
        self._all: dict[Checkpoint, None] = {}
        """All checkpoints, the least recently used first."""
        self._of: dict[int, dict[int, Checkpoint]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def places(self, sequence: int) -> list[int]:
        """Returns the positions of a sequence's checkpoints, ascending."""
        return sorted(self._of.get(sequence, ()))

    def before(self, sequence: int, n: int) -> int:
        """Returns the last checkpoint's position that is at most n; 0 if there is none."""
        return max((place for place in self._of.get(sequence, ()) if place <= n), default=0)

    def state(self, sequence: int, n: int) -> NDArray[np.uint8]:
        """Returns the state of a sequence after n cells, which `before` must have found."""
        checkpoint = self._of[sequence][n]
        self._all.pop(checkpoint)
        self._all[checkpoint] = None
        return checkpoint.state

    def add(self, sequence: int, n: int, state: NDArray[np.uint8]) -> None:
        """Stores the state of a sequence after n cells, if it fits."""
        if state.nbytes > self.max_bytes or n in self._of.get(sequence, ()):
            return
        while self.n_bytes + state.nbytes > self.max_bytes:
            self._forget(next(iter(self._all)))
        checkpoint = Checkpoint(n, state)
        self._all[checkpoint] = None
        self.n_bytes += state.nbytes
        self._hold(sequence, checkpoint)

    def share(self, source: int, target: int, n: int) -> None:
        """Shares the checkpoints in the first n cells of the source with the target."""
        for checkpoint in list(self._of.get(source, {}).values()):
            if checkpoint.n <= n and checkpoint.n not in self._of.get(target, ()):
                self._hold(target, checkpoint)

    def cut(self, sequence: int, start: int) -> None:
        """Drops a sequence's checkpoints after `start`, together with its cells."""
        for checkpoint in [other for other in self._of.get(sequence, {}).values() if other.n > start]:
            del self._of[sequence][checkpoint.n]
            checkpoint.holders.discard(sequence)
            if not checkpoint.holders:
                self._forget(checkpoint)
        if not self._of.get(sequence):
            self._of.pop(sequence, None)

    def _hold(self, sequence: int, checkpoint: Checkpoint) -> None:
        self._of.setdefault(sequence, {})[checkpoint.n] = checkpoint
        checkpoint.holders.add(sequence)

    def _forget(self, checkpoint: Checkpoint) -> None:
        if checkpoint in self._all:
            del self._all[checkpoint]
            self.n_bytes -= checkpoint.state.nbytes
        for sequence in checkpoint.holders:
            self._of.get(sequence, {}).pop(checkpoint.n, None)
        checkpoint.holders.clear()
