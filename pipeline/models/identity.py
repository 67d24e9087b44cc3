"""Keys of measurements and cells: by the contents of a model's file, whatever its name and place."""

from __future__ import annotations

import hashlib
import json
import math
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.contracts import Model
from pipeline.models.capabilities import OnFile

if TYPE_CHECKING:
    from pipeline.models.engine import Engine


def model_key(model: Model) -> str:
    """Returns a measurement's key: the hash of the model's file (with adapters, of all hashes), or else the name."""
    if not isinstance(model, OnFile):
        return model.name
    from pipeline.gguf.tune import source_sha256
    from pipeline.storage.hashes import file_sha256

    hashes = [source_sha256(model.path), *(file_sha256(adapter) for adapter in model.adapters)]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()


def cells_key(engine: Engine) -> str:
    """Hashes all that determines the cells of given tokens: weights, adapters, context, llama.cpp's build."""
    return hashlib.sha256(json.dumps(_identity(engine), sort_keys=True).encode()).hexdigest()


def _identity(engine: Engine) -> dict[str, object]:
    from pipeline.gguf.header import parts
    from pipeline.storage.hashes import file_sha256

    resolved, settings = engine.resolved, engine.settings
    return {
        "model": [file_sha256(part) for part in parts(engine.weights.path)],
        "lora": [(file_sha256(Path(lora.path)), lora.scale) for lora in settings.lora],
        "control": [
            (file_sha256(Path(v.path)), v.scale, v.first_layer, v.last_layer) for v in settings.control_vectors
        ],
        "kv": [resolved.kv_k, resolved.kv_v, resolved.kv_unified, resolved.swa_full],
        "flash": settings.flash_attention,
        "rope": [resolved.rope_scaling, resolved.rope_factor, resolved.rope_freq_base],
        "is_long": resolved.n_cells > engine.weights.number("rope.scaling.original_context_length", math.inf),
        "gpu": resolved.n_gpu_layers,
        "llama": version("llama-cpp-python"),
    }
