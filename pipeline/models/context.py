"""One llama.cpp context with many sequences over one pool of cells. It checks requests before llama.cpp would assert.

It decodes rows and moves cells, independent of prompts, streams and caches.
"""

from __future__ import annotations

import ctypes
import weakref
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import ModelError
from pipeline.models.control import apply_control
from pipeline.models.limits import CACHE_TYPES
from pipeline.models.llama import complaints, library
from pipeline.models.resolving import can_fork, format_mb
from pipeline.models.settings import ResolvedSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from pipeline.models.weights import Weights

_ROPE = {"none": -1, "ntk": 0, "linear": 1, "yarn": 2}
_FLASH = {"auto": -1, "off": 0, "on": 1}
_ABORTED = 2
"""What llama_decode returns after its abort callback has returned true."""


class HaltedError(ModelError):
    """A decode was halted by the caller of `Context.halting`."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Cells to decode for one sequence, at consecutive positions from `position` on.

    Either `tokens` (int32) or `vectors` (float32, (n, n_embd)). `outputs` are the rows, from 0, that need logits.
    """

    sequence: int
    position: int
    tokens: NDArray[np.int32] | None
    vectors: NDArray[np.float32] | None = None
    outputs: Sequence[int] | range = ()

    def __len__(self) -> int:
        rows = self.tokens if self.tokens is not None else self.vectors
        return 0 if rows is None else len(rows)


class Context:
    """A context on `weights`, sized by `resolved`; `native_s` adds up the seconds spent inside llama.cpp.

    All sequences share the cells (unified KV), so `copy` is free and takes no cells. Without unified KV each sequence
    has its own cells, and `copy` copies all of the source's. `can_fork`: whether a part of a sequence can be shared.
    """

    def __init__(
        self,
        weights: Weights,
        resolved: ResolvedSettings,
        n_sequences: int,
        flash: str,
        on_node: object = None,
    ) -> None:
        lib = self._lib = library()
        self.weights = weights
        self.n_sequences = n_sequences
        max_sequences = lib.llama_max_parallel_sequences()
        if n_sequences > max_sequences:
            raise ModelError(
                f"{n_sequences} sequences are too many: llama.cpp holds at most {max_sequences}; lower n_seq_max or "
                "n_cached"
            )
        parameters = lib.llama_context_default_params()
        parameters.n_ctx = resolved.n_cells
        parameters.n_batch = resolved.n_batch
        parameters.n_ubatch = resolved.n_ubatch
        parameters.n_seq_max = n_sequences
        parameters.n_outputs_max_per_seq = 0
        parameters.n_threads = parameters.n_threads_batch = resolved.threads
        parameters.kv_unified = resolved.kv_unified
        parameters.swa_full = resolved.swa_full  # keeps the cells outside the window, to fork
        parameters.pooling_type = 0
        parameters.type_k, parameters.type_v = CACHE_TYPES[resolved.kv_k][0], CACHE_TYPES[resolved.kv_v][0]
        parameters.flash_attn_type = _FLASH[flash]
        _set_rope(parameters, resolved, weights)
        if on_node is not None:
            self._on_node = lib.ggml_backend_sched_eval_callback(on_node)
            parameters.cb_eval = self._on_node
        complaints()
        self.pointer = lib.llama_init_from_model(weights.pointer, parameters)
        if not self.pointer:
            raise ModelError(
                f"{weights.path.name}: llama.cpp cannot make a context of {resolved.n_cells} cells "
                f"({format_mb(resolved.kv_bytes)} for the cache): {complaints() or 'no reason given'}"
            )
        complaints()  # drops the warnings of a success, which would explain a later error wrongly
        self._free = weakref.finalize(self, _free_context, lib, self.pointer, weights)
        self._set_adapters(weights.adapters)
        if weights.control is not None:
            apply_control(lib, self.pointer, weights.control, weights)
        self.can_fork = can_fork(weights, resolved)
        self._is_unified = resolved.kv_unified
        self.memory = lib.llama_get_memory(self.pointer)
        self.n_cells: int = lib.llama_n_ctx(self.pointer)
        self.n_batch: int = lib.llama_n_batch(self.pointer)
        self.native_s = 0.0
        self._is_shifting = False
        """Whether cells were moved whose keys the next decode turns."""
        self._halt: object = None
        """The callback by which llama.cpp asks whether to end a decode; None outside `halting`."""
        self._set_halt: object = None
        """The callback that llama.cpp has."""
        self._batch = Batch(lib, self.n_batch, weights.n_embd)

    @property
    def is_closed(self) -> bool:
        return not self._free.alive

    def close(self) -> None:
        self._free()

    def decode(self, rows: Sequence[Rows]) -> list[int]:
        """Decodes all rows in one call; returns the index of each output, for `logits`, in row order.

        All rows are tokens, or all are vectors. At most `n_batch` cells.
        """
        n = sum(map(len, rows))
        if n > self.n_batch:
            raise ModelError(f"a batch of {n} cells is more than n_batch = {self.n_batch}")
        if n == 0:
            return []
        batch, outputs = self._batch.fill(rows)
        start = perf_counter()
        # keys that are turned halfway could not be repaired, so such a decode runs to its end
        self._set_abort_callback(None if self._is_shifting else self._halt)
        code = self._lib.llama_decode(self.pointer, batch)
        self._is_shifting = False
        self.native_s += perf_counter() - start
        if code == _ABORTED and self._halt is not None:
            raise HaltedError(f"{self.weights.path.name}: reading was halted")
        if code != 0:
            raise ModelError(f"llama.cpp could not decode {n} cells (code {code}): {complaints() or 'no reason given'}")
        return outputs

    @contextmanager
    def halting(self, is_halted: Callable[[], bool]) -> Iterator[None]:
        """Inside, a decode ends within milliseconds of `is_halted` turning true, and raises HaltedError.

        llama.cpp asks between two operations of its graph. A backend on a GPU does not ask, and runs to the end. What a
        halted decode should have added is in the cache in part or not at all: release its sequence.
        """
        self._halt = self._lib.ggml_abort_callback(lambda _: is_halted())
        try:
            yield
        finally:
            self._halt = None
            self._set_abort_callback(None)

    def _set_abort_callback(self, callback: object) -> None:
        if callback is not self._set_halt:
            self._lib.llama_set_abort_callback(self.pointer, callback or self._lib.ggml_abort_callback(), None)
            self._set_halt = callback

    def logits(self, output: int) -> NDArray[np.float32]:
        """Returns the logits of an output of the last decode, (n_vocab,): a view, valid until the next decode."""
        start = perf_counter()
        pointer = self._lib.llama_get_logits_ith(self.pointer, output)
        self.native_s += perf_counter() - start
        if not pointer:
            raise ModelError(f"no logits for row {output} of the last batch")
        return np.ctypeslib.as_array(pointer, (self.weights.n_vocab,))

    def state(self, output: int) -> NDArray[np.float32]:
        """The last hidden state of an output of the last decode, (n_embd,): a view. See `want_states`."""
        pointer = self._lib.llama_get_embeddings_ith(self.pointer, output)
        if not pointer:
            raise ModelError(f"no hidden state for row {output} of the last batch")
        return np.ctypeslib.as_array(pointer, (self.weights.n_embd,))

    def want_states(self, wanted: bool) -> None:
        """While on, every row of a decode is an output and has a hidden state."""
        self._lib.llama_set_embeddings(self.pointer, wanted)

    # ----------------------------------------------------------------------------------------------------- sequences
    def copy(self, source: int, target: int, n: int) -> None:
        """Shares the first n cells of `source` with the empty `target`; all of them without a unified cache.

        A recurrent state has no parts: the target gets that of the source's end, whatever n is. If the source is longer
        than n, `load_state` must follow.
        """
        self._lib.llama_memory_seq_cp(self.memory, source, target, 0, n if self._is_unified else -1)

    def lend(self, source: int, target: int, start: int = -1, end: int = -1) -> None:
        """Shares the cells of `source` in [start, end), by default all, with `target`; needs a unified cache."""
        self._lib.llama_memory_seq_cp(self.memory, source, target, start, end)

    @property
    def can_shift(self) -> bool:
        """Whether llama.cpp can move cells of this architecture to other positions."""
        return bool(self._lib.llama_memory_can_shift(self.memory))

    def shift(self, sequence: int, distance: int) -> None:
        """Moves all cells of a sequence, for every sequence that holds them. The next decode rotates their keys."""
        self._lib.llama_memory_seq_add(self.memory, sequence, -1, -1, distance)
        self._is_shifting = True

    def cut(self, sequence: int, start: int) -> None:
        """Forgets the cells of a sequence from position `start` on."""
        if not self._lib.llama_memory_seq_rm(self.memory, sequence, start, -1):
            raise ModelError(f"{self.weights.path.name}: this architecture cannot forget a part of what it read")

    def remove(self, sequence: int, start: int, end: int) -> None:
        """Forgets the cells of a sequence in [start, end); those behind keep their positions."""
        # in a hybrid model llama.cpp removes them from attending layers only, and leaves recurrent states unchanged
        if self.weights.is_recurrent or not self._lib.llama_memory_seq_rm(self.memory, sequence, start, end):
            raise ModelError(f"{self.weights.path.name}: this architecture cannot forget a part of what it read")

    def last_position(self, sequence: int) -> int:
        """The highest position of a sequence, -1 if it is empty."""
        return int(self._lib.llama_memory_seq_pos_max(self.memory, sequence))

    def save(self, sequence: int) -> NDArray[np.uint8]:
        """The cells of a sequence as bytes, for `load` of a context with the same settings on the same weights."""
        if self._is_shifting:  # their positions are new, but their keys are not rotated yet
            raise ModelError("cells that were moved can be saved only after a token behind them was read")
        size = self._lib.llama_state_seq_get_size(self.pointer, sequence)
        data = np.empty(size, np.uint8)
        n = self._lib.llama_state_seq_get_data(self.pointer, _bytes_at(data), size, sequence)
        return data[:n]

    def load(self, sequence: int, data: NDArray[np.uint8]) -> bool:
        """Fills an empty sequence with saved cells; False if llama.cpp refuses them."""
        return bool(self._lib.llama_state_seq_set_data(self.pointer, _bytes_at(data), len(data), sequence) > 0)

    def save_state(self, sequence: int) -> NDArray[np.uint8]:
        """The recurrent state of a sequence, without the cells of layers that attend."""
        flags = self._lib.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY
        size = self._lib.llama_state_seq_get_size_ext(self.pointer, sequence, flags)
        data = np.empty(size, np.uint8)
        n = self._lib.llama_state_seq_get_data_ext(self.pointer, _bytes_at(data), size, sequence, flags)
        return data[:n]

    def load_state(self, sequence: int, data: NDArray[np.uint8]) -> None:
        """Replaces the recurrent state of a sequence by a saved one."""
        flags = self._lib.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY
        if not self._lib.llama_state_seq_set_data_ext(self.pointer, _bytes_at(data), len(data), sequence, flags):
            raise ModelError(f"{self.weights.path.name}: llama.cpp refuses a state that it gave: {complaints()}")

    def _set_adapters(self, adapters: list[tuple[object, float]]) -> None:
        if not adapters:
            return
        pointers = (self._lib.llama_adapter_lora_p_ctypes * len(adapters))(*(adapter for adapter, _ in adapters))
        scales = (ctypes.c_float * len(adapters))(*(scale for _, scale in adapters))
        if self._lib.llama_set_adapters_lora(self.pointer, pointers, len(adapters), scales) != 0:
            raise ModelError(f"lora: llama.cpp refused the adapters: {complaints() or 'no reason given'}")


class Batch:
    """A llama_batch whose arrays are numpy's, filled by slices; one sequence a row."""

    def __init__(self, lib: ModuleType, size: int, n_embd: int) -> None:
        self._token = np.zeros(size, np.int32)
        self._position = np.zeros(size, np.int32)
        self._n_sequences = np.ones(size, np.int32)
        self._sequence = np.zeros(size, np.int32)
        first = self._sequence.ctypes.data
        self._pointers = np.arange(first, first + 4 * size, 4, dtype=np.uint64)
        self._output = np.zeros(size, np.int8)
        self._vectors = np.zeros((0, n_embd), np.float32)
        cast = ctypes.cast
        self._null = ctypes.POINTER(ctypes.c_float)()
        self._token_pointer = cast(self._token.ctypes.data, lib.llama_token_p)
        self._batch = lib.llama_batch()
        self._batch.pos = cast(self._position.ctypes.data, type(self._batch.pos))
        self._batch.n_seq_id = cast(self._n_sequences.ctypes.data, type(self._batch.n_seq_id))
        self._batch.seq_id = cast(self._pointers.ctypes.data, type(self._batch.seq_id))
        self._batch.logits = cast(self._output.ctypes.data, type(self._batch.logits))

    def fill(self, rows: Sequence[Rows]) -> tuple[object, list[int]]:
        """The batch, and the index of each output in it."""
        n, outputs = 0, []
        is_text = rows[0].tokens is not None
        if not is_text:
            self._vectors = np.ascontiguousarray(np.concatenate([row.vectors for row in rows]), np.float32)
        for row in rows:
            end = n + len(row)
            if row.tokens is not None:
                self._token[n:end] = row.tokens
            self._position[n:end] = np.arange(row.position, row.position + end - n, dtype=np.int32)
            self._sequence[n:end] = row.sequence
            self._output[n:end] = 0
            for output in row.outputs:
                self._output[n + output] = 1
                outputs.append(n + output)
            n = end
        self._batch.n_tokens = n
        self._batch.token = self._token_pointer if is_text else None
        self._batch.embd = (
            self._null if is_text else ctypes.cast(self._vectors.ctypes.data, ctypes.POINTER(ctypes.c_float))
        )
        return self._batch, outputs


# ------------------------------------------------------------------------------------------------------ what auto means


def _set_rope(parameters: ctypes.Structure, resolved: ResolvedSettings, weights: Weights) -> None:
    base = resolved.rope_freq_base or weights.number("rope.freq_base", 10000)
    if resolved.rope_freq_base is not None:
        parameters.rope_freq_base = base
    if resolved.rope_scaling == "none":
        return
    parameters.rope_scaling_type = _ROPE[resolved.rope_scaling]
    if resolved.rope_scaling == "ntk":
        d = weights.n_rotated
        parameters.rope_freq_base = base * resolved.rope_factor ** (d / (d - 2))
        return
    parameters.rope_freq_scale = 1 / resolved.rope_factor
    if resolved.rope_scaling == "yarn":
        parameters.yarn_orig_ctx = resolved.n_ctx_trained


def _free_context(lib: ModuleType, pointer: object, weights: Weights) -> None:
    """Frees the context. The argument keeps the weights alive, which llama.cpp reads while it frees."""
    if not weights.is_closed:
        lib.llama_free(pointer)


def _bytes_at(data: NDArray[np.uint8]) -> object:
    return data.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
