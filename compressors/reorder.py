"""compress.reorder: put the best passages at both ends, and the worst in the middle, where models read worst.

Lost in the Middle: How Language Models Use Long Contexts (Liu et al. 2023, arXiv 2307.03172) measured the effect.
Putting the best passages at both ends has been common practice since. Fidelity: inspired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compressors.alone import WorksAlone
from pipeline.contracts import Runtime
from pipeline.types import Passage, Question


@dataclass(frozen=True)
class Reorder(WorksAlone):
    """Puts the best passage first, the second best last, the third second, and so on. Drops nothing.

    It needs `order: rank` in assemble.cited, which sorts by source by default. If the prompt overflows, passages are
    dropped from the end, so use a budget in a stage before this one.

    Example: `compress.reorder`
    """

    def _compress(self, question: Question, passages: Sequence[Passage], runtime: Runtime) -> list[Passage]:
        return [*passages[::2], *passages[1::2][::-1]]
