"""Checksums of files, cheap enough to compare at every start."""

from __future__ import annotations

import zlib
from functools import lru_cache
from pathlib import Path

from pipeline.storage.whole import write_whole


def crc32_of(path: Path) -> int:
    """CRC-32 of a file's bytes: a second for some gigabytes. Raises OSError."""
    crc = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            crc = zlib.crc32(block, crc)
    return crc


def checksum_file(path: Path) -> Path:
    """The file beside `path` that holds its CRC-32."""
    return path.with_name(f"{path.name}.crc32")


def save_checksum(path: Path, private: bool = False) -> None:
    """Writes the CRC-32 of a file that is complete into the file beside it. Raises OSError."""
    write_whole(checksum_file(path), f"{crc32_of(path):08x}\n", private)


def agrees(path: Path) -> bool:
    """Whether a file is unchanged since its checksum was saved; True without a checksum. Raises OSError.

    A file with the same size and times is read once in a process.
    """
    try:
        expected = checksum_file(path).read_bytes()
    except FileNotFoundError:
        return True
    stat = path.stat()
    crc = _crc32_of(path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
    return expected == b"%08x\n" % crc


@lru_cache(64)
def _crc32_of(path: Path, *stamps: int) -> int:
    return crc32_of(path)
