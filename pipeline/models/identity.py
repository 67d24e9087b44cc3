"""What a finding about a model belongs to: the model's file, whatever it is called and wherever it lies."""

from __future__ import annotations

import hashlib

from pipeline.contracts import Model
from pipeline.models.capabilities import OnFile


def model_key(model: Model) -> str:
    """What a measurement belongs to: the hash of the model's file; with adapters, of all files' hashes; else a name."""
    if not isinstance(model, OnFile):
        return model.name
    from pipeline.models.filehash import file_sha256
    from pipeline.models.tune import source_sha256

    hashes = [source_sha256(model.path), *(file_sha256(adapter) for adapter in model.adapters)]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()
