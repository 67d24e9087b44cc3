"""The most memory that this process has held since a moment, where the system tells."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


def reset_peak() -> None:
    """Begins anew, on Linux; elsewhere, and where that is not allowed, the peak stays that of the process's life."""
    with contextlib.suppress(OSError):
        _RESET.write_text("5")


def peak_mb() -> float | None:
    """Megabytes (2**20 bytes) of physical memory, files mapped into it included; None where nobody knows."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())
    except OSError:
        found = None
    if found:
        return round(int(found[1]) / 1024, 1)
    try:
        import resource
        import sys
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, 1)
