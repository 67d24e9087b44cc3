"""A training run as it stands, in one file: written whole or not at all, and gone on from as if it had not stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from compressors.soft.weights import MATRICES, Weights, load
from pipeline.errors import RunError
from pipeline.models.files import new_file
from training.extensible.recipe import Recipe
from training.extensible.tokenizer import PROJECTION_SCALE

if TYPE_CHECKING:
    from training.extensible.trainer import Trainer

VERSION = 4


def save(path: Path, trainer: Trainer) -> None:
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
    """Puts the trainer where the checkpoint was made. Raises RunError for a file that is none, or of other settings."""
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
    """Takes over what another run had learned, and nothing else of it; gives that run's steps.

    `path` is its checkpoint, or the card of weights that it left, as those that ship. Raises RunError for a file that
    is no checkpoint, or whose numbers have another shape, and ModelError for a card that is none.
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


def parameters_of(weights: Weights) -> dict[str, Tensor]:
    """What `export` wrote, as the parameters of an extensible tokenizer; what all k share is in the row of each."""
    arrays = weights.arrays
    found = {}
    for layer in range(weights.card.layers):
        for matrix in MATRICES:
            for part in ("down", "up"):
                found[f"lora.{part}.{layer}_{matrix}"] = arrays[f"lora.{layer}.{matrix}.{part}"]
    found |= {"projection": arrays["projection"] / np.float32(PROJECTION_SCALE), "state_gain": arrays["state_gain"]}
    for name in ("token_gain", "offset", "closing"):
        found[name] = np.concatenate([arrays[name], np.zeros_like(arrays[name][:1])])
    return {name: torch.from_numpy(array) for name, array in found.items()}


def _put(path: Path, kept: Mapping[str, Tensor], trainer: Trainer) -> None:
    with torch.no_grad():
        for name, parameter in trainer.tokenizer.named_parameters():
            if name not in kept or kept[name].shape != parameter.shape:
                raise RunError(f"{path} has no {name} of shape {tuple(parameter.shape)}: take the same layers and rank")
            parameter.copy_(kept[name])


def _read(path: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
        version = state["version"]
    except Exception as error:  # torch says it in as many ways as there are damages
        raise RunError(f"{path} cannot be read as a checkpoint: {error}; delete it to begin anew") from None
    if version != VERSION:
        raise RunError(f"{path} is of version {version}, and this is {VERSION}: delete it to begin anew")
    return state
