"""What every `auto` of the engine settings becomes for a model on this machine."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

import psutil

from pipeline.errors import ModelError
from pipeline.models.limits import CACHE_TYPES, check_length, check_limits
from pipeline.models.llama import library
from pipeline.models.settings import EngineSettings, KvType, ResolvedSettings

if TYPE_CHECKING:
    from pipeline.models.weights import Weights


N_SPARE = 2
"""Additional sequences: one for scoring, one for a target's tokens."""

_AUTO_MOST = 32768


_AUTO_CHECKPOINTS = 1 << 31
"""Bytes of checkpoints, where an eighth of the free memory is more."""


def resolve(settings: EngineSettings, weights: Weights) -> ResolvedSettings:
    """Resolves every `auto` for this machine and these weights. Raises ModelError if the request does not fit."""
    check_limits(settings, weights)
    trained = weights.n_ctx_trained
    max_ctx = int(trained * settings.rope_factor)
    free = free_memory()
    per_cell = cell_bytes(weights, settings.kv_k, settings.kv_v)
    is_unified = settings.kv_unified != "off"
    n_seq_max, n_cached = _resolve_sequences(settings, weights, free)
    if not is_unified:
        n_cached = 0  # cells that are never shared need not stay
    n_caches = 1 if is_unified else n_seq_max + 1
    state_bytes = weights.layers.state_bytes
    states = (n_seq_max + n_cached + N_SPARE) * state_bytes
    free -= states
    n_ctx = _resolve_n_ctx(settings, max_ctx, per_cell * n_caches, free)
    check_length(n_ctx, settings, weights)
    n_cells = n_ctx if settings.n_cells == "auto" else settings.n_cells
    if n_cells < n_ctx:
        raise ModelError(f"n_cells: {n_cells} is less than one sequence may use (n_ctx = {n_ctx})")
    n_cells = 256 * math.ceil(n_cells / 256) * n_caches  # llama.cpp rounds the same way
    if n_cells * per_cell > free:
        fits = int(free / per_cell / n_caches) // 256 * 256
        raise ModelError(
            f"n_cells: the cache of {n_cells} cells takes {format_mb(n_cells * per_cell)} ({per_cell} bytes a cell), "
            f"and {format_mb(free)} are free; lower n_ctx or n_cells to {fits}, or set kv_k and kv_v to q8_0"
        )
    can_offload = bool(library().llama_supports_gpu_offload())
    layers = weights.n_layer + 1 if settings.n_gpu_layers == "auto" else settings.n_gpu_layers
    return ResolvedSettings(
        model=str(weights.path),
        n_ctx=n_ctx,
        n_ctx_trained=trained,
        n_cells=n_cells,
        n_batch=min(settings.n_batch, n_cells),
        n_ubatch=min(settings.n_ubatch, n_cells),
        n_seq_max=n_seq_max,
        n_cached=n_cached,
        threads=threads() if settings.threads == "auto" else settings.threads,
        n_gpu_layers=layers if can_offload else 0,
        kv_k=settings.kv_k,
        kv_v=settings.kv_v,
        flash_attention=settings.flash_attention != "off",
        rope_scaling=settings.rope_scaling,
        rope_factor=settings.rope_factor,
        rope_freq_base=settings.rope_freq_base,
        kv_unified=is_unified,
        swa_full=settings.swa_full,
        kv_bytes=n_cells * per_cell + states,
        state_bytes=state_bytes,
        checkpoint_bytes=_resolve_checkpoints(settings, free - n_cells * per_cell) if state_bytes else 0,
        weight_bytes=weights.size,
        draft=settings.draft,
    )


def can_fork(weights: Weights, resolved: ResolvedSettings) -> bool:
    """Whether another sequence can share a part of one."""
    is_whole = resolved.swa_full or weights.n_swa <= 0
    return resolved.kv_unified and is_whole and not weights.is_recurrent


def threads() -> int:
    """Returns the number of physical cores that this process may use, at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed))


def cell_bytes(weights: Weights, kv_k: KvType, kv_v: KvType) -> int:
    """Returns the bytes of one cell: keys and values of all attending layers."""
    return math.ceil(weights.layers.cell_bytes(_value_bytes(kv_k), _value_bytes(kv_v)))


def _value_bytes(kv_type: KvType) -> float:
    _, n_values, n_bytes = CACHE_TYPES[kv_type]
    return n_bytes / n_values


def free_memory() -> int:
    """Returns the bytes available without swapping, within the container's limit."""
    free = psutil.virtual_memory().available
    try:
        with open("/sys/fs/cgroup/memory.max") as max_file, open("/sys/fs/cgroup/memory.current") as current_file:
            limit = max_file.read().strip()
            return free if limit == "max" else max(0, min(free, int(limit) - int(current_file.read())))
    except (OSError, ValueError):  # no such limit here
        return free


def _resolve_sequences(settings: EngineSettings, weights: Weights, free: int) -> tuple[int, int]:
    """Resolves `n_seq_max` and `n_cached`; lowers both if recurrent states would take over a quarter of free memory.

    llama.cpp allocates a state for each sequence at once: 50 MB each for 24 delta layers of 32 heads with 128 x 128
    values.
    """
    n_seq_max, n_cached, state = settings.n_seq_max, settings.n_cached, weights.layers.state_bytes
    n_that_fit = n_seq_max + n_cached if state == 0 else int(free / 4 / state) - N_SPARE
    if n_that_fit < n_seq_max + n_cached:
        n_cached = min(n_cached, max(1, n_that_fit // 3))
        n_seq_max = min(n_seq_max, max(1, n_that_fit - n_cached))
    least = (n_seq_max + n_cached + N_SPARE) * state
    if least > free:
        raise ModelError(
            f"{weights.path.name}: the recurrent states of {n_seq_max + n_cached + N_SPARE} sequences take "
            f"{format_mb(least)}, and {format_mb(free)} are free; close other programs, or take a smaller model"
        )
    return n_seq_max, n_cached


def _resolve_checkpoints(settings: EngineSettings, free: float) -> int:
    if settings.checkpoint_mb != "auto":
        return settings.checkpoint_mb << 20
    return min(_AUTO_CHECKPOINTS, int(max(0, free) / 8))


def _resolve_n_ctx(settings: EngineSettings, max_ctx: int, per_cell: int, free: int) -> int:
    if settings.n_ctx != "auto":
        return settings.n_ctx
    n_ctx = min(max_ctx, _AUTO_MOST)
    if settings.n_cells != "auto":
        n_ctx = min(n_ctx, settings.n_cells)
    while n_ctx > 1024 and n_ctx * per_cell > free / 2:
        n_ctx //= 2
    return n_ctx


def format_mb(n: float) -> str:
    return f"{n / 1e6:.0f} MB"
