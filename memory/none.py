"""memory.none: every question stands alone. The turns are kept on disk, and none of them is shown to the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from memory.transcribed import Transcribed
from pipeline.contracts import Runtime


@dataclass(frozen=True)
class Nothing:
    """Recalls nothing: a baseline.

    Example: `memory.none`
    """

    def open(self, folder: Path, runtime: Runtime) -> Transcribed:
        return Transcribed(folder)
