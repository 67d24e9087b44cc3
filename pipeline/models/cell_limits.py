"""Limits of cached cells on this machine, read from the environment at each use.

LONGTHREAD_CELLS_MEMORY_MB   cells of passages in a process's memory
LONGTHREAD_CELLS_DISK_MB     cells of passages on disk, and as much again for sessions' snapshots; 0: no cache
LONGTHREAD_CELLS_BITS        16, or 8 to store f16 cells of passages on disk with 8 bits a value (half the size)
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from pipeline.errors import ConfigError

MEMORY, DISK, BITS = "LONGTHREAD_CELLS_MEMORY_MB", "LONGTHREAD_CELLS_DISK_MB", "LONGTHREAD_CELLS_BITS"
_DEFAULTS = {MEMORY: 1000.0, DISK: 8000.0}


@dataclass(frozen=True)
class CellLimits:
    """The limits. `is_packed`: f16 cells are written with 8 bits a value."""

    max_memory_bytes: int
    max_disk_bytes: int
    is_packed: bool = False


def cell_limits() -> CellLimits:
    """Reads the limits, or their defaults. Raises ConfigError for an invalid number."""
    bits = os.environ.get(BITS, "").strip() or "16"
    if bits not in ("8", "16"):
        raise ConfigError(f"{BITS} must be 8 or 16, was: {bits}")
    return CellLimits(_bytes(MEMORY), _bytes(DISK), bits == "8")


def _bytes(name: str) -> int:
    text = os.environ.get(name, "").strip()
    try:
        megabytes = float(text) if text else _DEFAULTS[name]
    except ValueError:
        megabytes = -1.0
    if not 0 <= megabytes < 1e9:
        raise ConfigError(f"{name} must be a number of megabytes from 0 on, was: {text}")
    return int(megabytes * 1_000_000)
