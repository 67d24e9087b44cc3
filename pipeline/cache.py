"""The two folders that longthread owns: a cache, which can be rebuilt, and data, which cannot."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PRIVATE = 0o700


def cache_folder() -> Path:
    """Returns the folder of `--docs` indexes, models and requantised files. It may not exist yet.

    The environment variable LONGTHREAD_CACHE overrides it.
    """
    if chosen := os.environ.get("LONGTHREAD_CACHE"):
        return Path(chosen)
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("longthread", appauthor=False))


def data_folder() -> Path:
    """Returns the folder of conversations, which cache cleaners leave alone. It may not exist yet.

    The environment variable LONGTHREAD_DATA overrides it.
    """
    if chosen := os.environ.get("LONGTHREAD_DATA"):
        return Path(chosen)
    from platformdirs import user_data_dir

    return Path(user_data_dir("longthread", appauthor=False))


def make_private(folder: Path) -> Path:
    """Creates the folder if needed and closes it to other users (0700). Raises OSError."""
    folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        folder.chmod(_PRIVATE)
    return folder


@contextmanager
def private_files() -> Iterator[None]:
    """Makes files and folders that are created inside the context private to their owner (0600, 0700)."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def size_of(folder: Path) -> int:
    """Returns the bytes of all files below a folder, including left-over ones."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_size
            except FileNotFoundError:  # another process deleted it meanwhile
                continue
    return total
