"""Writes the result of a training run: the numbers and the card, as compress.extensible reads them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from compressors.soft.weights import MATRICES, MAX_BYTES, Card, SoftWeights, save
from pipeline.gguf.tune import source_sha256
from training.extensible.tokenizer import PROJECTION_SCALE, ExtensibleTokenizer
from training.extensible.trainer import Trainer

DATA = (
    "Project Gutenberg 11 and 1342 (public domain)",
    "GraphRAG-Bench transcripts (CDLA-Permissive-2.0)",
    "WikiText-2 valid, the first 60 % (CC BY-SA)",
    "HotpotQA train, 200 questions (CC BY-SA 4.0)",
    "2WikiMultihopQA train, 400 questions (Apache-2.0)",
    "MuSiQue train, 100 questions (CC BY 4.0)",
)
HELD_BACK = (
    "the last 8 % of each text and of the questions was held back; metrics are means over windows of these texts"
)


def export(
    path: Path, trainer: Trainer, model: Path, command: str, metrics: dict[str, float], notes: Sequence[str] = ()
) -> Card:
    """Writes the weights (.npz) and the card (.json) at `path`. Raises ValueError for weights over MAX_BYTES."""
    recipe = trainer.recipe
    card = Card(
        model=model.name,
        key=source_sha256(model),
        sha256="",
        layers=recipe.layers,
        rank=recipe.rank,
        chunk=recipe.chunk,
        ks=recipe.ks,
        data=DATA,
        command=command,
        recipe=recipe.as_json(),
        seed=recipe.seed,
        steps=trainer.step,
        minutes=round(trainer.seconds / 60, 1),
        date=datetime.now(UTC).date().isoformat(),
        metrics=metrics,
        notes=(HELD_BACK, *notes),
    )
    weights = weights_of(trainer.tokenizer, card)
    card = save(weights, path)
    size = path.with_suffix(".npz").stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"the weights take {size} bytes, and at most {MAX_BYTES} are shipped: lower layers or rank")
    return card


def weights_of(tokenizer: ExtensibleTokenizer, card: Card) -> SoftWeights:
    """The trained parameters as arrays, with the projection in its real scale."""
    arrays = {}
    for layer in range(card.layers):
        for matrix in MATRICES:
            for part, matrices in (("down", tokenizer.lora.down), ("up", tokenizer.lora.up)):
                arrays[f"lora.{layer}.{matrix}.{part}"] = matrices[f"{layer}_{matrix}"].detach().numpy()
    arrays["projection"] = tokenizer.projection.detach().numpy() * np.float32(PROJECTION_SCALE)
    arrays["state_gain"] = tokenizer.state_gain.detach().numpy()
    for name in ("token_gain", "offset", "closing"):
        arrays[name] = np.stack([tokenizer.of_k(name, k).detach().numpy() for k in card.ks])
    arrays |= {"information": tokenizer.words.information, "ends": tokenizer.words.ends.astype(np.float32)}
    return SoftWeights(card, arrays)
