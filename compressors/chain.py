"""compress.chain: several compressors in sequence. Ours; no paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compressors.alone import WorksAlone
from compressors.wrapper import needs_embedder, why_dropped
from pipeline.contracts import Runtime
from pipeline.errors import SettingError
from pipeline.registry import Inner, check_types
from pipeline.types import Passage, Question


@dataclass(frozen=True)
class Chain(WorksAlone):
    """Runs compressors in sequence, each on the output of the one before.

    A chain is for use inside other wrappers. In a pipeline file, list several stages: the ledger accounts for each.

    Example: `compress.chain: {of: [compress.exit_mini, compress.reorder]}`

    :param of: the compressors, in order, at least one.
    """

    of: tuple[Inner, ...]

    def __post_init__(self) -> None:
        check_types(self, Chain)
        if not self.of:
            raise SettingError("of", "must name at least one compressor")

    @property
    def needs_embedder(self) -> bool:
        return any(map(needs_embedder, self.of))

    @property
    def why_dropped(self) -> str:
        return "; or ".join(map(why_dropped, self.of))

    def _compress(self, question: Question, passages: Sequence[Passage], runtime: Runtime) -> list[Passage]:
        left = list(passages)
        for compressor in self.of:
            left = compressor.compress(question, left, runtime)
        return left
