"""Folders as caches: the files that nobody used for longest are deleted first. A file's time is its last use."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path


def touch(path: Path) -> None:
    """Marks a file as just used, if it still exists."""
    with contextlib.suppress(OSError):
        os.utime(path)


def evict(files: Iterable[Path], max_bytes: int, keep: Path | None = None) -> None:
    """Deletes the least recently used of these files until they take at most `max_bytes`; never `keep`.

    Other processes may delete files meanwhile. Raises OSError.
    """
    used = []
    for path in files:
        with contextlib.suppress(FileNotFoundError):
            stat = path.stat()
            used.append((stat.st_mtime, stat.st_size, path))
    total = sum(size for _, size, _ in used)
    for _, size, path in sorted(used):
        if total <= max_bytes:
            return
        if path != keep:
            path.unlink(missing_ok=True)
            total -= size


def bytes_of(files: Iterable[Path]) -> int:
    """The bytes of these files, without those that are gone."""
    total = 0
    for path in files:
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total
