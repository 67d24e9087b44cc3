"""Prompts as cells of a context, and the book of which sequence holds which cells."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from pipeline.errors import ModelError
from pipeline.types import Cached, Excerpt, Part, Piece, PromptSpan, Text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.models.weights import Weights


_SECTIONS: tuple[Part, ...] = ("system", "passages", "history", "question")
"""Parts whose end a later prompt may share: with the next question, the same passages, or as a turn of history."""


Kind = Literal["tokens", "soft", "cached"]
"""The origin of cells: decoded from tokens, decoded from soft vectors, or copied from a piece."""
_LEAST_SOFT = -(1 << 62)
"""Keys of soft vectors lie in [_LEAST_SOFT, -1], those of composed cells below."""


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Cells [start, end) of a prompt that are copied from `piece`, from its cell number `first` on.

    `is_exact`: they are at their original positions, behind the same cells as when they were read.
    """

    start: int
    end: int
    piece: Piece
    first: int
    is_exact: bool = False

    @property
    def n(self) -> int:
        return self.end - self.start

    @property
    def is_moved(self) -> bool:
        """Whether they are at other positions than when they were read."""
        return self.start != self.piece.position + self.first

    def part(self, start: int, end: int) -> Stretch:
        """Returns the part within [start, end), which must overlap."""
        low, high = max(start, self.start), min(end, self.end)
        return Stretch(low, high, self.piece, self.first + low - self.start, self.is_exact)


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """A prompt, cell by cell.

    `keys` is int64 of shape (n,): a token's number, or for a soft vector a negative hash of its bytes, so that equal
    keys mean equal content. A cell of a piece has a negative hash of the piece's key and its place in it; in an exact
    stretch it has its token's number, since reading would give the same cell. `vectors` is float32 (n_soft, n_embd),
    the soft vectors in order. `sections` are the places, ascending, up to which a later prompt is likely to be equal.
    `stretches` are the cached cells, ascending.
    """

    keys: NDArray[np.int64]
    vectors: NDArray[np.float32] | None = None
    sections: tuple[int, ...] = ()
    stretches: tuple[Stretch, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def is_exact(self) -> bool:
        """Whether all cells equal those that reading the prompt would give."""
        return all(stretch.is_exact for stretch in self.stretches)

    @property
    def ends_cached(self) -> bool:
        """Whether the last cell is copied instead of read, so that it has no logits."""
        return bool(self.stretches) and self.stretches[-1].end == len(self.keys)

    def runs(self, start: int, end: int) -> Iterator[tuple[int, int, Kind]]:
        """Yields [start, end) as runs (start, end, kind): a llama.cpp call takes only one kind."""
        if self.vectors is None and not self.stretches:
            yield start, end, "tokens"
            return
        kinds = _is_soft(self.keys[start:end]).astype(np.int8)
        for stretch in self.cached(start, end):
            kinds[stretch.start - start : stretch.end - start] = 2
        cuts = [0, *(np.flatnonzero(kinds[1:] != kinds[:-1]) + 1).tolist(), end - start]
        names: tuple[Kind, Kind, Kind] = ("tokens", "soft", "cached")
        for low, high in pairwise(cuts):
            if low < high:
                yield start + low, start + high, names[kinds[low]]

    def cached(self, start: int, end: int) -> list[Stretch]:
        """The cached cells in [start, end)."""
        return [stretch.part(start, end) for stretch in self.stretches if stretch.start < end and stretch.end > start]

    def n_to_read(self, start: int) -> int:
        """Counts the cells from `start` on that are decoded instead of copied."""
        n = len(self.keys)
        return n - start - sum(stretch.n for stretch in self.cached(start, n))

    def tokens(self, start: int, end: int) -> NDArray[np.int32]:
        return self.keys[start:end].astype(np.int32)

    def soft(self, start: int, end: int) -> NDArray[np.float32]:
        """Returns the vectors of a soft run."""
        assert self.vectors is not None  # noqa: S101 - runs() found soft cells
        first = int(_is_soft(self.keys[:start]).sum())
        return self.vectors[first : first + end - start]

    def then(self, other: Cells) -> Cells:
        """Appends the other's cells; its cached cells count as composed."""
        n = len(self)
        vectors = [cells.vectors for cells in (self, other) if cells.vectors is not None]
        after = [
            Stretch(n + stretch.start, n + stretch.end, stretch.piece, stretch.first) for stretch in other.stretches
        ]
        keys = np.concatenate([self.keys, other.keys])
        for stretch in after if n else ():  # a stretch that was exact at the start of a prompt no longer is
            keys[stretch.start : stretch.end] = _composed_keys(stretch.piece)[stretch.first :][: stretch.n]
        return Cells(
            keys,
            np.concatenate(vectors) if vectors else None,
            self.sections,
            (*self.stretches, *after),
        )

    def plus(self, tokens: Sequence[int]) -> Cells:
        """Appends the cells of the tokens."""
        return self.then(Cells(np.asarray(tokens, np.int64)))

    def upto(self, n: int) -> Cells:
        """The first n cells."""
        sections = tuple(place for place in self.sections if place <= n)
        vectors = None if self.vectors is None else self.vectors[: int(_is_soft(self.keys[:n]).sum())]
        return Cells(self.keys[:n], vectors, sections, tuple(self.cached(0, n)))

    def since(self, n: int) -> Cells:
        """Returns the cells from number n on, as a separate prompt."""
        vectors = None if self.vectors is None else self.vectors[int(_is_soft(self.keys[:n]).sum()) :]
        after = [
            Stretch(stretch.start - n, stretch.end - n, stretch.piece, stretch.first)
            for stretch in self.cached(n, len(self))
        ]
        return Cells(self.keys[n:], vectors, stretches=tuple(after))

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.keys.tobytes()).hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """Ready-made tokens of a prompt, int32 (n,)."""

    tokens: NDArray[np.int32]
    part: Part


def cells_of(prompt: Sequence[PromptSpan | Tokens], weights: Weights) -> Cells:
    """Converts a prompt to cells. Each Text is tokenised apart from its neighbours; `special` allows special tokens.

    Excerpts must be expanded before (`excerpts.expanded`).
    """
    keys: list[NDArray[np.int64]] = []
    vectors: list[NDArray[np.float32]] = []
    stretches: list[Stretch] = []
    n = 0
    for span in prompt:
        if isinstance(span, Text):
            keys.append(weights.tokenize(span.text, span.special).astype(np.int64))
        elif isinstance(span, Cached):
            is_exact = _stands_where_read(span, keys, n)
            keys.append(_cached_keys(span, is_exact))
            stretches.append(Stretch(n, n + span.n_cells, span.piece, span.start, is_exact))
        elif isinstance(span, Tokens):
            keys.append(span.tokens.astype(np.int64))
        elif isinstance(span, Excerpt):
            raise ModelError("a piece must not hold excerpts of other texts")
        else:
            rows = _checked(span.vectors, weights)
            keys.append(np.array([_key(row) for row in rows], np.int64))
            vectors.append(rows)
        n += len(keys[-1])
    joined = np.concatenate(keys) if keys else np.empty(0, np.int64)
    ends = dict(zip((span.part for span in prompt), accumulate(map(len, keys)), strict=True))  # the last of each part
    sections = sorted(ends[part] for part in _SECTIONS if part in ends)
    return Cells(joined, np.concatenate(vectors) if vectors else None, tuple(sections), tuple(stretches))


def _checked(vectors: NDArray[np.float32], weights: Weights) -> NDArray[np.float32]:
    """Returns soft vectors in memory order. Raises ModelError if they cannot be decoded."""
    if vectors.ndim != 2 or vectors.shape[1] != weights.n_embd:
        raise ModelError(
            f"a soft span must be of shape (n, {weights.n_embd}) for {weights.path.name}, was: {tuple(vectors.shape)}"
        )
    rows = np.ascontiguousarray(vectors, np.float32)
    if not np.isfinite(rows).all():
        raise ModelError("a soft span holds values that are not finite")
    return rows


def _stands_where_read(span: Cached, keys: Sequence[NDArray[np.int64]], n: int) -> bool:
    """Whether the n cells before a cached span equal those before its cells when they were read."""
    piece = span.piece
    if n != piece.position + span.start:
        return False
    before = np.concatenate(keys) if keys else np.empty(0, np.int64)
    earlier = before[piece.position :]
    return (
        np.array_equal(earlier, piece.tokens[: span.start]) and Cells(before[: piece.position]).digest == piece.prefix
    )


def _cached_keys(span: Cached, is_exact: bool) -> NDArray[np.int64]:
    keys = span.piece.tokens.astype(np.int64) if is_exact else _composed_keys(span.piece)
    return keys[span.start : span.stop]


def _composed_keys(piece: Piece) -> NDArray[np.int64]:
    data = hashlib.shake_128(piece.key.encode()).digest(8 * len(piece))
    return _LEAST_SOFT - 1 - (np.frombuffer(data, np.uint64) >> 2).astype(np.int64)


def _is_soft(keys: NDArray[np.int64]) -> NDArray[np.bool_]:
    return (keys < 0) & (keys >= _LEAST_SOFT)


def common(keys: NDArray[np.int64], other: NDArray[np.int64]) -> int:
    """Returns the length of the longest common prefix."""
    n = min(len(keys), len(other))
    if n == 0:
        return 0
    differ = keys[:n] != other[:n]
    first = int(differ.argmax())
    return first if differ[first] else n


def in_prefix_order(rows: Sequence[NDArray[np.int64]]) -> list[int]:
    """Orders rows so that those with a common prefix are neighbours, the longest prefixes closest; returns indices.

    This is the depth-first order of the rows' trie, with branches in the order of their first row.
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
    """Tracks which cells each sequence holds, in order of position. Shared cells count once.

    llama.cpp has no call that returns how much of its memory is in use.
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
        """Counts the cells that only these sequences hold, which become free if all of them go."""
        inside = np.zeros(self.n_cells, np.int32)
        for sequence in sequences:
            inside[self._held.get(sequence, [])] += 1
        return int(((inside > 0) & (inside == self._holders)).sum())

    def add(self, sequence: int, n: int) -> None:
        """Adds n cells at the end of a sequence."""
        if n > len(self._free):
            raise ModelError(f"{n} cells are wanted and {len(self._free)} of {self.n_cells} are free")
        new = [self._free.pop() for _ in range(n)]
        self._holders[new] = 1
        self._held.setdefault(sequence, []).extend(new)

    def share(self, source: int, target: int, n: int) -> None:
        """Shares the first n cells of `source` with `target`, which must be empty."""
        held = self._held[source][:n]
        if held:
            self._holders[held] += 1
            self._held[target] = held

    def cut(self, sequence: int, start: int) -> None:
        """Removes a sequence's cells from position `start` on."""
        held = self._held.get(sequence, [])
        gone = held[start:]
        if gone:
            self._holders[gone] -= 1
            self._free.extend(cell for cell in gone if self._holders[cell] == 0)
        if start <= 0:
            self._held.pop(sequence, None)
        else:
            self._held[sequence] = held[:start]
