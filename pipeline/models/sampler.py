"""Samples the tokens of one sequence by llama.cpp's own sampler chain, without sorting or masking in Python.

The chain has llama.cpp's order: biases, penalties, DRY, top-n-sigma, top-k, typical, top-p, min-p, XTC, temperature,
choice; with mirostat: biases, penalties, DRY, temperature, mirostat. A grammar first checks only the chosen token. If
it rejects that, it masks the whole vocabulary, and the chain samples again. Both ways give every allowed token the same
probability, and the first costs thousandths of the second.
"""

from __future__ import annotations

import ctypes
import json
import weakref
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from time import perf_counter
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import ModelError
from pipeline.models.llama import complaints, library

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.models.context import Context
    from pipeline.models.weights import Weights
    from pipeline.types import Sampling

_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


class Sampler:
    """Samples tokens for one sequence; `close` frees it."""

    def __init__(self, context: Context, sampling: Sampling) -> None:
        """Raises ModelError for a grammar or a JSON schema that llama.cpp cannot read, and for a bias of no token."""
        lib = self._lib = library()
        self._context = context
        sampling = resolved(sampling, context.weights.metadata)
        grammar = _grammar_of(sampling)
        self._grammar = _grammar_sampler(lib, context.weights.vocab, grammar) if grammar is not None else None
        self._chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        for link in _chain(lib, sampling, context.weights):
            lib.llama_sampler_chain_add(self._chain, link)
        self._free = weakref.finalize(self, _free, lib, self._chain, self._grammar)

    @property
    def has_grammar(self) -> bool:
        return bool(self._grammar)

    def choose(self, output: int, is_free: bool = False) -> int:
        """Samples the next token from an output of the last decode, and remembers it.

        `is_free` skips the grammar, for tokens outside the answer.
        """
        start = perf_counter()
        token = self._choose_allowed(output) if self._grammar and not is_free else self._choose_any(output)
        self._context.native_s += perf_counter() - start
        return token

    def likely(self, output: int) -> int:
        """Returns the likeliest token, without remembering it."""
        return int(np.argmax(self._context.logits(output)))

    def accept(self, token: int) -> int:
        """Remembers a forced token, for the penalties; returns it."""
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

    def _apply(self, sampler: object, candidates: NDArray[np.void]) -> int:
        array = self._array(candidates)
        self._lib.llama_sampler_apply(sampler, ctypes.byref(array))
        return int(array.data[array.selected].id)

    def _is_allowed(self, alone: NDArray[np.void]) -> bool:
        array = self._array(alone)
        self._lib.llama_sampler_apply(self._grammar, ctypes.byref(array))
        return bool(np.isfinite(alone["logit"][0]))

    def _array(self, candidates: NDArray[np.void]) -> ctypes.Structure:
        pointer = ctypes.cast(candidates.ctypes.data, self._lib.llama_token_data_p)
        array: ctypes.Structure = self._lib.llama_token_data_array(pointer, len(candidates), -1, False)
        return array


_OF_FILE: dict[str, tuple[str, type, float]] = {
    "temperature": ("temp", float, 0.8),
    "top_k": ("top_k", int, 40),
    "top_p": ("top_p", float, 0.95),
    "min_p": ("min_p", float, 0.05),
    "xtc_probability": ("xtc_probability", float, 0.0),
    "xtc_threshold": ("xtc_threshold", float, 0.1),
    "mirostat": ("mirostat", int, 0),
    "mirostat_tau": ("mirostat_tau", float, 5.0),
    "mirostat_eta": ("mirostat_eta", float, 0.1),
    "repeat_penalty": ("penalty_repeat", float, 1.0),
    "repeat_last_n": ("penalty_last_n", int, 64),
}
"""Settings that a file may recommend: their key below `general.sampling`, their type, and llama.cpp's usual value."""


def resolved(sampling: Sampling, metadata: Mapping[str, str]) -> Sampling:
    """Replaces None in the sampling by the file's own values, or by the usual ones.

    Raises ModelError for an invalid value in the file, which then has to be set by hand. With a grammar the file's
    mirostat is ignored, since the two exclude each other.
    """
    values: dict[str, Any] = {}
    for name, (key, kind, usual) in _OF_FILE.items():
        if getattr(sampling, name) is not None:
            continue
        value = metadata.get(f"general.sampling.{key}", str(usual))
        try:
            values[name] = kind(float(value))
        except ValueError:
            raise ModelError(
                f"general.sampling.{key} of the model's file is no number: {value!r}; set {name}"
            ) from None
    if sampling.grammar is not None or sampling.json_schema is not None:
        values["mirostat"] = 0
    try:
        return replace(sampling, **values)
    except ValueError as error:
        raise ModelError(f"general.sampling of the model's file: {error}; set it in the pipeline file") from None


_BREAKERS = (b"\n", b":", b'"', b"*")
"""Texts that end DRY's sequences: llama.cpp's own."""
_MIROSTAT_M = 100
"""Tokens from which mirostat 1 estimates how steep the distribution is: the paper's value."""


def _chain(lib: ModuleType, sampling: Sampling, weights: Weights) -> list[object]:
    """Builds the samplers in order. `sampling` must be resolved: without None."""
    temperature, seed = sampling.temperature or 0.0, sampling.seed & 0xFFFFFFFF
    chain = _repetition(lib, sampling, weights)
    if temperature == 0:
        return [*chain, lib.llama_sampler_init_greedy()]
    if sampling.mirostat:
        tau, eta = sampling.mirostat_tau, sampling.mirostat_eta
        chain.append(lib.llama_sampler_init_temp(temperature))
        if sampling.mirostat == 1:
            return [*chain, lib.llama_sampler_init_mirostat(weights.n_vocab, seed, tau, eta, _MIROSTAT_M)]
        return [*chain, lib.llama_sampler_init_mirostat_v2(seed, tau, eta)]
    if sampling.top_n_sigma > 0:
        chain.append(lib.llama_sampler_init_top_n_sigma(sampling.top_n_sigma))
    if sampling.top_k:
        chain.append(lib.llama_sampler_init_top_k(sampling.top_k))
    if sampling.typical_p < 1:
        chain.append(lib.llama_sampler_init_typical(sampling.typical_p, 1))
    if sampling.top_p is not None and sampling.top_p < 1:
        chain.append(lib.llama_sampler_init_top_p(sampling.top_p, 1))
    if sampling.min_p:
        chain.append(lib.llama_sampler_init_min_p(sampling.min_p, 1))
    if sampling.xtc_probability:
        chain.append(lib.llama_sampler_init_xtc(sampling.xtc_probability, sampling.xtc_threshold, 1, seed))
    chain.append(lib.llama_sampler_init_temp(temperature))
    return [*chain, lib.llama_sampler_init_dist(seed)]


def _repetition(lib: ModuleType, sampling: Sampling, weights: Weights) -> list[object]:
    """Builds biases and repetition penalties. They change the likeliest token, so they apply at temperature 0 too."""
    chain: list[object] = []
    n_vocab = weights.n_vocab
    if sampling.logit_bias:
        biases = [lib.llama_logit_bias(_token(bias.token, weights), bias.bias) for bias in sampling.logit_bias]
        array = (lib.llama_logit_bias * len(biases))(*biases)
        chain.append(lib.llama_sampler_init_logit_bias(n_vocab, len(biases), array))
    penalties = (sampling.repeat_penalty, sampling.frequency_penalty, sampling.presence_penalty)
    if penalties != (1, 0, 0):
        last_n = weights.n_ctx_trained if sampling.repeat_last_n == -1 else sampling.repeat_last_n
        chain.append(lib.llama_sampler_init_penalties(n_vocab, last_n, *penalties))
    if sampling.dry_multiplier > 0:
        breakers = (ctypes.c_char_p * len(_BREAKERS))(*_BREAKERS)
        last_n = weights.n_ctx_trained if sampling.dry_last_n == -1 else sampling.dry_last_n
        multiplier, base, length = sampling.dry_multiplier, sampling.dry_base, sampling.dry_allowed_length
        chain.append(
            lib.llama_sampler_init_dry(weights.vocab, multiplier, base, length, last_n, breakers, len(breakers))
        )
    return chain


def _token(token: int | str, weights: Weights) -> int:
    """Resolves a token given by number or text. Raises ModelError for a text that is not one token."""
    if isinstance(token, int):
        if token >= weights.n_vocab:
            raise ModelError(f"logit_bias: there is no token {token}, the vocabulary ends at {weights.n_vocab - 1}")
        return token
    tokens: list[int] = weights.tokenize(token, special=True).tolist()
    if len(tokens) != 1:
        pieces = ", ".join(repr(weights.text_of(number)) for number in tokens)
        raise ModelError(
            f"logit_bias: {token!r} is not one token of {weights.path.name} but {len(tokens)} ({pieces}): name one of "
            "them, or a number"
        )
    return tokens[0]


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
    except Exception as error:  # the converter raises exceptions of any type
        raise ModelError(f"json_schema: llama.cpp cannot turn it into a grammar: {error}") from error


def _grammar_sampler(lib: ModuleType, vocab: object, grammar: str) -> object:
    complaints()
    sampler: object = lib.llama_sampler_init_grammar(vocab, grammar.encode(), b"root")
    if not sampler:
        raise ModelError(f"grammar: llama.cpp cannot read it: {complaints() or 'is there a rule named root?'}")
    return sampler


def _free(lib: ModuleType, chain: object, grammar: object) -> None:
    lib.llama_sampler_free(chain)
    if grammar:
        lib.llama_sampler_free(grammar)
