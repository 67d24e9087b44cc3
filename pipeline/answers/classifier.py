"""The fitted weights of gate.support and their provenance, in one JSON file that ships."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pipeline.answers.answerable import VECTOR_SIGNALS, WORD_SIGNALS, Matching
from pipeline.storage.cards import Cards

SHIPPED = Path(__file__).parent / "fitted" / "abstain.json"


@dataclass(frozen=True)
class Logistic:
    """A logistic regression over standardised signals. All tuples are in the order of `signals`.

    The probability assumes that half of all questions have their answers in the documents.
    """

    signals: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float

    def __post_init__(self) -> None:
        n = len(self.signals)
        if not n == len(self.means) == len(self.scales) == len(self.weights):
            raise ValueError(f"a mean, a scale and a weight are needed for each of {n} signals")
        if not all(scale > 0 for scale in self.scales):
            raise ValueError("scales must be above 0")
        if not all(map(math.isfinite, (*self.means, *self.scales, *self.weights, self.bias))):
            raise ValueError("numbers must be finite")

    def probability(self, values: Mapping[str, float]) -> float:
        """Returns the probability that the documents hold the answer, in (0, 1)."""
        parts = zip(self.signals, self.means, self.scales, self.weights, strict=True)
        logit = self.bias + sum(weight * (values[name] - mean) / scale for name, mean, scale, weight in parts)
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, logit))))


@dataclass(frozen=True)
class Classifier:
    """The classifier that training/abstain fitted.

    `embedder` is the fingerprint of the embedder that `matching` and `vectors` were fitted with, `embedder_name` its
    readable name; `words` needs no vectors. `metrics` were measured on held-out questions: `notes` describes how.
    """

    embedder: str
    embedder_name: str
    matching: Matching
    vectors: Logistic
    words: Logistic
    data: tuple[str, ...]
    n_questions: int
    seed: int
    date: str
    command: str
    metrics: dict[str, dict[str, float]]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, fit, known in (
            ("vectors", self.vectors, (*WORD_SIGNALS, *VECTOR_SIGNALS)),
            ("words", self.words, WORD_SIGNALS),
        ):
            if strange := sorted(set(fit.signals) - set(known)):
                raise ValueError(f"{name}: there is no signal {strange[0]}")


def load(path: Path) -> Classifier:
    """Loads a classifier. Raises ModelError for a file that is missing or damaged."""
    return Cards(Classifier, "a classifier", "install longthread again").read(path)


@cache
def shipped() -> Classifier:
    """Loads the classifier that ships. Raises ModelError if it is damaged."""
    return load(SHIPPED)
