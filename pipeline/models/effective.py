"""The effective context of a model file, as measured by `longthread needle limit` and stored under its hash.

A measurement belongs to a model file (and its adapters) and to the settings that affect long texts: the cache types and
the scaling of positions. It is in the cache folder: calibrations/<16 digits of the key>/effective-*.json. A file that
`longthread models tune` made shares the measurement of its source.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.contracts import Model
from pipeline.errors import ModelError
from pipeline.models.capabilities import OnFile
from pipeline.models.identity import model_key
from pipeline.storage.cache import cache_folder
from pipeline.storage.cards import Cards, write_card


@dataclass(frozen=True)
class Measured:
    """A task at one size: `hits` of `n` questions were answered, with the lower Wilson bound `low`.

    `tokens` are the model's, of the whole prompt.
    """

    pairs: int
    chars: int
    tokens: int
    hits: int
    n: int
    low: float


@dataclass(frozen=True)
class TaskContext:
    """The largest size at which a task holds, together with all smaller tried sizes; None if it holds at none.

    `tried` are all sizes, ascending. `is_settled` is false if the time ran out before the next size was decided: then
    the true size may be larger.
    """

    task: str
    holds: Measured | None
    tried: tuple[Measured, ...]
    is_settled: bool


@dataclass(frozen=True)
class EffectiveContext:
    """The measurement of a model with one set of settings. `threshold` applies to the lower Wilson bound."""

    model: str
    key: str
    settings: dict[str, str]
    threshold: float
    tasks: tuple[TaskContext, ...]
    n: int
    seed: int
    minutes: float
    date: str

    def task(self, name: str) -> TaskContext | None:
        return next((task for task in self.tasks if task.task == name), None)


_CARDS = Cards(EffectiveContext, "a measurement", "delete it and run 'longthread needle limit' again")


def settings_of(model: Model) -> dict[str, str]:
    """Returns the settings of a model that affect how it reads a long text."""
    resolved = getattr(model, "resolved", None)
    names = ("kv_k", "kv_v", "rope_scaling", "rope_factor")
    return {} if resolved is None else {name: f"{getattr(resolved, name)}" for name in names}


def store(measured: EffectiveContext) -> Path:
    """Writes a measurement; returns the file."""
    return write_card(_path(measured.key, measured.settings), measured)


def stored(model: Model) -> EffectiveContext | None:
    """Loads the measurement of this model with its settings, or None. Raises ModelError for a damaged file."""
    path = _path(model_key(model), settings_of(model))
    return _CARDS.read(path) if path.is_file() else None


def effective_window(model: Model, task: str) -> tuple[int, str]:
    """Returns the effective window in tokens, and its reason. Raises ModelError, with a remedy, if it is unknown."""
    context = stored(model)
    name = model.path if isinstance(model, OnFile) else model.name
    command = f"longthread needle limit {name} --task {task}{_flags(settings_of(model))}"
    if context is None:
        raise ModelError(
            f"budget.window is effective, but the effective context of {model.name} was not measured with these "
            f"settings{_format_settings(settings_of(model))}: run {command}"
        )
    measured = context.task(task)
    if measured is None:
        known = ", ".join(other.task for other in context.tasks)
        raise ModelError(
            f"budget.window is effective for the task {task}, and {model.name} was measured on {known}: run {command}, "
            "or set budget.task to one of these"
        )
    if measured.holds is None:
        least = measured.tried[0] if measured.tried else None
        seen = f" ({least.hits} of {least.n} right at {least.tokens} tokens)" if least else ""
        others = [other.task for other in context.tasks if other.holds is not None]
        instead = f"set budget.task to {' or '.join(others)}, " if others else ""
        raise ModelError(
            f"budget.window is effective, but {model.name} does not hold the task {task} at any size that was "
            f"tried{seen}: {instead}set budget.window to a number of tokens, or take a better model"
        )
    holds = measured.holds
    return holds.tokens, (
        f"window {holds.tokens} of {model.window}: effective context on the task {task}: {holds.hits} of {holds.n} "
        f"right at {holds.tokens} tokens ({holds.chars} characters), lower bound {holds.low:.0%}, threshold "
        f"{context.threshold:.0%}{_format_settings(context.settings)}; measured on {context.date[:10]} by longthread "
        "needle limit" + ("" if measured.is_settled else "; its time ran out, so it may be more")
    )


def _format_settings(settings: dict[str, str]) -> str:
    if not settings:
        return ""
    rope = settings["rope_scaling"]
    scaled = f", rope {rope}" + (f" x{settings['rope_factor']}" if rope != "none" else "")
    return f" (cache {settings['kv_k']}/{settings['kv_v']}{scaled})"


def _flags(settings: dict[str, str]) -> str:
    flags = ""
    if settings and (settings["kv_k"], settings["kv_v"]) != ("f16", "f16"):
        flags += f" --kv {settings['kv_k']}:{settings['kv_v']}"
    if settings and settings["rope_scaling"] != "none":
        flags += f" --rope {settings['rope_scaling']}:{settings['rope_factor']}"
    return flags


def _path(key: str, settings: dict[str, Any]) -> Path:
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    return cache_folder() / "calibrations" / key[:16] / f"effective-{digest}.json"
