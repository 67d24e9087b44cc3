"""Checkpoints of a training run: one file, written atomically. A resumed run continues exactly as if uninterrupted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from compressors.soft.weights import MATRICES, SoftWeights, load
from pipeline.errors import RunError
from pipeline.storage.files import new_file
from training.extensible.recipe import Recipe
from training.extensible.tokenizer import PROJECTION_SCALE

if TYPE_CHECKING:
    from training.extensible.trainer import Trainer

VERSION = 4


def save(path: Path, trainer: Trainer) -> None:
    """Writes the state of a run."""
    state = {
        "version": VERSION,
        "recipe": json.dumps(trainer.recipe.as_json()),
        "random": json.dumps(trainer.random.bit_generator.state),
        "torch": torch.get_rng_state(),
        "step": trainer.step,
        "seconds": trainer.seconds,
        "tokenizer": dict(trainer.tokenizer.named_parameters()),
        "optimizer": trainer.optimizer.state_dict(),
        "others": [[k, n, soft] for (k, n), soft in trainer.others.items()],
    }
    with new_file(path, 3 * trainer.n_parameters * 4) as temporary:
        torch.save(state, temporary)


def restore(path: Path, trainer: Trainer) -> None:
    """Restores a trainer's state. Raises RunError for a damaged file or other settings."""
    state = _read(path)
    recipe = Recipe.of_json(json.loads(state["recipe"]))
    if recipe != trainer.recipe:
        old, new = recipe.as_json(), trainer.recipe.as_json()
        changed = ", ".join(f"{name} was {old[name]}, is {new[name]}" for name in old if old[name] != new[name])
        raise RunError(f"{path} was made with other settings ({changed}): name another --out, or the same settings")
    _put(path, state["tokenizer"], trainer)
    trainer.optimizer.load_state_dict(state["optimizer"])
    trainer.random = np.random.default_rng()
    trainer.random.bit_generator.state = json.loads(state["random"])
    torch.set_rng_state(state["torch"])
    trainer.step, trainer.seconds = state["step"], state["seconds"]
    trainer.others = {(k, n): soft for k, n, soft in state["others"]}


def begin_from(path: Path, trainer: Trainer) -> int:
    """Takes over the parameters of another run, and nothing else. Gives that run's number of steps.

    `path` is its checkpoint or the card of its weights, such as shipped ones. Raises RunError for a bad checkpoint or
    other shapes, and ModelError for a bad card.
    """
    if not path.is_file():
        raise RunError(f"there is no checkpoint at {path}")
    if path.suffix == ".json":
        weights = load(path)
        _put(path, parameters_of(weights), trainer)
        return weights.card.steps
    state = _read(path)
    _put(path, state["tokenizer"], trainer)
    return int(state["step"])


def parameters_of(weights: SoftWeights) -> dict[str, Tensor]:
    """The parameters of a tokenizer from exported weights. The shared rows are zero: each k's own row includes them."""
    arrays = weights.arrays
    parameters = {}
    for layer in range(weights.card.layers):
        for matrix in MATRICES:
            for part in ("down", "up"):
                parameters[f"lora.{part}.{layer}_{matrix}"] = arrays[f"lora.{layer}.{matrix}.{part}"]
    parameters |= {
        "projection": arrays["projection"] / np.float32(PROJECTION_SCALE),
        "state_gain": arrays["state_gain"],
    }
    for name in ("token_gain", "offset", "closing"):
        parameters[name] = np.concatenate([arrays[name], np.zeros_like(arrays[name][:1])])
    return {name: torch.from_numpy(array) for name, array in parameters.items()}


def _put(path: Path, saved: Mapping[str, Tensor], trainer: Trainer) -> None:
    with torch.no_grad():
        for name, parameter in trainer.tokenizer.named_parameters():
            if name not in saved or saved[name].shape != parameter.shape:
                raise RunError(f"{path} has no {name} of shape {tuple(parameter.shape)}: take the same layers and rank")
            parameter.copy_(saved[name])


def _read(path: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
        version = state["version"]
    except Exception as error:  # torch raises many types for a damaged file
        raise RunError(f"{path} cannot be read as a checkpoint: {error}; delete it to begin anew") from None
    if version != VERSION:
        raise RunError(f"{path} is of version {version}, and this is {VERSION}: delete it to begin anew")
    return state
