"""compress.reorder: the best passages at both ends, the worst in the middle, where models read worst.

Lost in the Middle: How Language Models Use Long Contexts (Liu et al. 2023, arXiv 2307.03172) measured the dip; putting
the best at both ends is common practice since. Fidelity: inspired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.contracts import Tools
from pipeline.types import Passage, Question


@dataclass(frozen=True)
class Reorder:
    """Puts the best passage first, the second best last, the third second, and so on; drops nothing.

    It needs `order: rank` in assemble.cited, which otherwise sorts by source. Where the prompt overflows, passages are
    shed from the end: keep within the window before this stage, by a budget.
    """

    def compress(self, question: Question, passages: Sequence[Passage], tools: Tools) -> list[Passage]:
        return [*passages[::2], *passages[1::2][::-1]]
