"""A name for what an index holds, for the records of a run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from pipeline.retrieval.generations import MANIFEST, holding
from pipeline.retrieval.manifest import READABLE, Manifest
from pipeline.retrieval.store_errors import translate_errors


def fingerprint(folder: str | Path) -> str:
    """The same for indexes that hold the same passages and vectors: of the settings and every file's hash.

    Raises StoreError for a folder without an index.
    """
    folder = Path(folder)
    with translate_errors(folder), holding(folder) as path:
        manifest = Manifest(path / MANIFEST)
        try:
            settings = manifest.settings()
            files = [(source, state.sha256) for source, state in manifest.states().items()]
        finally:
            manifest.close()
    known = [None if settings is None else {**asdict(settings), "format": READABLE[0]}, files]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]
