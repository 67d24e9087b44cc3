"""compress.exit_mini: keep the sentences that a small trained classifier selects, without a language model.

After EXIT: Context-Aware Extractive Compression (Hwang et al. 2024, arXiv 2412.12559), which fine-tunes a 2B model to
decide for each sentence, in its document, whether it helps to answer. Ours differs: it uses the retrieval encoder
unchanged. The encoder reads each sentence in its document, and the question's tokens vote for the sentences
(compressors/votes.py). Only ten numbers are trained: the temperature of the votes; the weights of votes and shared
words; weights for sentences of passages that good sentences name (compressors/links.py); and the scaling of scores to
probabilities. So it is about as fast as compress.sentences. docs/training.md says how they were fitted. Fidelity:
inspired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compressors.alone import WorksAlone
from compressors.classifier import shipped
from compressors.features import features
from compressors.links import Links
from compressors.selection import Limits, Units, extract
from compressors.votes import nearest_tokens
from pipeline.checks import at_least, in_range
from pipeline.contracts import Runtime
from pipeline.registry import check_types
from pipeline.types import Passage, Question

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ExitMini(WorksAlone):
    """Keeps the sentences that a trained classifier selects for the question, in the order of their source.

    All limits that are set apply. The best sentence always stays, unless it is below the threshold.

    Example: `compress.exit_mini: {keep_ratio: 0.2, neighbours: 1}`

    :param keep_ratio: largest share of the tokens to keep, in (0, 1]; null: no limit.
    :param budget: largest number of the reader's tokens to keep, at least 1; null: no limit.
    :param threshold: lowest probability of a kept sentence, in [0, 1]; null: no limit.
    :param mass: keep the best sentences that together hold this share of all probability, in (0, 1]; null: no limit.
    :param top_k: largest number of sentences to keep, at least 1; null: no limit.
    :param links: whether to raise passages whose title a good sentence names, for multi-hop questions.
    :param neighbours: number of sentences before and after each kept sentence that are kept as well, at least 0.
    """

    keep_ratio: float | None = 0.3
    budget: int | None = None
    threshold: float | None = None
    mass: float | None = None
    top_k: int | None = None
    links: bool = True
    neighbours: int = 0

    needs_embedder = True

    def __post_init__(self) -> None:
        check_types(self, ExitMini)
        self.limits  # noqa: B018 - its own checks
        in_range("threshold", self.threshold, 0, 1)
        at_least("neighbours", self.neighbours, 0)

    @property
    def limits(self) -> Limits:
        return Limits(self.top_k, self.threshold, self.budget, self.keep_ratio, self.mass)

    @property
    def why_dropped(self) -> str:
        return f"less likely to help than what was kept ({self.limits})"

    def _compress(self, question: Question, passages: Sequence[Passage], runtime: Runtime) -> list[Passage]:
        return extract(
            passages, runtime, lambda units: self.scores(question.query, units, runtime), self.limits, self.neighbours
        )

    def scores(self, question: str, units: Units, runtime: Runtime) -> NDArray[np.float64]:
        """The probability that each unit supports the answer, float64 (n_units,), in [0, 1]."""
        classifier = shipped()
        if runtime.embedder.fingerprint != classifier.embedder:
            runtime.note(
                f"compress.exit_mini was fitted with another embedder than {runtime.embedder.name}: its probabilities "
                "are a guess here"
            )
        links = Links.of(units) if self.links else None
        nearest = nearest_tokens(question, units, runtime.embedder)
        return classifier.probabilities(features(question, units, nearest, classifier.temperature), links)
