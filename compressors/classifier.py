"""The trained part of compress.exit_mini: a few numbers and their origin, in one shipped JSON file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compressors.features import FEATURES, standardised
from compressors.links import Links
from pipeline.storage.cards import Cards

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHIPPED = Path(__file__).parent / "trained" / "exit-mini.json"


@dataclass(frozen=True)
class Classifier:
    """The fitted numbers. `embedder` is the fingerprint of the embedder used, `embedder_name` its name for people.

    `temperature` is that of the votes. `alone` weighs FEATURES, standardised within a question, into a unit's score.
    `linked` weighs that score and the two strengths of `Links`, standardised as well. Scores only rank units. A slope
    and a shift (`alone_sure`, `linked_sure`: Platt scaling) turn them into probabilities. These were fitted, and
    `metrics` measured, on questions that the weights were not fitted on; `notes` say how.
    """

    embedder: str
    embedder_name: str
    features: tuple[str, ...]
    temperature: float
    alone: tuple[float, ...]
    linked: tuple[float, float, float]
    alone_sure: tuple[float, float]
    linked_sure: tuple[float, float]
    data: tuple[str, ...]
    n_questions: int
    n_sentences: int
    seed: int
    date: str
    command: str
    metrics: dict[str, dict[str, float]]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.features != FEATURES or len(self.alone) != len(FEATURES):
            raise ValueError(f"a weight is needed for each of {', '.join(FEATURES)}")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, was: {self.temperature}")

    def probabilities(self, features: NDArray[np.float64], links: Links | None) -> NDArray[np.float64]:
        """The probability that each unit supports the answer, float64 (n_units,), in [0, 1].

        `features` are (n_units, 2), not standardised. With `links` None, no links are followed.
        """
        scores = standardised(features) @ np.array(self.alone)
        if links is None:
            return sure(scores, self.alone_sure)
        return sure(with_links(scores, links) @ np.array(self.linked), self.linked_sure)


def with_links(scores: NDArray[np.float64], links: Links) -> NDArray[np.float64]:
    """The columns that `linked` weighs: each unit's score, and its two link strengths, standardised."""
    return np.column_stack([scores, standardised(links.strengths(scores))])


def sure(scores: NDArray[np.float64], slope_and_shift: tuple[float, float]) -> NDArray[np.float64]:
    """Turns scores into probabilities by Platt scaling."""
    slope, shift = slope_and_shift
    return np.asarray(1 / (1 + np.exp(-(slope * scores + shift))))


@cache
def shipped() -> Classifier:
    """Loads the shipped classifier. Raises ModelError for a damaged file."""
    return Cards(Classifier, "a classifier", "install longthread again").read(SHIPPED)
