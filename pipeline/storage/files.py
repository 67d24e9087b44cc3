"""Atomic writing of large files and of JSON, with errors that users can read, and checks of the disk's space."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import ModelError
from pipeline.storage import whole


def check_room(folder: Path, n_bytes: int) -> None:
    """Raises ModelError if the folder's disk has fewer free bytes."""
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise ModelError(
            f"{folder}: {n_bytes / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB are free; make room, or set the "
            "environment variable LONGTHREAD_CACHE to a folder on another disk"
        )


@contextmanager
def new_file(target: Path, n_bytes: int) -> Iterator[Path]:
    """Like `whole.new_file`, for large files: creates the folder, and checks the space for `n_bytes` first.

    Raises ModelError for a lack of space and for disk errors.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        check_room(target.parent, n_bytes)
        with whole.new_file(target) as temporary:
            yield temporary
    except OSError as error:
        raise ModelError(f"{target} cannot be written: {error.strerror}") from None


def write_json(path: Path, value: object) -> None:
    """Writes a value as JSON, atomically, and creates its folder. Raises ModelError for disk errors."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        whole.write_whole(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise ModelError(f"{path} cannot be written: {error.strerror}") from None
