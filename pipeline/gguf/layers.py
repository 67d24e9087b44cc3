"""The memory of each layer of a model: keys and values, a recurrent state, both or neither.

llama.cpp reports only the first layer's numbers, and in hybrid models (Qwen3.5, LFM2, Granite 4, Nemotron) these differ
by layer. So this module reads them from the file's metadata and tensor names. The sizes of recurrent states are those
of llama.cpp's `llama_hparams::n_embd_r` and `n_embd_s`, in float32.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.gguf.header import inspect, numbers

if TYPE_CHECKING:
    from pipeline.gguf.header import GgufInfo

_OUTPUT = re.compile(rb"^blk\.(\d+)\.attn_output\.weight$")
_STATE = re.compile(rb"^blk\.(\d+)\.(?:ssm_|shortconv\.|time_mix_)")
_STATE_VALUE_BYTES = 4


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer. `n_head` is 0 if it does not attend; `key_values` and `value_values` count the numbers per cell.

    `state_values` counts those of one sequence's recurrent state, 0 for a layer without one.
    """

    n_head: int
    key_values: int
    value_values: int
    state_values: int = 0


@dataclass(frozen=True, slots=True)
class Layers:
    """All layers, in order."""

    all: tuple[Layer, ...]

    @property
    def attending(self) -> tuple[int, ...]:
        """The numbers of the attending layers."""
        return tuple(n for n, layer in enumerate(self.all) if layer.n_head > 0)

    @property
    def n_head(self) -> int:
        """The largest number of heads of a layer; 0 if none attends."""
        return max((layer.n_head for layer in self.all), default=0)

    def cell_bytes(self, key_value_bytes: float, value_value_bytes: float) -> float:
        """Returns the bytes of one cell, given the bytes per number in keys and in values."""
        return sum(layer.key_values * key_value_bytes + layer.value_values * value_value_bytes for layer in self.all)

    @property
    def state_bytes(self) -> int:
        """The bytes of one sequence's recurrent state."""
        return _STATE_VALUE_BYTES * sum(layer.state_values for layer in self.all)


def layers_of(path: Path, is_recurrent: bool) -> Layers:
    """Reads the layers of a file. `is_recurrent`: llama.cpp reports recurrent layers."""
    info = inspect(path)
    metadata = _Metadata(info, path)
    n_layer, n_embd = info.n_layer, info.n_embd
    n_head = metadata.each("attention.head_count", n_layer, 0)
    n_head_kv = metadata.each("attention.head_count_kv", n_layer, -1)
    slides = metadata.each("attention.sliding_window_pattern", n_layer, 0, only_array=True)
    n_run = n_layer - metadata.number("nextn_predict_layers", 0)  # layers for multi-token prediction do not run
    n_cached = n_run - metadata.number("attention.shared_kv_layers", 0)  # the last layers may share a cache
    with_state = _numbers_in(info.tensor_names, _STATE) if is_recurrent else set()
    with_output = _numbers_in(info.tensor_names, _OUTPUT) if is_recurrent else set(range(n_layer))
    layers = []
    for n in range(n_layer):
        heads, heads_kv = n_head[n], n_head[n] if n_head_kv[n] < 0 else n_head_kv[n]
        attends = n in with_output and n < n_run and heads > 0 and heads_kv > 0
        state = _state_values(metadata, n_embd, heads) if n in with_state else 0
        if not attends:
            layers.append(Layer(0, 0, 0, state))
            continue
        key, value = (metadata.number(f"attention.{kind}_length", n_embd // heads) for kind in ("key", "value"))
        if slides[n]:
            key = metadata.number("attention.key_length_swa", key)
            value = metadata.number("attention.value_length_swa", value)
        n_kept = heads_kv if n < n_cached else 0
        layers.append(Layer(heads, n_kept * key, n_kept * value, state))
    return Layers(tuple(layers))


class _Metadata:
    """The metadata under the architecture's name."""

    def __init__(self, info: GgufInfo, path: Path) -> None:
        self._values: Mapping[str, object] = info.metadata
        self._prefix = f"{info.architecture}."
        self._path = path

    def number(self, key: str, default: int) -> int:
        value = self._values.get(self._prefix + key)
        return int(value) if isinstance(value, (int, float)) else default

    def each(self, key: str, n: int, default: int, only_array: bool = False) -> Sequence[int]:
        """Returns the value of each of n layers: the file has one for all, or an array."""
        full = self._prefix + key
        if full in self._values and self._values[full] is None:
            values = numbers(self._path, full)[:n]
            return values + [default] * (n - len(values))
        return [default if only_array else self.number(key, default)] * n


def _numbers_in(names: Collection[bytes], form: re.Pattern[bytes]) -> set[int]:
    return {int(match[1]) for name in names if (match := form.match(name))}


def _state_values(metadata: _Metadata, n_embd: int, n_head: int) -> int:
    """Counts the numbers in one recurrent layer's state: of its convolution or token shift, and of the state itself."""
    if head := metadata.number("wkv.head_size", 0):  # RWKV
        return (metadata.number("token_shift_count", 2) + head) * n_embd
    if n_shortconv := metadata.number("shortconv.l_cache", 0):  # LFM2
        return (n_shortconv - 1) * n_embd
    n_conv = max(0, metadata.number("ssm.conv_kernel", 0) - 1)
    if head := metadata.number("kda.head_dim", 0):  # Kimi Linear
        return 3 * n_conv * n_head * head + n_head * head * head
    n_inner, n_state = metadata.number("ssm.inner_size", 0), metadata.number("ssm.state_size", 0)
    return n_conv * (n_inner + 2 * metadata.number("ssm.group_count", 0) * n_state) + n_inner * n_state
