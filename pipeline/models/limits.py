"""Refuses what a model's architecture cannot do, before llama.cpp would end the process or produce nonsense."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import ModelError

if TYPE_CHECKING:
    from pipeline.models.settings import EngineSettings
    from pipeline.models.weights import Weights

CACHE_TYPES = {
    "f32": (0, 1, 4),
    "f16": (1, 1, 2),
    "bf16": (30, 1, 2),
    "q8_0": (8, 32, 34),
    "q5_1": (7, 32, 24),
    "q5_0": (6, 32, 22),
    "q4_1": (3, 32, 20),
    "q4_0": (2, 32, 18),
    "iq4_nl": (20, 32, 18),
}
"""Types of the cache: ggml's number, values in a block, bytes of a block."""


def check_limits(settings: EngineSettings, weights: Weights) -> None:
    """Raises ModelError for a position scaling or cache type that the architecture does not support."""
    _check_positions(settings, weights)
    _check_cache_types(settings, weights)


def check_length(n_ctx: int, settings: EngineSettings, weights: Weights) -> None:
    """Raises ModelError for a context beyond the model's length, with the settings that would extend it."""
    trained = weights.n_ctx_trained
    longest = int(trained * settings.rope_factor)
    if n_ctx <= longest:
        return
    name = weights.path.name
    if weights.n_positions:
        raise ModelError(
            f"n_ctx: {n_ctx} is more than the {trained} positions that {name} has learned ({weights.architecture} "
            f"looks them up in a table, which cannot be stretched); lower n_ctx to {trained}"
        )
    if not weights.has_rope:
        raise ModelError(
            f"n_ctx: {n_ctx} is more than {name} was trained on ({trained}), and {weights.architecture} has no rotary "
            f"positions that could be scaled; lower n_ctx to {trained}"
        )
    scaled = f" x rope_factor {settings.rope_factor:g} = {longest}" if settings.rope_factor != 1 else ""
    raise ModelError(
        f"n_ctx: {n_ctx} is more than {name} was trained on ({trained}{scaled}); lower n_ctx to {longest}, or set "
        f"rope_scaling with a rope_factor of {n_ctx / trained:.3g} or more"
    )


def _check_positions(settings: EngineSettings, weights: Weights) -> None:
    changed = [name for name in ("rope_scaling", "rope_freq_base") if getattr(settings, name) not in ("none", None)]
    if not changed:
        return
    if weights.n_positions:
        reason = f"looks its {weights.n_ctx_trained} positions up in a table, which cannot be stretched"
    elif not weights.has_rope:
        reason = "has no rotary positions to scale"
    elif settings.rope_scaling == "ntk" and weights.n_rotated <= 2:
        reason = f"rotates {weights.n_rotated:g} dimensions of a head, and ntk needs more than 2"
    else:
        return
    raise ModelError(f"{changed[0]}: {weights.path.name} ({weights.architecture}) {reason}; leave {changed[0]} out")


def _check_cache_types(settings: EngineSettings, weights: Weights) -> None:
    """Checks that heads divide into whole blocks, as llama.cpp stores them; it checks only with flash attention."""
    for name, kv_type, sizes in (
        ("kv_k", settings.kv_k, weights.head_sizes("key_length")),
        ("kv_v", settings.kv_v, weights.head_sizes("value_length")),
    ):
        block = CACHE_TYPES[kv_type][1]
        if wrong := [size for size in sizes if size % block]:
            raise ModelError(
                f"{name}: {kv_type} stores blocks of {block} values, and a head of {weights.path.name} has "
                f"{wrong[0]}, which {block} does not divide; set {name} to f16"
            )
