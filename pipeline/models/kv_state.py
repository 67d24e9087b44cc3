"""The bytes in which llama.cpp saves a sequence's cells: parsed, cut to some cells, or converted for another context.

After 8 bytes of its own, each cache of the context (one, or with sliding windows two) is saved in this order: the
number of streams; the number of cells; the position and the sequences of each cell; whether values are transposed; the
number of layers; the keys of each layer, and the values of each layer, with their type and the size of a row
(llama-kv-cache.cpp, `state_write`). llama.cpp does not guarantee this format, so compose.py checks for each model that
a state cut here equals, byte for byte, what llama.cpp saves of the same cells.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]

_HEADER = 8
"""Bytes before the first cache: a magic number, and the number of the sequence that was saved."""
_PAIR = struct.Struct("<II")
_KEYS = struct.Struct("<iQ")
_VALUES = struct.Struct("<iII")
F32, F16, BF16 = 0, 1, 30
"""ggml's type numbers."""
VALUE_BYTES = {F32: 4, F16: 2, BF16: 2}


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Keys or values of one layer: uint8 (n_cells, bytes), or if transposed (n_values, n_cells, bytes)."""

    kind: int
    data: Bytes
    is_transposed: bool = False

    def header(self) -> bytes:
        if self.is_transposed:
            return _VALUES.pack(self.kind, self.data.shape[2], self.data.shape[0])
        return _KEYS.pack(self.kind, self.data.shape[1])

    def take(self, order: NDArray[np.int64] | slice) -> Rows:
        """Returns the rows of these cells."""
        data = self.data[:, order] if self.is_transposed else self.data[order]
        return Rows(self.kind, data, self.is_transposed)

    def then(self, other: Rows) -> Rows:
        return Rows(self.kind, np.concatenate([self.data, other.data], int(self.is_transposed)), self.is_transposed)

    def values(self) -> NDArray[np.float64]:
        """Converts untransposed rows of f32, f16 or bf16 to numbers, (n_cells, n_values)."""
        data = np.ascontiguousarray(self.data)
        if self.kind == BF16:
            return (data.view(np.uint16).astype(np.uint32) << 16).view(np.float32).astype(np.float64)
        return data.view(np.float16 if self.kind == F16 else np.float32).astype(np.float64)

    def turned(self) -> Rows:
        """Transposes the values, only for f32, f16 and bf16, since blocks hold values of one cell."""
        size = VALUE_BYTES.get(self.kind, 0)
        if not size:
            raise ValueError("values of cached cells that are stored in blocks cannot be transposed")
        n_cells, n_bytes = self.data.shape
        return Rows(self.kind, self.data.reshape(n_cells, n_bytes // size, size).transpose(1, 0, 2), True)


@dataclass(frozen=True, slots=True, eq=False)
class Cache:
    """One cache: the position of each cell, int32 (n_cells,), in the order in which they are saved, and all layers."""

    positions: NDArray[np.int32]
    keys: tuple[Rows, ...]
    values: tuple[Rows, ...]

    def between(self, low: int, high: int) -> Cache:
        """The cells at the positions [low, high), in the order of their positions."""
        order = np.argsort(self.positions, kind="stable")
        where = order[(self.positions[order] >= low) & (self.positions[order] < high)]
        is_run = len(where) > 0 and bool((np.diff(where) == 1).all())
        chosen = slice(int(where[0]), int(where[-1]) + 1) if is_run else where
        keys = tuple(rows.take(chosen) for rows in self.keys)
        values = tuple(rows.take(chosen) for rows in self.values)
        return Cache(self.positions[chosen], keys, values)

    def then(self, other: Cache) -> Cache:
        """These cells, and after them those of the other."""
        if len(self.positions) == 0 or len(other.positions) == 0:
            return self if len(other.positions) == 0 else other
        keys = tuple(rows.then(after) for rows, after in zip(self.keys, other.keys, strict=True))
        values = tuple(rows.then(after) for rows, after in zip(self.values, other.values, strict=True))
        return Cache(np.concatenate([self.positions, other.positions]), keys, values)

    @property
    def is_transposed(self) -> bool:
        return bool(self.values) and self.values[0].is_transposed

    def parts(self) -> Iterator[bytes | Bytes]:
        """Yields the parts of llama.cpp's format, in order."""
        n = len(self.positions)
        yield _PAIR.pack(1, n)
        if n == 0:
            return
        cells = np.zeros((n, 3), np.int32)
        cells[:, 0], cells[:, 1] = self.positions, 1
        yield cells.tobytes()
        yield _PAIR.pack(self.is_transposed, len(self.keys))
        for rows in (*self.keys, *self.values):
            yield rows.header()
            yield np.ascontiguousarray(rows.data).reshape(-1)


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """The cells of one sequence, as views of the bytes that they were parsed from."""

    header: Bytes
    caches: tuple[Cache, ...]

    @classmethod
    def parse(cls, data: Bytes) -> State:
        """Parses saved bytes. Raises ValueError for an unknown format."""
        reader, caches = _Reader(data, _HEADER), []
        try:
            while reader.offset < len(data):
                caches.append(reader.cache())
        except (struct.error, ValueError) as error:
            raise ValueError(f"llama.cpp saves cells in another layout than is known here: {error}") from error
        return cls(data[:_HEADER], tuple(caches))

    def __len__(self) -> int:
        return max((len(cache.positions) for cache in self.caches), default=0)

    def between(self, low: int, high: int) -> State:
        """The cells at the positions [low, high)."""
        return State(self.header, tuple(cache.between(low, high) for cache in self.caches))

    def then(self, other: State) -> State:
        """These cells, and after them those of the other."""
        pairs = zip(self.caches, other.caches, strict=True)
        return State(self.header, tuple(cache.then(after) for cache, after in pairs))

    @property
    def is_whole(self) -> bool:
        """Whether each cache has all cells: llama.cpp saves only a part of those outside a sliding window."""
        return all(len(cache.positions) == len(self) for cache in self.caches)

    def transposed(self) -> State:
        """Converts the cells for a context with transposed values (without flash attention)."""
        return State(
            self.header,
            tuple(
                cache
                if cache.is_transposed
                else Cache(cache.positions, cache.keys, tuple(rows.turned() for rows in cache.values))
                for cache in self.caches
            ),
        )

    @property
    def shape(self) -> tuple[tuple[int, ...], ...]:
        """The types and sizes of all rows, which must match the context's."""
        return tuple(
            tuple(n for rows in (*cache.keys, *cache.values) for n in (rows.kind, rows.is_transposed, _row_bytes(rows)))
            for cache in self.caches
        )

    def to_bytes(self) -> Bytes:
        parts = [
            np.frombuffer(part, np.uint8) if isinstance(part, bytes) else part
            for cache in self.caches
            for part in cache.parts()
        ]
        return np.concatenate([self.header, *parts])


def _row_bytes(rows: Rows) -> int:
    return int(rows.data.size // max(1, rows.data.shape[1 if rows.is_transposed else 0]))


class _Reader:
    """Parses one cache after the other."""

    def __init__(self, data: Bytes, offset: int) -> None:
        self.data = data
        self.offset = offset

    def unpack(self, form: struct.Struct) -> tuple[int, ...]:
        values = form.unpack_from(self.data.data, self.offset)
        self.offset += form.size
        return values

    def bytes(self, *shape: int) -> Bytes:
        n = int(np.prod(shape))
        if n > len(self.data) - self.offset:
            raise ValueError(f"{n} bytes are missing")
        self.offset += n
        return self.data[self.offset - n : self.offset].reshape(shape)

    def cache(self) -> Cache:
        n_streams, n = self.unpack(_PAIR)
        if n_streams != 1:
            raise ValueError(f"{n_streams} streams")
        if n == 0:
            return Cache(np.empty(0, np.int32), (), ())
        cells = self.bytes(n, 12).view(np.int32)
        if not (cells[:, 1] == 1).all():
            raise ValueError("a cell names other sequences than its own")
        is_transposed, n_layers = self.unpack(_PAIR)
        if is_transposed > 1 or n_layers > 4096:
            raise ValueError(f"{n_layers} layers")
        keys = tuple(self.rows(n) for _ in range(n_layers))
        values = tuple(self.turned(n) if is_transposed else self.rows(n) for _ in range(n_layers))
        return Cache(cells[:, 0].copy(), keys, values)

    def rows(self, n: int) -> Rows:
        kind, size = self.unpack(_KEYS)
        return Rows(kind, self.bytes(n, size))

    def turned(self, n: int) -> Rows:
        kind, size, n_values = self.unpack(_VALUES)
        return Rows(kind, self.bytes(n_values, n, size), True)
