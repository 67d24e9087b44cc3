"""Deletes folders completely or not at all: the rest that a killed process leaves has a recognisable name."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path


def temporary_name(folder: Path) -> Path:
    """A name beside a folder for an unfinished copy or deletion, which `whole.is_left_over` recognises."""
    return folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")


def delete_folder(folder: Path) -> None:
    """Deletes a folder, in one step for readers. Raises OSError."""
    half = temporary_name(folder)
    folder.rename(half)
    shutil.rmtree(half)
