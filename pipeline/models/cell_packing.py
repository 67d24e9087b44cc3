"""Packs f16 cells with 8 bits a value: per 32 values of a row an f16 scale and integers in [-127, 127].

That is ggml's q8_0 in another order: 34 bytes instead of 64. Keys are packed with the rotation of their original
positions; they are rotated further only after unpacking.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from pipeline.models.kv_state import F16, Cache, Rows, State

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK = 32
PACKED_SHARE = 34 / 64
"""Bytes of a packed row over those of the row."""
_PACKED = 0x1000
"""Flag in the type of packed rows."""


def pack(state: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Packs the f16 rows of a state; None if there is nothing to pack (other types, odd sizes)."""
    parsed = State.parse(state)
    rows = [row for cache in parsed.caches for row in (*cache.keys, *cache.values)]
    if not rows or any(row.kind != F16 or row.is_transposed or row.data.shape[1] % (2 * _BLOCK) for row in rows):
        return None
    return _each(parsed, _packed).to_bytes()


def unpack(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Unpacks a state to llama.cpp's format."""
    return _each(State.parse(data), _unpacked).to_bytes()


def _each(state: State, change: Callable[[Rows], Rows]) -> State:
    caches = (
        Cache(cache.positions, tuple(map(change, cache.keys)), tuple(map(change, cache.values)))
        for cache in state.caches
    )
    return State(state.header, tuple(caches))


def _packed(rows: Rows) -> Rows:
    n = len(rows.data)
    values = np.ascontiguousarray(rows.data).view(np.float16).astype(np.float32).reshape(n, -1, _BLOCK)
    scales = (np.abs(values).max(-1, keepdims=True) / 127).astype(np.float16)
    steps = scales.astype(np.float32)
    whole = np.rint(np.divide(values, steps, out=np.zeros_like(values), where=steps > 0))
    integers = whole.clip(-127, 127).astype(np.int8)
    data = np.concatenate([scales.view(np.uint8).reshape(n, -1), integers.view(np.uint8).reshape(n, -1)], 1)
    return Rows(rows.kind + _PACKED, data)


def _unpacked(rows: Rows) -> Rows:
    n, n_bytes = rows.data.shape
    n_blocks = n_bytes // (_BLOCK + 2)
    scales = np.ascontiguousarray(rows.data[:, : 2 * n_blocks]).view(np.float16).astype(np.float32)
    integers = np.ascontiguousarray(rows.data[:, 2 * n_blocks :]).view(np.int8).reshape(n, n_blocks, _BLOCK)
    values = (integers * scales[:, :, None]).astype(np.float16)
    return Rows(rows.kind - _PACKED, values.reshape(n, -1).view(np.uint8))
