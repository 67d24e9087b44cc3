"""Reads attention from a stock GGUF: how much the tokens of a query attend to each preceding cell.

llama.cpp calls its evaluation callback for each node of the graph. The callback copies the tensor
`kq_soft_max-<layer>`, which exists only without flash attention, and stops the graph above the highest wanted layer. A
probe therefore has its own context, without flash attention, whose cache holds only the layers that ran. Retrieval
heads (Wu et al. 2024, arXiv 2404.15574) are the useful ones.

In a hybrid model only the attending layers can be read. Recurrent states cannot be trimmed, so the query is read on a
copy of the prefix's sequence, and a prefix that does not continue the last one is read from its beginning.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import ModelError
from pipeline.models.cells import Cells, common
from pipeline.models.context import Context
from pipeline.models.llama import library
from pipeline.models.placing import put_behind
from pipeline.models.pool import rows_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.models.settings import KvType, ResolvedSettings
    from pipeline.models.weights import Weights

_NODE = b"kq_soft_max-"
_GROWTH = 1024
"""Step, in cells, in which the probe's context grows."""


@dataclass(frozen=True, slots=True, eq=False)
class Attention:
    """Attention of a query to a prefix.

    `mass` is float32 (n_heads, n_query, n_prefix), in [0, 1]: after the softmax, so a query token's row sums to at most
    1; the rest is attention within the query. `heads` names the rows of the first axis as (layer, head).
    `blind_layers` have a sliding window that does not cover the whole prefix: their mass outside it is 0.
    """

    mass: NDArray[np.float32]
    heads: tuple[tuple[int, int], ...]
    blind_layers: tuple[int, ...] = ()


class AttentionReader:
    """Reads attention on its own context, and keeps the cells of the last prefix for the next query."""

    def __init__(self, weights: Weights, resolved: ResolvedSettings) -> None:
        """Raises ModelError for an architecture without attention layers."""
        if not weights.layers.attending:
            raise ModelError(
                f"{weights.path.name}: {weights.architecture} has recurrent layers only: there is no attention to read"
            )
        self._weights = weights
        self._query = 1 if weights.is_recurrent else 0
        """The sequence for queries."""
        self._spare = 1
        """The sequence on which cached cells are moved; recurrent models have no cached cells."""
        kv_k: KvType = "f32" if resolved.kv_k == "f32" else "f16"
        kv_v: KvType = "f32" if resolved.kv_v == "f32" else "f16"
        self._resolved = replace(resolved, kv_k=kv_k, kv_v=kv_v, n_cells=0, kv_unified=True)
        self._context: Context | None = None
        self._keys: NDArray[np.int64] = np.empty(0, np.int64)
        self._depth = -1
        self._nodes = _Nodes()

    def close(self) -> None:
        if self._context is not None:
            self._context.close()

    def attend(self, prefix: Cells, query: Cells, heads: Sequence[tuple[int, int]] | None) -> Attention:
        """Returns the attention of each query cell to each prefix cell; by default for all heads of all layers."""
        wanted = self._checked(heads)
        layers = sorted({layer for layer, _ in wanted})
        if len(prefix) == 0 or len(query) == 0:
            raise ModelError("attend: prefix and query must have at least one token each")
        context = self._fitted(len(prefix) + len(query))
        n_kept = self._read_prefix(context, prefix, layers[-1])
        try:
            mass = self._read_query(context, prefix, query, wanted, layers)
        except BaseException:
            self._forget(context)
            raise
        context.cut(self._query, 0 if self._query else len(prefix))
        self._keys, self._depth = prefix.keys, layers[-1] if n_kept == 0 else min(self._depth, layers[-1])
        blind = self._blind(mass, wanted, len(prefix))
        lost = [head for head in wanted if head[0] in blind]
        if heads is not None and lost:
            raise ModelError(
                f"attend: layer {lost[0][0]} of {self._weights.path.name} sees only the last {self._weights.n_swa} "
                f"tokens, and the prefix has {len(prefix)}: choose heads of other layers than {sorted(blind)}"
            )
        return Attention(mass, wanted, tuple(sorted(blind)))

    def _checked(self, heads: Sequence[tuple[int, int]] | None) -> tuple[tuple[int, int], ...]:
        layers = self._weights.layers
        if heads is None:
            return tuple((layer, head) for layer in layers.attending for head in range(layers.all[layer].n_head))
        if not heads:
            raise ModelError("attend: name at least one (layer, head)")
        for layer, head in heads:
            if not (layer in layers.attending and 0 <= head < layers.all[layer].n_head):
                attend = f", of which {list(layers.attending)} attend" if self._weights.is_recurrent else ""
                raise ModelError(
                    f"attend: {self._weights.path.name} has {self._weights.n_layer} layers{attend} of {layers.n_head} "
                    f"heads, there is no head ({layer}, {head})"
                )
        return tuple((int(layer), int(head)) for layer, head in heads)

    def _fitted(self, n: int) -> Context:
        if self._context is not None and self._context.n_cells >= n:
            return self._context
        if self._context is not None:
            self._context.close()
        size = -(-n // _GROWTH) * _GROWTH
        resolved = replace(self._resolved, n_cells=size, n_batch=min(512, size), n_ubatch=min(512, size))
        self._context = Context(self._weights, resolved, self._spare + 1, "off", self._nodes.on_node)
        self._keys, self._depth = np.empty(0, np.int64), -1
        return self._context

    def _forget(self, context: Context) -> None:
        for sequence in {0, self._query, self._spare}:
            context.cut(sequence, 0)
        self._keys, self._depth = np.empty(0, np.int64), -1

    def _read_prefix(self, context: Context, prefix: Cells, last: int) -> int:
        """Decodes the prefix up to the layer `last`; returns the number of cells that were cached."""
        n = common(self._keys, prefix.keys) if self._depth >= last else 0
        if self._query and n < len(self._keys):
            n = 0
        context.cut(0, n)
        self._keys = self._keys[:n]
        self._nodes.watch([], self._stop(last))
        for low, high, kind in prefix.runs(n, len(prefix)):
            if kind == "cached":
                for stretch in prefix.cached(low, high):
                    put_behind(context, self._spare, 0, stretch, is_transposed=True)
                continue
            for start in range(low, high, context.n_batch):
                context.decode([rows_of(prefix, 0, start, min(high, start + context.n_batch), kind)])
        return n

    def _stop(self, last: int) -> int | None:
        return None if last == self._weights.n_layer - 1 else last

    def _read_query(
        self, context: Context, prefix: Cells, query: Cells, wanted: Sequence[tuple[int, int]], layers: Sequence[int]
    ) -> NDArray[np.float32]:
        n_prefix = len(prefix)
        if self._query:
            context.copy(0, self._query, n_prefix)
        mass = np.zeros((len(wanted), len(query), n_prefix), np.float32)
        whole = prefix.then(query)
        for low, high, kind in whole.runs(n_prefix, len(whole)):
            if kind == "cached":
                raise ModelError("attend: the query must be read: put cached cells into the prefix")
            for start in range(low, high, context.n_batch):
                upto = min(high, start + context.n_batch)
                self._nodes.watch(layers, self._stop(layers[-1]))
                context.decode([rows_of(whole, self._query, start, upto, kind)])
                for n, (layer, head) in enumerate(wanted):
                    weights = self._nodes.taken.get(layer)
                    if weights is None:
                        raise ModelError(
                            f"{self._weights.path.name}: the graph of {self._weights.architecture} has no tensor "
                            f"{_NODE.decode()}{layer}: its attention cannot be read"
                        )
                    head_weights = weights.reshape(self._weights.layers.all[layer].n_head, upto - start, -1)
                    mass[n, start - n_prefix : upto - n_prefix] = head_weights[head, :, :n_prefix]
        self._nodes.watch([], None)
        return mass

    def _blind(self, mass: NDArray[np.float32], wanted: Sequence[tuple[int, int]], n_prefix: int) -> set[int]:
        """Returns the layers whose wanted heads all have no attention outside the sliding window."""
        outside = n_prefix - self._weights.n_swa
        if self._weights.n_swa <= 0 or outside <= 0:
            return set()
        seen = {layer for n, (layer, _) in enumerate(wanted) if mass[n, :, :outside].any()}
        return {layer for layer, _ in wanted} - seen


class _Nodes:
    """The evaluation callback: copies the attention of watched layers, and stops the graph after a layer."""

    def __init__(self) -> None:
        self.taken: dict[int, NDArray[np.float32]] = {}
        self._names: dict[bytes, int] = {}
        self._stop = b""
        base = _ggml_base()
        self._name, self._n_bytes, self._read = base.ggml_get_name, base.ggml_nbytes, base.ggml_backend_tensor_get

    def watch(self, layers: Sequence[int], stop: int | None) -> None:
        self.taken = {}
        self._names = {_NODE + str(layer).encode(): layer for layer in layers}
        self._stop = b"" if stop is None else _NODE + str(stop).encode()

    def on_node(self, tensor: object, is_asking: bool, _: object) -> bool:
        """Before a node: returns whether its value is wanted. After it: copies the value; False ends the graph."""
        name = self._name(tensor)
        if is_asking:
            return name in self._names or name == self._stop
        layer = self._names.get(name)
        if layer is not None:
            values = np.empty(self._n_bytes(tensor) // 4, np.float32)
            self._read(tensor, values.ctypes.data, 0, values.nbytes)
            self.taken[layer] = values
        return bool(name != self._stop)


def _ggml_base() -> Any:
    """Loads ggml's functions on tensors, which the binding lacks."""
    folder = Path(str(library().__file__)).parent / "lib"
    libraries = sorted(folder.glob("*ggml-base*"), key=lambda path: len(path.name))
    if not libraries:
        raise ModelError(f"llama-cpp-python's libraries are not in {folder}: install it again")
    base = ctypes.CDLL(str(libraries[0]))
    base.ggml_get_name.argtypes, base.ggml_get_name.restype = [ctypes.c_void_p], ctypes.c_char_p
    base.ggml_nbytes.argtypes, base.ggml_nbytes.restype = [ctypes.c_void_p], ctypes.c_size_t
    base.ggml_backend_tensor_get.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t]
    base.ggml_backend_tensor_get.restype = None
    return base
