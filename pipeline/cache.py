"""The two folders of longthread's own: one for what can be made again, one for what cannot."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PRIVATE = 0o700


def cache_folder() -> Path:
    """Indexes of `--docs`, models, requantised files. Not necessarily there yet.

    The environment variable LONGTHREAD_CACHE names another folder.
    """
    if chosen := os.environ.get("LONGTHREAD_CACHE"):
        return Path(chosen)
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("longthread", appauthor=False))


def data_folder() -> Path:
    """Conversations: no cleaner of caches deletes them. Not necessarily there yet.

    The environment variable LONGTHREAD_DATA names another folder.
    """
    if chosen := os.environ.get("LONGTHREAD_DATA"):
        return Path(chosen)
    from platformdirs import user_data_dir

    return Path(user_data_dir("longthread", appauthor=False))


def make_private(folder: Path) -> Path:
    """The folder, made where it is not there, and closed to other users (0700). Raises OSError."""
    folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        folder.chmod(_PRIVATE)
    return folder


@contextmanager
def private_files() -> Iterator[None]:
    """Files and folders that are made inside belong to their owner alone (0600, 0700), whoever makes them."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def size_of(folder: Path) -> int:
    """The bytes of all files below a folder, left-over ones included."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_size
            except FileNotFoundError:  # it went while we looked
                continue
    return total
