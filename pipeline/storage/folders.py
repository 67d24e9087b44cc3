"""Folders that are deleted whole or not at all: what a kill leaves of one has a name that says so."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path


def temporary_name(folder: Path) -> Path:
    """A name beside a folder's, for what is half copied or half deleted: `whole.is_left_over` knows it."""
    return folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")


def delete_folder(folder: Path) -> None:
    """Deletes a folder, in one step for whoever looks. Raises OSError."""
    half = temporary_name(folder)
    folder.rename(half)
    shutil.rmtree(half)
