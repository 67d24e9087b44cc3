"""compress.fallback: undo a compression that leaves too little. Ours; no paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from compressors.exit import Exit
from compressors.wrapper import Wrapper
from pipeline.checks import at_least
from pipeline.contracts import Runtime
from pipeline.registry import Inner, check_types, stage_name
from pipeline.types import Passage, Question


@dataclass(frozen=True)
class Fallback(Wrapper):
    """Compresses, but returns the original passages, with a note, if too little is left.

    Example: `compress.fallback: {of: {compress.exit: {threshold: 0.5}}, min_tokens: 20}`

    :param of: the compressor.
    :param min_tokens: smallest number of the reader's tokens that is enough, at least 1.
    """

    of: Inner = field(default_factory=Exit)
    min_tokens: int = 1

    def __post_init__(self) -> None:
        check_types(self, Fallback)
        at_least("min_tokens", self.min_tokens, 1)

    def _compress(self, question: Question, passages: Sequence[Passage], runtime: Runtime) -> list[Passage]:
        kept = self.of.compress(question, passages, runtime)
        n_tokens = sum(runtime.reader.count_text(passage.text) for passage in kept)
        if n_tokens >= self.min_tokens or not passages:
            return kept
        runtime.note(
            f"{stage_name(self.of)} left {n_tokens} tokens, fewer than {self.min_tokens}: the passages stay as they are"
        )
        return list(passages)
