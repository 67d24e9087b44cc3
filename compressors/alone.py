"""The base of compressors: a stage of a pipeline, and the same method for texts without one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import cast, overload

from pipeline.contracts import Runtime
from pipeline.types import Passage, Question


class WorksAlone(ABC):
    """A compressor that a pipeline runs, and that works without one: `ExitMini().compress("Who keeps bees?", texts)`.

    Without a pipeline, strings take the place of the question and the passages, and the result is the texts of what is
    kept, in its order. The default model and embedder are loaded if it needs them, and closed afterwards;
    `longthread.compress` takes others, and gives the places of what is kept.
    """

    @abstractmethod
    def _compress(self, question: Question, passages: Sequence[Passage], runtime: Runtime) -> list[Passage]:
        """Compresses passages as `pipeline.contracts.Compressor` promises."""

    @overload
    def compress(self, question: Question, passages: Sequence[Passage], runtime: Runtime) -> list[Passage]: ...
    @overload
    def compress(self, question: str, passages: Sequence[str]) -> list[str]: ...
    def compress(
        self, question: Question | str, passages: Sequence[Passage | str], runtime: Runtime | None = None
    ) -> list[Passage] | list[str]:
        """Compresses the passages of a stage, or without a runtime the texts of a caller."""
        if isinstance(question, Question) and runtime is not None:
            return self._compress(question, cast("Sequence[Passage]", passages), runtime)
        if isinstance(question, Question) or runtime is not None or isinstance(passages, str):
            raise TypeError("compress takes a string and a list of strings, or a Question, passages and a runtime")
        from pipeline.alone import compress

        return [passage.text for passage in compress(self, question, passages)]
