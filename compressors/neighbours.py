"""compress.neighbours: keep the sentences beside each kept one, for facts that span two sentences. Ours; no paper.

Multi-hop questions lose recall at the bridge: the sentence that names the subject of the next one (the recall of EXIT,
arXiv 2412.12559, falls from 0.93 to 0.76 on data that it was not trained on).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from compressors.exit_mini import ExitMini
from compressors.selection import Units, score_of, units_in
from compressors.wrapper import Wrapper
from pipeline.checks import at_least
from pipeline.contracts import Runtime
from pipeline.registry import Inner, check_types
from pipeline.types import Passage, Question


@dataclass(frozen=True)
class Neighbours(Wrapper):
    """Compresses, and also keeps the sentences before and after each kept one, within their passage.

    Example: `compress.neighbours: {of: {compress.exit_mini: {top_k: 4}}, n: 1}`

    :param of: the compressor.
    :param n: number of sentences before and after, at least 1.
    """

    of: Inner = field(default_factory=ExitMini)
    n: int = 1

    def __post_init__(self) -> None:
        check_types(self, Neighbours)
        at_least("n", self.n, 1)

    @property
    def why_dropped(self) -> str:
        return f"{self.why_not_kept}, and not beside it"

    def _compress(self, question: Question, passages: Sequence[Passage], runtime: Runtime) -> list[Passage]:
        kept = self.of.compress(question, passages, runtime)
        units = Units.of(passages, runtime)
        chosen = units.widened(units_in(units, kept), self.n)
        made = [passage for passage in kept if passage.spans and passage not in passages]
        return [*units.merged(chosen, score_of(units, kept)), *made]
