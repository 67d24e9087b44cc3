"""A training run as it stands, in one file: written whole or not at all, and gone on from as if it had not stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pipeline.errors import RunError
from pipeline.models.files import new_file
from training.extensible.recipe import Recipe

if TYPE_CHECKING:
    from training.extensible.trainer import Trainer

VERSION = 3


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
    _put(path, state, trainer)
    trainer.optimizer.load_state_dict(state["optimizer"])
    trainer.random = np.random.default_rng()
    trainer.random.bit_generator.state = json.loads(state["random"])
    torch.set_rng_state(state["torch"])
    trainer.step, trainer.seconds = state["step"], state["seconds"]
    trainer.others = {(k, n): soft for k, n, soft in state["others"]}


def begin_from(path: Path, trainer: Trainer) -> int:
    """Takes over what another run had learned, and nothing else of it; gives that run's steps.

    Raises RunError for a file that is no checkpoint, or whose numbers have another shape.
    """
    if not path.is_file():
        raise RunError(f"there is no checkpoint at {path}")
    state = _read(path)
    _put(path, state, trainer)
    return int(state["step"])


def _put(path: Path, state: dict[str, Any], trainer: Trainer) -> None:
    kept = state["tokenizer"]
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
