"""Where longthread keeps what can be made again: indexes of `--docs`, models, requantised files."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """The folder, not necessarily there yet; the environment variable LONGTHREAD_CACHE names another."""
    if chosen := os.environ.get("LONGTHREAD_CACHE"):
        return Path(chosen)
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("longthread", appauthor=False))
