"""The trained part of compress.exit_mini: some numbers, and where they come from, in one JSON file that ships."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compressors.features import FEATURES, standardised
from compressors.links import Links
from pipeline.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHIPPED = Path(__file__).parent / "trained" / "exit-mini.json"


@dataclass(frozen=True)
class Classifier:
    """What was fitted. `embedder` is the fingerprint of the one whose vectors were used, `embedder_name` for people.

    `temperature` is that of the votes. `alone` are weights of FEATURES, standardised within a question; their sum is a
    unit's score. `linked` are weights of that score and of the two strengths of `Links`, standardised as well. Scores
    rank; they become probabilities by a slope and a shift (`alone_sure`, `linked_sure`: Platt scaling) that were found
    on questions which the weights were not fitted on. `metrics` were measured on those as well: `notes` say how.
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
        """The probability of each unit to support an answer, float64 (n_units,), in [0, 1].

        `features` are (n_units, 2), as they are; `links` None: none are followed.
        """
        scores = standardised(features) @ np.array(self.alone)
        if links is None:
            return sure(scores, self.alone_sure)
        return sure(with_links(scores, links) @ np.array(self.linked), self.linked_sure)


def with_links(scores: NDArray[np.float64], links: Links) -> NDArray[np.float64]:
    """What `linked` weighs: each unit's score, and how good the units are that name its passage, or that it names."""
    return np.column_stack([scores, standardised(links.strengths(scores))])


def sure(scores: NDArray[np.float64], slope_and_shift: tuple[float, float]) -> NDArray[np.float64]:
    slope, shift = slope_and_shift
    return np.asarray(1 / (1 + np.exp(-(slope * scores + shift))))


@cache
def shipped() -> Classifier:
    """The classifier that ships. Raises ModelError for a file that is damaged."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(Classifier).validate_json(SHIPPED.read_bytes(), strict=True, extra="forbid")
    except (OSError, ValidationError) as error:
        raise ModelError(f"{SHIPPED} cannot be read as a classifier: {error}; install longthread again") from None
