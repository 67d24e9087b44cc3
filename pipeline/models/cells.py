"""Prompts as the cells that they take in a context, and the book of which sequence holds which."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import ModelError
from pipeline.types import Part, Prompt, Text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.models.weights import Weights


_SECTIONS: tuple[Part, ...] = ("system", "passages", "history", "question")
"""Parts whose end may come again: with the next question, on the same passages, or as a turn of the history."""


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """A prompt, cell by cell.

    `keys` is int64 of shape (n,): a token's number, or for a soft vector a negative number made from its bytes, so that
    equal keys mean equal content. `vectors` is float32 (n_soft, n_embd), the soft vectors in their order. `sections`
    are the places, in ascending order, up to which a later prompt is likely to be the same.
    """

    keys: NDArray[np.int64]
    vectors: NDArray[np.float32] | None = None
    sections: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    def runs(self, start: int, end: int) -> Iterator[tuple[int, int, bool]]:
        """[start, end) as stretches (start, end, is_soft) of one kind each: a call of llama.cpp takes only one kind."""
        if self.vectors is None:
            yield start, end, False
            return
        soft = self.keys[start:end] < 0
        cuts = [0, *(np.flatnonzero(soft[1:] != soft[:-1]) + 1).tolist(), end - start]
        for low, high in pairwise(cuts):
            if low < high:
                yield start + low, start + high, bool(soft[low])

    def tokens(self, start: int, end: int) -> NDArray[np.int32]:
        return self.keys[start:end].astype(np.int32)

    def soft(self, start: int, end: int) -> NDArray[np.float32]:
        """The vectors of a soft stretch."""
        assert self.vectors is not None  # noqa: S101 - runs() found soft cells
        first = int((self.keys[:start] < 0).sum())
        return self.vectors[first : first + end - start]

    def plus(self, tokens: Sequence[int]) -> Cells:
        """These cells, and after them those of the tokens."""
        return Cells(np.concatenate([self.keys, np.asarray(tokens, np.int64)]), self.vectors, self.sections)

    def upto(self, n: int) -> Cells:
        """The first n cells."""
        sections = tuple(place for place in self.sections if place <= n)
        if self.vectors is None:
            return Cells(self.keys[:n], sections=sections)
        return Cells(self.keys[:n], self.vectors[: int((self.keys[:n] < 0).sum())], sections)

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.keys.tobytes()).hexdigest()


def cells_of(prompt: Prompt, weights: Weights) -> Cells:
    """The cells of a prompt; each Text is tokenised apart from its neighbours, special tokens only where it may."""
    keys: list[NDArray[np.int64]] = []
    vectors: list[NDArray[np.float32]] = []
    for span in prompt:
        if isinstance(span, Text):
            keys.append(weights.tokenize(span.text, span.special).astype(np.int64))
            continue
        if span.vectors.ndim != 2 or span.vectors.shape[1] != weights.n_embd:
            raise ModelError(
                f"a soft span must be of shape (n, {weights.n_embd}) for {weights.path.name}, "
                f"was: {tuple(span.vectors.shape)}"
            )
        rows = np.ascontiguousarray(span.vectors, np.float32)
        if not np.isfinite(rows).all():
            raise ModelError("a soft span holds values that are not finite")
        keys.append(np.array([_key(row) for row in rows], np.int64))
        vectors.append(rows)
    joined = np.concatenate(keys) if keys else np.empty(0, np.int64)
    ends = dict(zip((span.part for span in prompt), accumulate(map(len, keys)), strict=True))  # the last of each part
    sections = sorted(ends[part] for part in _SECTIONS if part in ends)
    return Cells(joined, np.concatenate(vectors) if vectors else None, tuple(sections))


def common(one: NDArray[np.int64], other: NDArray[np.int64]) -> int:
    """The length of the longest common prefix."""
    n = min(len(one), len(other))
    if n == 0:
        return 0
    differ = one[:n] != other[:n]
    first = int(differ.argmax())
    return first if differ[first] else n


def in_prefix_order(rows: Sequence[NDArray[np.int64]]) -> list[int]:
    """The rows' numbers, ordered so that rows with a common prefix follow one another, those with the longest closest.

    Apart from that they keep their order. It is the depth-first order of the rows' trie, whose branches are visited in
    the order of their first row.
    """
    ranked = sorted(range(len(rows)), key=lambda n: rows[n].tobytes())
    lengths = [common(rows[a], rows[b]) for a, b in pairwise(ranked)]
    ordered: list[int] = []
    blocks = [(0, len(ranked))] if ranked else []
    while blocks:
        low, high = blocks.pop()
        if high - low == 1:
            ordered.append(ranked[low])
            continue
        inner = lengths[low : high - 1]
        shortest = min(inner)
        cuts = [low, *(low + n + 1 for n, length in enumerate(inner) if length == shortest), high]
        blocks += sorted(pairwise(cuts), key=lambda block: min(ranked[block[0] : block[1]]), reverse=True)
    return ordered


def _key(row: NDArray[np.float32]) -> int:
    return -1 - (int.from_bytes(hashlib.blake2b(row.tobytes(), digest_size=8).digest(), "little") >> 2)


class CellBook:
    """Which cells each sequence holds, in the order of their positions. Shared cells are counted once.

    It is our own account of llama.cpp's memory, which has no call that tells how much of it is in use.
    """

    def __init__(self, n_cells: int) -> None:
        self.n_cells = n_cells
        self._holders = np.zeros(n_cells, np.int32)
        self._free = list(range(n_cells - 1, -1, -1))
        self._held: dict[int, list[int]] = {}

    @property
    def n_free(self) -> int:
        return len(self._free)

    def n_held(self, sequence: int) -> int:
        return len(self._held.get(sequence, ()))

    def n_only(self, sequences: Collection[int]) -> int:
        """Cells that these sequences hold and no other does: so many become free when they all go."""
        inside = np.zeros(self.n_cells, np.int32)
        for sequence in sequences:
            inside[self._held.get(sequence, [])] += 1
        return int(((inside > 0) & (inside == self._holders)).sum())

    def add(self, sequence: int, n: int) -> None:
        """N new cells at the end of a sequence."""
        if n > len(self._free):
            raise ModelError(f"{n} cells are wanted and {len(self._free)} of {self.n_cells} are free")
        new = [self._free.pop() for _ in range(n)]
        self._holders[new] = 1
        self._held.setdefault(sequence, []).extend(new)

    def share(self, source: int, target: int, n: int) -> None:
        """The first n cells of `source` are those of `target` as well, which holds none yet."""
        held = self._held[source][:n]
        if held:
            self._holders[held] += 1
            self._held[target] = held

    def cut(self, sequence: int, start: int) -> None:
        """A sequence gives up its cells from position `start` on."""
        held = self._held.get(sequence, [])
        gone = held[start:]
        if gone:
            self._holders[gone] -= 1
            self._free.extend(cell for cell in gone if self._holders[cell] == 0)
        if start <= 0:
            self._held.pop(sequence, None)
        else:
            self._held[sequence] = held[:start]
