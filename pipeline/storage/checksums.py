"""Checksums of files, cheap enough to be compared at every start."""

from __future__ import annotations

import zlib
from pathlib import Path


def crc32_of(path: Path) -> int:
    """CRC-32 of a file's bytes: a second for some gigabytes. Raises OSError."""
    crc = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            crc = zlib.crc32(block, crc)
    return crc
