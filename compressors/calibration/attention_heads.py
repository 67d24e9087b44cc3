"""Chooses the heads of a reader for compress.attention, on passages whose cells are put together.

How heads are ranked, taken and weighed stands in compressors/calibration/probe_heads.py. What differs is the prompt:
that of the model's layout, with passages that have not seen one another, as compress.attention shows them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compressors.attention import LAYOUT, log_mass
from compressors.calibration import probe_heads
from compressors.calibration.labelled import Labelled
from compressors.calibration.store import AttentionCalibration, ProbeCalibration
from compressors.selection import Units
from pipeline.answers.cited import Cited
from pipeline.contracts import Embedder, Model, Progress
from pipeline.listener import silent
from pipeline.models.capabilities import why_not_compose

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def fit(
    questions: Sequence[Labelled],
    reader: Model,
    embedder: Embedder,
    window: int,
    data: Sequence[str],
    seed: int,
    progress: Progress,
) -> ProbeCalibration:
    """Looks at every question with all heads, and fits the calibration. Raises DataError for too few questions."""
    assembler = Cited()

    def mass_of(question: str, units: Units) -> NDArray[np.float64]:
        return log_mass(question, units, reader, assembler, None, window, silent)

    seen = probe_heads.look(questions, reader, embedder, window, progress, mass_of)
    why = why_not_compose(reader)
    notes = (f"passages were read with every question: {why}",) if why else ("passages were put together",)
    return probe_heads.fit(seen, reader, data, seed, notes, progress, AttentionCalibration, LAYOUT)
