"""compress.exit_mini: keep the sentences that a small trained classifier finds, without running a language model.

After EXIT: Context-Aware Extractive Compression (Hwang et al. 2024, arXiv 2412.12559), which fine-tunes a 2B model to
say for each sentence, in its document, whether it helps to answer. Ours differs: the sentence encoder that retrieves is
left as it is. It reads each sentence in its document, the question's tokens vote for the sentences
(compressors/votes.py), and what is trained are ten numbers: the temperature of the vote; its weight and that of the
words in common; weights that raise sentences of passages that good sentences name (compressors/links.py); and how sure
a score is. So it runs at about the speed of compress.sentences. How they were fitted: docs/training.md. Fidelity:
inspired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compressors.classifier import shipped
from compressors.features import features
from compressors.links import Links
from compressors.selection import Limits, Units, extract
from compressors.votes import nearest_tokens
from pipeline.contracts import Tools
from pipeline.types import Passage, Question

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ExitMini:
    """Keeps the sentences that a trained classifier finds for the question, in the order of their source.

    With several limits set, all hold; the best sentence always stays, unless the threshold forbids it.

    :param keep_ratio: what share of the tokens to keep at most, in (0, 1]; None: no such limit.
    :param budget: how many tokens of the reader to keep at most; None: no such limit.
    :param threshold: the least probability kept, in [0, 1]; None: no such limit.
    :param mass: keep the best sentences that together hold this share of all probability, in (0, 1]; None: no such
        limit.
    :param top_k: how many sentences to keep at most; None: no such limit.
    :param links: whether passages whose title a good sentence names are raised: for questions of several hops.
    :param neighbours: sentences before and after each kept one that are kept with it.
    """

    keep_ratio: float | None = 0.3
    budget: int | None = None
    threshold: float | None = None
    mass: float | None = None
    top_k: int | None = None
    links: bool = True
    neighbours: int = 0

    needs = frozenset({"embedder"})

    def __post_init__(self) -> None:
        self.limits  # noqa: B018 - its own checks
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must be in [0, 1], was: {self.threshold}")
        if self.neighbours < 0:
            raise ValueError(f"neighbours must be at least 0, was: {self.neighbours}")

    @property
    def limits(self) -> Limits:
        return Limits(self.top_k, self.threshold, self.budget, self.keep_ratio, self.mass)

    @property
    def why_dropped(self) -> str:
        return f"less likely to help than what was kept ({self.limits})"

    def compress(self, question: Question, passages: Sequence[Passage], tools: Tools) -> list[Passage]:
        return extract(
            passages, tools, lambda units: self.scores(question.text, units, tools), self.limits, self.neighbours
        )

    def scores(self, question: str, units: Units, tools: Tools) -> NDArray[np.float64]:
        """The probability of each unit to support an answer, float64 (n_units,), in [0, 1]."""
        classifier = shipped()
        if tools.embedder.fingerprint != classifier.embedder:
            tools.note(
                f"compress.exit_mini was fitted with another embedder than {tools.embedder.name}: its probabilities "
                "are a guess here"
            )
        links = Links.of(units) if self.links else None
        nearest = nearest_tokens(question, units, tools.embedder)
        return classifier.probabilities(features(question, units, nearest, classifier.temperature), links)
