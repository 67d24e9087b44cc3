"""memory.full: the whole conversation, word for word, as far back as it fits. The costliest baseline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from memory.window import Last
from pipeline.contracts import Runtime


@dataclass(frozen=True)
class Full:
    """Repeats all turns that fit beside the passages; whole turns only. A note lists the turns that do not fit.

    Example: `memory.full`
    """

    def open(self, folder: Path, runtime: Runtime) -> Last:
        return Last(folder, max_turns=None, tokens=None)
