"""Decides whether a model's cells can be moved and composed: by known exclusions, and by a test of about a second.

Excluded by library and file: no unified cache, recurrent layers, a sliding window without the full
cache, learned positions, latent keys (MLA), what llama.cpp itself cannot shift (M-RoPE, llama.cpp #19928), and keys of
other types than f16 and f32 (llama-cpp-python 0.3.36 ends the process when it turns them on a processor; #5652). The
rest is tried on this machine, once for each file and its settings:

- cells cut out of a saved sequence must equal, byte for byte, those that llama.cpp saves of them alone;
- a text that is moved as a whole must have the same keys, and the same continuation, as when it is read at that place.
  Rotary positions are relative, so a difference comes from the move and not from attention;
- other cells must stay unchanged, byte for byte. llama.cpp rotates the keys of the whole cache, most of them by zero;
  with YaRN that still multiplies each by 1 + 0.1 ln(rope_factor).
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import ModelError
from pipeline.models.context import Rows
from pipeline.models.identity import cells_key
from pipeline.models.kv_state import VALUE_BYTES, State
from pipeline.models.placing import cut, load, take_out
from pipeline.storage.cache import cache_folder
from pipeline.storage.whole import write_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.models.engine import Engine
    from pipeline.models.pool import Pool

MAX_KL = 0.05
"""Limit of the KL divergence, in nats a token, between the continuations of a text read at a place and moved there.

Quantised weights round activations to 8 bits, which turns the last bit of a key into 0.01 (SmolLM2 Q4_1).
"""
MAX_KEY_ERROR = 0.25
"""Limit of a layer's relative RMS key error: 0.02 with SmolLM2's Q4_1; about 1 for keys that were not rotated."""
_TEXT = (
    "The ferry crosses the strait twice a day, at seven and at four, as long as the wind is in the west. The keeper of "
    "the light writes down each crossing, and the number of people, in a book with a red cover."
)
_N_END = 4
"""Tokens read behind the moved text."""
_VERSION = 2


@dataclass(frozen=True)
class ComposeVerdict:
    """Why a model's cells cannot be composed, empty if they can; with the measured errors, see above."""

    why: str
    kl: float = 0.0
    key_error: float = 0.0


NO_ROOM = ComposeVerdict("there is no room to try it")


def judge(engine: Engine) -> ComposeVerdict:
    """Returns the verdict: by exclusions of the file, from the cache, or by the test."""
    if why := _ruled_out(engine):
        return ComposeVerdict(why)
    memory = cache_folder() / "compose" / f"{cells_key(engine)[:32]}.json"
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        content = json.loads(memory.read_text("utf-8"))
        if content.pop("version") == _VERSION:
            return ComposeVerdict(**content)
    verdict = _try(engine)
    if verdict == NO_ROOM:  # answers in flight hold the cells: a later call may succeed
        return verdict
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, nothing else
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_whole(memory, json.dumps({"version": _VERSION, **asdict(verdict)}))
    return verdict


def _ruled_out(engine: Engine) -> str:
    weights, resolved = engine.weights, engine.resolved
    if weights.is_recurrent:
        return f"{weights.architecture} has recurrent layers, whose state has no parts"
    if not resolved.kv_unified:
        return "each sequence has a cache of its own (kv_unified: off)"
    if weights.n_swa > 0 and not resolved.swa_full:
        return "cells outside of the sliding window are not kept (swa_full: false)"
    if weights.n_positions:
        return f"{weights.architecture} has learned positions, which are part of what a cell holds"
    if resolved.kv_k not in ("f16", "f32"):
        return f"llama.cpp can move keys in f16 or f32 alone (kv_k: {resolved.kv_k})"
    if weights.number("attention.kv_lora_rank", 0) > 0:
        return f"{weights.architecture} keeps latent keys (MLA)"
    if not engine.context.can_shift:
        return f"llama.cpp cannot move cells of {weights.architecture} to other positions"
    return ""


def _try(engine: Engine) -> ComposeVerdict:
    pool = engine.pool
    tokens = engine.weights.tokenize(_TEXT)
    n = min(32, len(tokens) - _N_END, (engine.window - _N_END) // 2)
    if n < 8 or not pool.make_room(2 * (n + _N_END)):
        return NO_ROOM
    here, there = pool.take(), pool.take()
    try:
        return _compare(pool, here, there, tokens[:n], tokens[n : n + _N_END])
    except (ModelError, ValueError) as error:
        return ComposeVerdict(str(error))
    finally:
        pool.release(here)
        pool.release(there)


def _compare(pool: Pool, here: int, there: int, text: NDArray[np.int32], end: NDArray[np.int32]) -> ComposeVerdict:
    """Compares a text that was read at position 0 and moved with the same text read at the target position."""
    context, n = pool.context, len(text)
    distance = n - 3
    _decode(pool, here, text, 0)
    state = take_out(context, pool.spare, here, 0, n)
    low, high = n // 3, n - 3
    alone = take_out(context, pool.spare, here, low, high).to_bytes()
    if not np.array_equal(cut(state.to_bytes(), low, high), alone):
        return ComposeVerdict("llama.cpp saves cells in a way that is not known here")
    pool.cut(here, 0)

    _decode(pool, there, text, distance)
    expected = _decode(pool, there, end, distance + n)
    read = take_out(context, pool.spare, there, distance, distance + n)

    load(context, pool.spare, state.to_bytes())
    context.shift(pool.spare, distance)
    context.lend(pool.spare, here)
    context.cut(pool.spare, 0)
    pool.book.add(here, n)
    actual = _decode(pool, here, end, distance + n)
    moved = take_out(context, pool.spare, here, distance, distance + n)

    after = take_out(context, pool.spare, there, distance, distance + n)
    if not np.array_equal(after.to_bytes(), read.to_bytes()):
        return ComposeVerdict("moving some cells changes others: llama.cpp rounds or scales their keys anew")
    kl, error = _divergence(expected, actual), _key_error(read, moved)
    is_right = kl <= MAX_KL and error <= MAX_KEY_ERROR
    why = "" if is_right else f"a text that was moved reads differently: {kl:.2g} nats a token, keys off by {error:.2g}"
    return ComposeVerdict(why, kl, error)


def _decode(pool: Pool, sequence: int, tokens: NDArray[np.int32], position: int) -> NDArray[np.float64]:
    """Log P of every token after each of these, float64 (n_last_call, n_vocab): of those in the last call."""
    for n in range(0, len(tokens), pool.context.n_batch):
        part = tokens[n : n + pool.context.n_batch]
        outputs = pool.decode([Rows(sequence, position + n, part, None, range(len(part)))])
        logits = np.array([pool.context.logits(output) for output in outputs], np.float64)
    return np.asarray(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))


def _divergence(expected: NDArray[np.float64], actual: NDArray[np.float64]) -> float:
    """Computes the mean KL(expected || actual) of all rows, in nats."""
    return float(np.maximum(0, (np.exp(expected) * (expected - actual)).sum(1)).mean())


def _key_error(expected: State, actual: State) -> float:
    """Computes the worst layer's key error; 0 for keys in blocks, which only the continuation can compare."""
    errors = [0.0]
    for read, moved in zip(expected.caches, actual.caches, strict=True):
        for rows, moved_rows in zip(read.keys, moved.keys, strict=True):
            if rows.kind in VALUE_BYTES:
                values, others = rows.values(), moved_rows.values()
                errors.append(float(np.sqrt(((values - others) ** 2).mean() / max(1e-12, (values**2).mean()))))
    return max(errors)
