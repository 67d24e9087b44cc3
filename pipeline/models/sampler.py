"""One sequence's choice of tokens, by llama.cpp's own sampler chain: nothing is sorted or masked in Python.

Order of the chain: repetition penalties, top-k, top-p, min-p, temperature, choice. A grammar is asked last, about the
chosen token alone; only when it refuses is it laid over the whole vocabulary and the choice made again. Both ways give
every allowed token the same probability, and the first costs thousandths of the second.
"""

from __future__ import annotations

import ctypes
import json
import weakref
from functools import cache
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import ModelError
from pipeline.models.llama import complaints, library

if TYPE_CHECKING:
    from pipeline.models.context import Context
    from pipeline.types import Sampling

_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


class Sampler:
    """Chooses, token by token, for one sequence; `close` frees it."""

    def __init__(self, context: Context, sampling: Sampling) -> None:
        """Raises ModelError for a grammar or a JSON schema that llama.cpp cannot read."""
        lib = self._lib = library()
        self._context = context
        grammar = _grammar_of(sampling)
        self._grammar = _grammar_sampler(lib, context.weights.vocab, grammar) if grammar is not None else None
        self._chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        for one in _chain(lib, sampling, context.weights.n_vocab):
            lib.llama_sampler_chain_add(self._chain, one)
        self._free = weakref.finalize(self, _free, lib, self._chain, self._grammar)

    @property
    def has_grammar(self) -> bool:
        return bool(self._grammar)

    def choose(self, output: int, is_free: bool = False) -> int:
        """The next token, from the logits of that output of the last decode; the sampler remembers it.

        `is_free` leaves the grammar out: the token is not one of the answer.
        """
        start = perf_counter()
        token = self._choose_allowed(output) if self._grammar and not is_free else self._choose_any(output)
        self._context.native_s += perf_counter() - start
        return token

    def likely(self, output: int) -> int:
        """The likeliest token, not to be remembered."""
        return int(np.argmax(self._context.logits(output)))

    def accept(self, token: int) -> int:
        """Remembers a token that was not chosen, for the penalties; the token."""
        self._lib.llama_sampler_accept(self._chain, token)
        return token

    def close(self) -> None:
        self._free()

    def _choose_any(self, output: int) -> int:
        return int(self._lib.llama_sampler_sample(self._chain, self._context.pointer, output))

    def _choose_allowed(self, output: int) -> int:
        logits = self._context.logits(output)
        every = np.empty(len(logits), _CANDIDATE)
        every["id"] = np.arange(len(logits), dtype=np.int32)
        every["logit"] = logits
        every["p"] = 0
        token = self._apply(self._chain, every.copy())
        alone = np.array([(token, 1.0, 0.0)], _CANDIDATE)
        if not self._is_allowed(alone):
            array = self._array(every)
            self._lib.llama_sampler_apply(self._grammar, ctypes.byref(array))
            if not np.isfinite(every["logit"]).any():
                raise ModelError("the grammar allows no further token: does every path of it end?")
            token = self._apply(self._chain, every)
        self._lib.llama_sampler_accept(self._grammar, token)
        self._lib.llama_sampler_accept(self._chain, token)
        return token

    def _apply(self, sampler: Any, candidates: np.ndarray[Any, Any]) -> int:
        array = self._array(candidates)
        self._lib.llama_sampler_apply(sampler, ctypes.byref(array))
        return int(array.data[array.selected].id)

    def _is_allowed(self, alone: np.ndarray[Any, Any]) -> bool:
        array = self._array(alone)
        self._lib.llama_sampler_apply(self._grammar, ctypes.byref(array))
        return bool(np.isfinite(alone["logit"][0]))

    def _array(self, candidates: np.ndarray[Any, Any]) -> Any:
        pointer = ctypes.cast(candidates.ctypes.data, self._lib.llama_token_data_p)
        return self._lib.llama_token_data_array(pointer, len(candidates), -1, False)


def _chain(lib: Any, sampling: Sampling, n_vocab: int) -> list[Any]:
    chain = []
    if sampling.repeat_penalty != 1:
        chain.append(
            lib.llama_sampler_init_penalties(n_vocab, sampling.repeat_last_n, sampling.repeat_penalty, 0.0, 0.0)
        )
    if sampling.temperature == 0:
        return [*chain, lib.llama_sampler_init_greedy()]
    if sampling.top_k > 0:
        chain.append(lib.llama_sampler_init_top_k(sampling.top_k))
    if sampling.top_p < 1:
        chain.append(lib.llama_sampler_init_top_p(sampling.top_p, 1))
    if sampling.min_p > 0:
        chain.append(lib.llama_sampler_init_min_p(sampling.min_p, 1))
    chain.append(lib.llama_sampler_init_temp(sampling.temperature))
    return [*chain, lib.llama_sampler_init_dist(sampling.seed & 0xFFFFFFFF)]


def _grammar_of(sampling: Sampling) -> str | None:
    if sampling.json_schema is None:
        return sampling.grammar
    return _schema_grammar(sampling.json_schema)


@cache
def _schema_grammar(schema: str) -> str:
    from llama_cpp.llama_grammar import json_schema_to_gbnf

    try:
        json.loads(schema)
        return str(json_schema_to_gbnf(schema))
    except Exception as error:  # the converter raises whatever it stumbles over
        raise ModelError(f"json_schema: llama.cpp cannot turn it into a grammar: {error}") from error


def _grammar_sampler(lib: Any, vocab: Any, grammar: str) -> Any:
    complaints()
    sampler = lib.llama_sampler_init_grammar(vocab, grammar.encode(), b"root")
    if not sampler:
        raise ModelError(f"grammar: llama.cpp cannot read it: {complaints() or 'is there a rule named root?'}")
    return sampler


def _free(lib: Any, chain: Any, grammar: Any) -> None:
    lib.llama_sampler_free(chain)
    if grammar:
        lib.llama_sampler_free(grammar)
