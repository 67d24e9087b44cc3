"""Computes hidden states and ranks: a GGUF that embeds or ranks, in its own llama.cpp context.

Many sequences share one batch without attending to each other. An encoder reads a batch in one pass, so the context is
as large as its largest batch, and grows for a longer text. Pooling is left to the caller, who gets the states of all
tokens, and can compute a text's vector and its tokens' vectors at once.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal

import numpy as np

from pipeline.errors import ModelError
from pipeline.models.amx import use_extra_buffers
from pipeline.models.context import Batch, Rows
from pipeline.models.llama import complaints, library
from pipeline.models.resolving import threads
from pipeline.models.weights import Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH = 256
"""Tokens of a batch. Fastest for MiniLM (measured: 256, 512 and 1024 on 2 cores): attention cost is quadratic in the
batch, and larger matrices gain nothing."""
SEQUENCES = 64
LONGEST = 2048
"""Tokens of a text at most: an encoder reads a batch in one pass, and its memory grows with the square."""
_LEAST_LONGEST = 512
_OUTPUT_BYTES = 512 << 20
"""Limit of the memory for logits, which llama.cpp reserves for every token of a batch even if it computes none: 1 MB a
token for a vocabulary of 262 000 tokens."""
_EVERY_LAYER = 9999
_POOLING = {"states": 0, "ranks": 4}


class EncoderWeights(Vocabulary):
    """The weights of a file that embeds or ranks."""

    def __init__(self, path: Path) -> None:
        """Loads the file. Raises ModelError, with llama.cpp's reason, for a missing, foreign or damaged file."""
        lib = library()
        parameters = lib.llama_model_default_params()
        parameters.n_gpu_layers = _EVERY_LAYER if lib.llama_supports_gpu_offload() else 0
        parameters.use_extra_bufts = use_extra_buffers()
        self._open(path, parameters)
        self.n_ctx_trained: int = lib.llama_model_n_ctx_train(self.pointer)
        self.n_embd: int = lib.llama_model_n_embd(self.pointer)


def longest_text(n_ctx_trained: int, n_vocab: int) -> int:
    """Returns the token limit of one text for a model of these sizes."""
    return min(LONGEST, n_ctx_trained, max(_LEAST_LONGEST, _OUTPUT_BYTES // (4 * max(1, n_vocab))))


class Encoder:
    """A loaded file that embeds (`states`) or ranks (`ranks`). Concurrent calls wait for one another.

    :param for_: `states` for hidden states of every token, `ranks` for the outputs of the file's rank head.
    """

    def __init__(self, path: Path, for_: Literal["states", "ranks"] = "states") -> None:
        self.weights = EncoderWeights(path)
        self._lib = library()
        self._pooling = _POOLING[for_]
        self._lock = threading.Lock()
        self._context: _Context | None = None
        self._longest = min(BATCH, self.n_ctx_trained)

    @property
    def n_ctx_trained(self) -> int:
        """The model's trained context length in tokens."""
        return self.weights.n_ctx_trained

    @cached_property
    def n_out(self) -> int:
        """Width of a token's state."""
        return int(self._lib.llama_model_n_embd_out(self.weights.pointer))

    @cached_property
    def n_classes(self) -> int:
        """Outputs of the rank head."""
        return max(1, int(self._lib.llama_model_n_cls_out(self.weights.pointer)))

    def class_label(self, n: int) -> str:
        """Returns the file's name for an output of its rank head, or an empty string."""
        label = self._lib.llama_model_cls_label(self.weights.pointer, n)
        return label.decode("utf-8", "replace") if label else ""

    def states(self, ids: Sequence[Sequence[int]]) -> Iterator[tuple[list[int], list[NDArray[np.float32]]]]:
        """Yields the last hidden states of all tokens, batch by batch, with the batch's rows of `ids`.

        Each is float32 (n_tokens, n_out). The longest texts come first.
        """
        for rows in self._packed(ids):
            ends = np.cumsum([len(ids[row]) for row in rows])
            with self._lock:
                context = self._read(ids, rows)
                pointer = self._lib.llama_get_embeddings(context.pointer)
                states = np.ctypeslib.as_array(pointer, (int(ends[-1]), self.n_out)).copy()
            yield rows, np.split(states, ends[:-1])

    def ranks(self, ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Computes the rank head's outputs of each sequence, float32 (n, n_classes), in order."""
        result = np.empty((len(ids), self.n_classes), np.float32)
        for rows in self._packed(ids):
            with self._lock:
                context = self._read(ids, rows)
                for n, row in enumerate(rows):
                    pointer = self._lib.llama_get_embeddings_seq(context.pointer, n)
                    if not pointer:
                        raise ModelError(f"{self.weights.path.name}: llama.cpp gave no rank: has the file a rank head?")
                    result[row] = np.ctypeslib.as_array(pointer, (self.n_classes,))
        return result

    def close(self) -> None:
        with self._lock:
            if self._context is not None:
                self._context.close()
            self.weights.close()

    def _packed(self, ids: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Packs the rows into batches, the longest first: the context grows once, and short rows fill the gaps."""
        for n, sequence in enumerate(ids):
            self._check(n, sequence)
        batch: list[int] = []
        n_tokens = 0
        for row in sorted(range(len(ids)), key=lambda row: -len(ids[row])):
            if batch and (n_tokens + len(ids[row]) > BATCH or len(batch) == SEQUENCES):
                yield batch
                batch, n_tokens = [], 0
            batch.append(row)
            n_tokens += len(ids[row])
        if batch:
            yield batch

    def _check(self, n: int, sequence: Sequence[int]) -> None:
        """Raises ModelError for too long a sequence: llama.cpp would end the process."""
        name, n_vocab = self.weights.path.name, self.weights.n_vocab
        if not 1 <= len(sequence) <= self.n_ctx_trained:
            raise ModelError(f"text {n} has {len(sequence)} tokens: {name} reads from 1 to {self.n_ctx_trained}")
        if not 0 <= min(sequence) <= max(sequence) < n_vocab:
            raise ModelError(f"text {n} holds a token that is not in the vocabulary of {name}: it has {n_vocab}")

    def _read(self, ids: Sequence[Sequence[int]], rows: Sequence[int]) -> _Context:
        """Reads these rows; returns the context."""
        if self.weights.is_closed:
            raise ModelError(f"{self.weights.path.name}: the model is closed")
        longest = max(len(ids[row]) for row in rows)
        if self._context is None or longest > self._context.n_batch:
            if self._context is not None:
                self._context.close()
            while self._longest < longest:
                self._longest = min(2 * self._longest, self.n_ctx_trained)
            self._context = _Context(self.weights, max(self._longest, BATCH), self._pooling)
        self._context.read([np.array(ids[row], np.int32) for row in rows])
        return self._context


class _Context:
    """A llama.cpp context in which every token of a batch is an output."""

    def __init__(self, weights: EncoderWeights, n_batch: int, pooling: int) -> None:
        lib = self._lib = library()
        parameters = lib.llama_context_default_params()
        parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = n_batch
        parameters.n_seq_max = SEQUENCES
        parameters.n_threads = parameters.n_threads_batch = threads()
        parameters.kv_unified = True
        parameters.embeddings = True
        parameters.pooling_type = pooling
        parameters.flash_attn_type = -1  # auto: without it the scores of a whole batch are written out, twice as slow
        complaints()
        self.pointer = lib.llama_init_from_model(weights.pointer, parameters)
        if not self.pointer:
            raise ModelError(
                f"{weights.path.name}: llama.cpp cannot make a context of {n_batch} tokens: "
                f"{complaints() or 'no reason given'}"
            )
        self.n_batch = n_batch
        self._name = weights.path.name
        self._free = weakref.finalize(self, _free_context, lib, self.pointer, weights)
        self._memory = lib.llama_get_memory(self.pointer)
        self._batch = Batch(lib, n_batch, weights.n_embd)

    def read(self, sequences: Sequence[NDArray[np.int32]]) -> None:
        if self._memory:  # a decoder's cells; an encoder keeps none
            self._lib.llama_memory_clear(self._memory, True)
        rows = [Rows(n, 0, tokens, None, range(len(tokens))) for n, tokens in enumerate(sequences)]
        batch, _ = self._batch.fill(rows)
        code = self._lib.llama_decode(self.pointer, batch)
        if code != 0:
            raise ModelError(f"{self._name}: llama.cpp could not read (code {code}): {complaints() or 'no reason'}")

    def close(self) -> None:
        self._free()


def _free_context(lib: ModuleType, pointer: object, weights: EncoderWeights) -> None:
    """Frees the context. The argument keeps the weights alive, which llama.cpp reads while it frees."""
    if not weights.is_closed:
        lib.llama_free(pointer)
