"""compress.chain: several compressors in sequence. Ours; no paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from pipeline.config import needs
from pipeline.contracts import Compressor, Runtime
from pipeline.registry import Inner
from pipeline.types import Passage, Question


@dataclass(frozen=True)
class Chain:
    """Runs compressors in sequence, each on the output of the one before.

    A chain is for use inside other wrappers. In a pipeline file, list several stages: the ledger accounts for each.

    Example: `compress.chain: {of: [compress.exit_mini, compress.reorder]}`

    :param of: the compressors, in order, at least one.
    """

    of: tuple[Inner, ...]

    def __post_init__(self) -> None:
        if not self.of:
            raise ValueError("of must name at least one compressor")

    @cached_property
    def compressors(self) -> tuple[Compressor, ...]:
        return tuple(spec.build() for spec in self.of)

    @property
    def needs(self) -> frozenset[str]:
        return frozenset[str]().union(*map(needs, self.compressors))

    @property
    def why_dropped(self) -> str:
        return "; or ".join(getattr(compressor, "why_dropped", "not kept") for compressor in self.compressors)

    def compress(self, question: Question, passages: Sequence[Passage], runtime: Runtime) -> list[Passage]:
        left = list(passages)
        for compressor in self.compressors:
            left = compressor.compress(question, left, runtime)
        return left
