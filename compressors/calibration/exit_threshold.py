"""Fits the threshold of compress.exit to a model: the highest P(Yes) that keeps the target recall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from compressors.calibration.labelled import Labelled
from compressors.calibration.ranking import auc, costs_of
from compressors.calibration.store import Evidence, ExitCalibration
from compressors.exit import Exit
from pipeline.contracts import Model, Progress
from pipeline.errors import DataError
from pipeline.models.identity import model_key

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDS = 5
LEAST_QUESTIONS = 20


@dataclass(frozen=True)
class JudgedUnits:
    """One question's units: P(Yes), float64 (n_units,); whether each supports the answer; its cost in characters."""

    p_yes: NDArray[np.float64]
    supports: tuple[bool, ...]
    costs: tuple[int, ...]


def judge(questions: Sequence[Labelled], model: Model, window: int, progress: Progress) -> list[JudgedUnits]:
    """Asks the model about every sentence of every question."""
    judged = []
    for n, question in enumerate(questions):
        p_yes = Exit(window=window).p_of(question.question, question.units, model)
        judged.append(JudgedUnits(p_yes, question.supports, tuple(costs_of(question.units))))
        progress("judge sentences", n + 1, len(questions))
    return judged


def threshold_for(judged: Sequence[JudgedUnits], recall: float) -> float:
    """The highest threshold that keeps at least this share of the supporting sentences."""
    right = np.sort(np.concatenate([question.p_yes[np.array(question.supports)] for question in judged]))
    n_lost = int(np.floor(len(right) * (1 - recall) + 1e-9))
    return float(right[min(n_lost, len(right) - 1)])


def fit(judged: Sequence[JudgedUnits], model: Model, data: Sequence[str], seed: int, recall: float) -> ExitCalibration:
    """Fits a calibration. Its evidence comes from folds that the threshold was not fitted on.

    Raises DataError for fewer than LEAST_QUESTIONS questions.
    """
    if len(judged) < LEAST_QUESTIONS:
        raise DataError(
            f"{len(judged)} telling questions (with sentences that support the answer and others that don't) are too "
            f"few to fit a threshold on: at least {LEAST_QUESTIONS} are needed"
        )
    kept = np.zeros(4)  # supporting kept, supporting, cost kept, cost
    for fold in np.array_split(np.random.default_rng(seed).permutation(len(judged)), FOLDS):
        unseen = set(fold.tolist())
        threshold = threshold_for([question for n, question in enumerate(judged) if n not in unseen], recall)
        for n in unseen:
            kept += _account(judged[n], threshold)
    evidence = Evidence(
        data=tuple(data),
        n_questions=len(judged),
        n_sentences=sum(len(question.supports) for question in judged),
        n_supporting=int(kept[1]),
        seed=seed,
        date=datetime.now(UTC).date().isoformat(),
        recall=round(float(kept[0] / kept[1]), 4),
        kept_ratio=round(float(kept[2] / kept[3]), 4),
        auc=round(float(np.mean([auc(question.p_yes, question.supports) for question in judged])), 4),
    )
    # Rounded down, so that the sentence that decided the threshold still passes it.
    threshold = np.floor(threshold_for(judged, recall) * 1e6) / 1e6
    return ExitCalibration(model.name, model_key(model), float(threshold), recall, evidence)


def _account(question: JudgedUnits, threshold: float) -> NDArray[np.float64]:
    is_kept, is_right, costs = question.p_yes >= threshold, np.array(question.supports), np.array(question.costs, float)
    return np.array([(is_kept & is_right).sum(), is_right.sum(), costs[is_kept].sum(), costs.sum()])
