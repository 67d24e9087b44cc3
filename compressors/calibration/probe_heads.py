"""Which heads of a model are worth asking, and how to weigh them: found on labelled sentences, by cross-validation.

Heads are ranked by how well each alone finds the supporting sentences (mean AUC over questions, each file weighing the
same). Of the best 2, 4, 8, ... below some layer a logistic regression is fitted, each question weighing the same; the
fewest and lowest that are as good as the best, within `TOLERANCE` of AUC, are taken: a lower highest layer is a quicker
probe. What is good is judged on files that the regression did not see, where there are several: on unseen questions of
the same files 24 heads look best, and on other data 4 to 8 are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from compressors.calibration.labelled import Labelled
from compressors.calibration.ranking import auc, costs_of, recall_at
from compressors.calibration.store import Evidence, ProbeCalibration, Weighing
from compressors.probe import LAYOUT, log_mass, standardised
from compressors.sentences import similarities
from pipeline.contracts import Embedder, Model, Progress
from pipeline.errors import DataError, ModelError
from pipeline.models.capabilities import Attender
from pipeline.models.identity import model_key
from pipeline.types import Text

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUMBERS = (2, 4, 8, 16, 24)
TOLERANCE = 0.003
FOLDS = 5
LEAST_QUESTIONS = 20
KEEP_RATIO = 0.3


@dataclass(frozen=True)
class Seen:
    """What was read of one question: the features of its units, float32 (n_units, n_heads), and their similarities to
    the question, (n_units, 2), all standardised over the units; which units support; what each costs; the file that the
    question is of.
    """

    features: NDArray[np.float32]
    similarity: NDArray[np.float32]
    supports: tuple[bool, ...]
    costs: tuple[int, ...]
    file: str = ""


def look(
    questions: Sequence[Labelled], model: Model, embedder: Embedder, window: int, progress: Progress
) -> list[Seen]:
    """All heads' features of every question, and the embedder's."""
    seen = []
    for n, one in enumerate(questions):
        features = standardised(log_mass(one.question, one.units, model, None, window, _silent))
        similarity = standardised(similarities(one.question, one.units.parts, embedder))
        costs = tuple(costs_of(one.units))
        seen.append(Seen(features.astype(np.float32), similarity.astype(np.float32), one.supports, costs, one.file))
        progress("read attention", n + 1, len(questions))
    return seen


def _silent(what: str, done: int, total: int) -> None:
    """A question's own progress is not shown."""


def fit(
    seen: Sequence[Seen], model: Model, data: Sequence[str], seed: int, notes: Sequence[str] = ()
) -> ProbeCalibration:
    """The calibration of the model that was looked at. Raises DataError for too few questions."""
    if len(seen) < LEAST_QUESTIONS:
        raise DataError(
            f"{len(seen)} telling questions (with sentences that support the answer and others that don't) are too few "
            f"to choose heads by: at least {LEAST_QUESTIONS} are needed"
        )
    n_layer, n_head = _shape(model)
    ranked = best_heads(seen)
    folds = _folds(seen, seed)
    chosen = _choose(seen, ranked, n_head, folds)
    scores = _out_of_fold(seen, chosen, folds, with_similarity=True)
    return ProbeCalibration(
        model=model.name,
        key=model_key(model),
        layout=LAYOUT,
        heads=tuple((head // n_head, head % n_head) for head in chosen),
        alone=_weigh(seen, chosen, with_similarity=False),
        with_similarity=_weigh(seen, chosen, with_similarity=True),
        evidence=_evidence(seen, scores, data, seed, (f"{n_layer} layers of {n_head} heads", *notes)),
    )


def _shape(model: Model) -> tuple[int, int]:
    """Layers, and heads of each."""
    if not isinstance(model, Attender):
        raise ModelError(f"the attention of {model.name} cannot be read")
    layer, head = model.attend((Text("a"),), (Text("b"),)).heads[-1]
    return layer + 1, head + 1


def best_heads(seen: Sequence[Seen]) -> list[int]:
    """All heads, best first, by the AUC of each alone: the mean over questions, and then over files."""
    from scipy.stats import rankdata

    total = np.zeros(seen[0].features.shape[1])
    in_file = Counter(one.file for one in seen)
    for one in seen:
        is_right = np.array(one.supports)
        n_right, n_wrong = is_right.sum(), (~is_right).sum()
        ranks = rankdata(one.features, axis=0)[is_right].sum(axis=0)
        total += (ranks - n_right * (n_right + 1) / 2) / (n_right * n_wrong) / in_file[one.file]
    return [int(head) for head in np.argsort(-total, kind="stable")]


def _folds(seen: Sequence[Seen], seed: int) -> list[NDArray[np.int64]]:
    """The questions' places, a fold for each file, or where there is but one, in random folds."""
    files = sorted({one.file for one in seen})
    if len(files) > 1:
        return [np.array([n for n, one in enumerate(seen) if one.file == file]) for file in files]
    return [np.sort(part) for part in np.array_split(np.random.default_rng(seed).permutation(len(seen)), FOLDS)]


def _choose(seen: Sequence[Seen], ranked: Sequence[int], n_head: int, folds: Sequence[NDArray[np.int64]]) -> list[int]:
    """The fewest heads, of the lowest layers, whose AUC on unseen folds is within `TOLERANCE` of the best."""
    n_layer = len(ranked) // n_head
    tried: list[tuple[int, int, float, list[int]]] = []
    for top in sorted({n_layer - 1, *(head // n_head for head in ranked[: NUMBERS[-1]])}):
        below = [head for head in ranked if head // n_head <= top]
        for n in NUMBERS:
            heads = below[:n]
            tried.append((max(head // n_head for head in heads), len(heads), _auc(seen, heads, folds), heads))
    best = max(found for _, _, found, _ in tried)
    return min((one for one in tried if one[2] >= best - TOLERANCE), key=lambda one: one[:2])[3]


def _auc(seen: Sequence[Seen], heads: Sequence[int], folds: Sequence[NDArray[np.int64]]) -> float:
    """The mean over the folds' means."""
    scores = _out_of_fold(seen, heads, folds, with_similarity=False)
    return float(np.mean([np.mean([auc(scores[n], seen[n].supports) for n in fold]) for fold in folds]))


def _out_of_fold(
    seen: Sequence[Seen], heads: Sequence[int], folds: Sequence[NDArray[np.int64]], with_similarity: bool
) -> list[NDArray[np.float64]]:
    """Each question's scores by a regression that did not see it."""
    scores: list[NDArray[np.float64]] = [np.empty(0)] * len(seen)
    for fold in folds:
        unseen = set(fold.tolist())
        weighing = _weigh([one for n, one in enumerate(seen) if n not in unseen], heads, with_similarity)
        for n in fold.tolist():
            scores[n] = _columns(seen[n], heads, with_similarity) @ np.array(weighing.weights)
    return scores


def _columns(one: Seen, heads: Sequence[int], with_similarity: bool) -> NDArray[np.float64]:
    columns = one.features[:, list(heads)].astype(np.float64)
    return np.hstack([columns, one.similarity]) if with_similarity else columns


def _weigh(seen: Sequence[Seen], heads: Sequence[int], with_similarity: bool) -> Weighing:
    """The logistic regression over these heads; each question weighs the same, whatever its length."""
    from sklearn.linear_model import LogisticRegression

    rows = np.vstack([_columns(one, heads, with_similarity) for one in seen])
    labels = np.concatenate([np.array(one.supports) for one in seen])
    weights = np.concatenate([np.full(len(one.supports), 40 / len(one.supports)) for one in seen])
    model = LogisticRegression(C=0.1, max_iter=1000).fit(rows, labels, weights)
    return Weighing(tuple(round(float(w), 5) for w in model.coef_[0]), round(float(model.intercept_[0]), 5))


def _evidence(
    seen: Sequence[Seen], scores: Sequence[NDArray[np.float64]], data: Sequence[str], seed: int, notes: Sequence[str]
) -> Evidence:
    found = list(zip(scores, seen, strict=True))
    return Evidence(
        data=tuple(data),
        n_questions=len(seen),
        n_sentences=sum(len(one.supports) for one in seen),
        n_supporting=sum(sum(one.supports) for one in seen),
        seed=seed,
        date=datetime.now(UTC).date().isoformat(),
        recall=round(float(np.mean([recall_at(s, one.supports, one.costs, KEEP_RATIO) for s, one in found])), 4),
        kept_ratio=KEEP_RATIO,
        auc=round(float(np.mean([auc(s, one.supports) for s, one in found])), 4),
        notes=tuple(notes),
    )
