"""The index behind `--docs`: made in the cache for these paths and settings, and brought up to date before each use."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.build import chunker, open_embedder
from pipeline.cache import cache_folder
from pipeline.config import IndexSettings
from pipeline.contracts import Progress

if TYPE_CHECKING:
    from pipeline.retrieval.index import IndexReport


def docs_folder(paths: Sequence[str], settings: IndexSettings) -> Path:
    """The cache folder of the index of these paths, cut and embedded in this way."""
    key = json.dumps([sorted(str(Path(path).resolve()) for path in paths), asdict(settings)])
    return cache_folder() / "indexes" / hashlib.sha256(key.encode()).hexdigest()[:16]


def update_index(
    folder: Path, paths: Sequence[str], settings: IndexSettings, progress: Progress, rebuild: bool = False
) -> IndexReport:
    """Brings the index in a folder up to date with the files under the paths."""
    from pipeline.documents.discover import discover
    from pipeline.retrieval.index import open_index

    discovery = discover(paths)
    with open_index(folder, open_embedder(settings), chunker(settings), mode="write", rebuild=rebuild) as index:
        return index.update(discovery, progress)
