"""Saved states of hybrid and recurrent models, so that a prompt can go on from the middle of another's.

A recurrent state stands for all positions before it and cannot be trimmed. So it is saved, in host memory, at exact
places: at the ends of sections, and where two prompts part (the second time that a beginning is read, it is known to
come again: Marconi, arXiv 2411.19379; theirs also weighs what a state saves against its size, ours is least recently
used). What layers that attend keep is not saved with it: it stays in the cells of the sequences that hold the
beginning, and a checkpoint goes when the last of them does. llama.cpp's server does the same for one slot
(llama.cpp #25592).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(eq=False)
class Checkpoint:
    """The state after the first n cells of the sequences in `holders`, which begin alike."""

    n: int
    state: NDArray[np.uint8]
    holders: set[int] = field(default_factory=set)


class Checkpoints:
    """The checkpoints of one context; beyond `max_bytes` the least recently used go."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.n_bytes = 0
        self._all: dict[Checkpoint, None] = {}
        """In the order of use, the least recent first."""
        self._of: dict[int, dict[int, Checkpoint]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def places(self, sequence: int) -> list[int]:
        """After how many cells a sequence has checkpoints, in ascending order."""
        return sorted(self._of.get(sequence, ()))

    def before(self, sequence: int, n: int) -> int:
        """The last place of a sequence that is at most n; 0 if there is none."""
        return max((place for place in self._of.get(sequence, ()) if place <= n), default=0)

    def state(self, sequence: int, n: int) -> NDArray[np.uint8]:
        """The state of a sequence after n cells, where `before` found one."""
        checkpoint = self._of[sequence][n]
        self._all.pop(checkpoint)
        self._all[checkpoint] = None
        return checkpoint.state

    def add(self, sequence: int, n: int, state: NDArray[np.uint8]) -> None:
        """Keeps a state of a sequence after n cells, if it fits at all."""
        if state.nbytes > self.max_bytes or n in self._of.get(sequence, ()):
            return
        while self.n_bytes + state.nbytes > self.max_bytes:
            self._forget(next(iter(self._all)))
        checkpoint = Checkpoint(n, state)
        self._all[checkpoint] = None
        self.n_bytes += state.nbytes
        self._hold(sequence, checkpoint)

    def share(self, source: int, target: int, n: int) -> None:
        """The target holds the first n cells of the source, and so the checkpoints in them."""
        for checkpoint in list(self._of.get(source, {}).values()):
            if checkpoint.n <= n and checkpoint.n not in self._of.get(target, ()):
                self._hold(target, checkpoint)

    def cut(self, sequence: int, start: int) -> None:
        """A sequence gives up its cells from `start` on."""
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
