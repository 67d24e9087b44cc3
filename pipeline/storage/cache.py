"""The two folders of longthread: a cache for what can be made again, and a folder for conversations."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PRIVATE = 0o700
CACHE_LAYOUT = {
    "calibrations": "thresholds, heads and effective windows, by the hash of a model's file",
    "compose": "how closely a model answers from kept cells",
    "corpora": "the documents of data sets, as files",
    "embedders": "embedders in GGUF form",
    "extensible": "soft vectors and the weights that make them",
    "fingerprints": "hashes of embedders' folders",
    "hashes": "hashes of large files",
    "indexes": "indexes of --docs",
    "models": "downloaded models",
    "opened": "models that were opened once without a crash",
    "pieces": "cells of passages",
    "readings": "memories of documents that were read whole",
    "sessions": "conversations of older versions, which move to the data folder",
    "snapshots": "cells of prompts",
    "summaries": "summaries of clusters of passages",
    "token_vectors": "vectors of the tokens of passages",
    "templates": "what the checks of chat templates found",
    "tuned": "requantised models",
}
"""The folders of the cache, and what they hold."""


def cache_folder() -> Path:
    """The folder of CACHE_LAYOUT. It may not exist yet.

    The environment variable LONGTHREAD_CACHE overrides it.
    """
    if chosen := os.environ.get("LONGTHREAD_CACHE"):
        return Path(chosen)
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("longthread", appauthor=False))


def data_folder() -> Path:
    """The folder of conversations, outside the reach of programs that clean caches. It may not exist yet.

    The environment variable LONGTHREAD_DATA overrides it.
    """
    if chosen := os.environ.get("LONGTHREAD_DATA"):
        return Path(chosen)
    from platformdirs import user_data_dir

    return Path(user_data_dir("longthread", appauthor=False))


def make_private(folder: Path) -> Path:
    """The folder, created if missing, and closed to other users (0700). Raises OSError."""
    folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        folder.chmod(_PRIVATE)
    return folder


@contextmanager
def private_files() -> Iterator[None]:
    """Files and folders that are created in here are closed to other users (0600, 0700), whoever creates them."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def size_of(folder: Path) -> int:
    """The bytes of all files below a folder, including left-over ones."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_size
            except FileNotFoundError:  # deleted meanwhile
                continue
    return total
