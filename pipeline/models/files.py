"""Files that appear whole or not at all, the room that they need, and their hashes."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import ModelError


def sha256_of(path: Path) -> str:
    """The hex digest of a file's bytes: about a second for 1 GB."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_room(folder: Path, n_bytes: int) -> None:
    """Raises ModelError if the disk of an existing folder has not so many bytes left."""
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise ModelError(
            f"{folder}: {n_bytes / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB are free; make room, or set the "
            "environment variable LONGTHREAD_CACHE to a folder on another disk"
        )


@contextmanager
def new_file(target: Path, n_bytes: int) -> Iterator[Path]:
    """A temporary file beside the target that takes its place at the end, unless something goes wrong before.

    Its name begins with a dot. Raises ModelError where there is no room for `n_bytes`, or where the disk refuses.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        check_room(target.parent, n_bytes)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise ModelError(f"{target} cannot be written: {error.strerror}") from None
    try:
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        raise ModelError(f"{target} cannot be written: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """Writes a value as JSON, whole or not at all."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    with new_file(path, len(text)) as temporary:
        temporary.write_text(text, encoding="utf-8")
