"""Stores calibrations of model files as JSON with their evidence, under the model file's hash.

The user's calibrations are in the cache folder, under calibrations/<first 16 digits of the key>/<method>.json, and
those shipped with longthread in compressors/calibrated. The user's have priority. A file made by `longthread models
tune` shares the calibration of its source file, because their distributions agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar

import numpy as np

from pipeline.contracts import Model
from pipeline.models.identity import model_key
from pipeline.storage.cache import cache_folder
from pipeline.storage.cards import Cards, write_card

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHIPPED = Path(__file__).parent.parent / "calibrated"


@dataclass(frozen=True)
class Evidence:
    """The data and the quality of a calibration.

    `recall` is the share of supporting sentences kept, `kept_ratio` the share of the cost kept, and `auc` the mean over
    questions. All are measured on folds that the fit did not see. With several files, a fold is a file, since heads
    that suit one kind of question may not suit another.
    """

    data: tuple[str, ...]
    n_questions: int
    n_sentences: int
    n_supporting: int
    seed: int
    date: str
    recall: float
    kept_ratio: float
    auc: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExitCalibration:
    """The threshold of P(Yes) for one model. `evidence.recall` is the share of supporting sentences that it keeps."""

    model: str
    key: str
    threshold: float
    target_recall: float
    evidence: Evidence

    method: ClassVar[str] = "exit"


@dataclass(frozen=True)
class Weighing:
    """Weights and bias that turn features, standardised within a question, into a logit."""

    weights: tuple[float, ...]
    bias: float

    def logits(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """The logits, float64 (n,), of features (n, n_weights)."""
        result: NDArray[np.float64] = features @ np.array(self.weights) + self.bias
        return result


Head = tuple[int, int, Literal["question", "answer"]]
"""(layer, head, whose attention counts): that of the question's tokens, or of the tokens where the answer begins."""


@dataclass(frozen=True)
class ProbeCalibration:
    """The heads that compress.probe reads, and their weights.

    `alone` weighs the heads, and `with_similarity` the heads plus votes and shared words (FEATURES in
    compressors/features.py) as the last two features. `temperature` is that of the votes. `links` weighs the logit of
    either and the two strengths of `Links`. `layout` is the version of the prompt that the heads were chosen with.
    """

    model: str
    key: str
    layout: int
    heads: tuple[Head, ...]
    temperature: float
    alone: Weighing
    with_similarity: Weighing
    links: Weighing
    evidence: Evidence

    method: ClassVar[str] = "probe"

    def __post_init__(self) -> None:
        if not self.heads or len(self.alone.weights) != len(self.heads):
            raise ValueError(f"each head needs a weight: {len(self.heads)} heads, {len(self.alone.weights)} weights")
        if len(self.with_similarity.weights) != len(self.heads) + 2:
            raise ValueError("with_similarity must have a weight for each head, one for votes, one for words in common")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, was: {self.temperature}")
        if len(self.links.weights) != 3:
            raise ValueError("links must have a weight for the logit, one for being named, one for naming")


@dataclass(frozen=True)
class AttentionCalibration(ProbeCalibration):
    """The same for compress.attention: heads of the reader, chosen on passages whose cells were put together."""

    method: ClassVar[str] = "attention"


C = TypeVar("C", bound=ExitCalibration | ProbeCalibration)


def stored(kind: type[C], model: Model) -> C | None:
    """The calibration of this model, the user's first; None if there is none.

    Raises ModelError that names a damaged file.
    """
    key = model_key(model)
    cards = Cards(kind, "a calibration", "delete it and calibrate again")
    return cards.find(key, (_user_path(kind.method, key), *sorted(SHIPPED.glob(f"{kind.method}-*.json"))))


def store(calibration: ExitCalibration | ProbeCalibration) -> Path:
    """Writes a calibration for the user and gives its path."""
    return write_card(_user_path(calibration.method, calibration.key), calibration)


def _user_path(method: str, key: str) -> Path:
    return cache_folder() / "calibrations" / key[:16] / f"{method}.json"
