"""Chooses the attention heads of a model for compress.probe or compress.attention, and fits their weights.

Heads are ranked by how well each one alone finds the supporting sentences (mean AUC over questions; all files weigh the
same). The best 2, 4, 6, ... heads up to some layer get weights that rank supporting sentences first
(compressors/calibration/listwise.py). All files weigh the same, and all questions within a file. A probe runs only up
to its highest layer, so a lower one is faster: this takes the lowest layer within `TOLERANCE` of the best AUC, and the
best number of heads there. With several files, each fold is a file that the weights were not fitted on. On unseen
questions of the same files 24 heads look best, but on other data 4 to 8 are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import numpy as np

from compressors.calibration.labelled import Labelled
from compressors.calibration.listwise import Questions
from compressors.calibration.ranking import auc, costs_of, recall_at
from compressors.calibration.store import Evidence, Head, ProbeCalibration, Weighing
from compressors.classifier import shipped
from compressors.features import features as features_of
from compressors.features import standardised
from compressors.links import Links
from compressors.probe import LAYOUT, log_mass
from compressors.selection import Units
from compressors.votes import nearest_tokens
from pipeline.contracts import Embedder, Model, Progress
from pipeline.errors import DataError, ModelError
from pipeline.listener import silent
from pipeline.models.capabilities import Attender
from pipeline.models.identity import model_key
from pipeline.types import Text

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUMBERS = (2, 4, 6, 8, 12, 16, 24)
TOLERANCE = 0.003
FOLDS = 5
LEAST_QUESTIONS = 20
KEEP_RATIO = 0.3
PENALTY = 0.01
"""L2 penalty of the weights."""


@dataclass(frozen=True)
class QuestionFeatures:
    """The features and labels of one question's units.

    `features`, float32 (n_units, 2 * n_heads), hold the attention of the question's tokens and then of the tokens where
    the answer begins. `similarity`, (n_units, 2), holds votes and shared words. All are standardised over the units.
    `supports` are the labels, `costs` the units' characters, `file` the question's file.
    """

    features: NDArray[np.float32]
    similarity: NDArray[np.float32]
    supports: tuple[bool, ...]
    costs: tuple[int, ...]
    file: str = ""
    links: Links = field(default_factory=Links)


MassOf = Callable[[str, Units], "NDArray[np.float64]"]
"""Gives the logarithm of the attention of a question to each unit, for all heads, as `compressors.probe.log_mass`."""


def look(
    questions: Sequence[Labelled],
    model: Model,
    embedder: Embedder,
    window: int,
    progress: Progress,
    mass_of: MassOf | None = None,
) -> list[QuestionFeatures]:
    """Computes the features of every question, for all heads and from the embedder.

    Attention is read by `mass_of`; None: as compress.probe reads it.
    """

    def probed(question: str, units: Units) -> NDArray[np.float64]:
        return log_mass(question, units, model, None, window, silent)

    seen = []
    for n, question in enumerate(questions):
        features = standardised((mass_of or probed)(question.question, question.units))
        nearest = nearest_tokens(question.question, question.units, embedder)
        similarity = standardised(features_of(question.question, question.units, nearest, shipped().temperature))
        costs = tuple(costs_of(question.units))
        seen.append(
            QuestionFeatures(
                features.astype(np.float32),
                similarity.astype(np.float32),
                question.supports,
                costs,
                question.file,
                Links.of(question.units),
            )
        )
        progress("read attention", n + 1, len(questions))
    return seen


def fit(
    seen: Sequence[QuestionFeatures],
    model: Model,
    data: Sequence[str],
    seed: int,
    notes: Sequence[str] = (),
    progress: Progress = silent,
    kind: type[ProbeCalibration] = ProbeCalibration,
    layout: int = LAYOUT,
) -> ProbeCalibration:
    """Fits the calibration of a model, of the given kind. Raises DataError for too few questions."""
    if len(seen) < LEAST_QUESTIONS:
        raise DataError(
            f"{len(seen)} telling questions (with sentences that support the answer and others that don't) are too few "
            f"to choose heads by: at least {LEAST_QUESTIONS} are needed"
        )
    heads = _heads_of(model)
    columns = _columns_of(heads)
    folds = _folds(seen, seed)
    chosen = _choose(seen, best_heads(seen), columns, folds, progress)
    scores = _out_of_fold(seen, chosen, folds, with_similarity=True, with_links=True)
    with_similarity = _weigh(seen, chosen, with_similarity=True)
    return kind(
        model=model.name,
        key=model_key(model),
        layout=layout,
        heads=tuple(columns[n] for n in chosen),
        temperature=shipped().temperature,
        alone=_weigh(seen, chosen, with_similarity=False),
        with_similarity=with_similarity,
        links=_weigh_links(seen, chosen, with_similarity),
        evidence=_evidence(seen, scores, data, seed, (_count(heads), *notes)),
    )


def _heads_of(model: Model) -> tuple[tuple[int, int], ...]:
    """All heads as (layer, head). Layers without attention have none."""
    if not isinstance(model, Attender):
        raise ModelError(f"the attention of {model.name} cannot be read")
    return model.attend((Text("a"),), (Text("b"),)).heads


def _count(heads: Sequence[tuple[int, int]]) -> str:
    n_layer = len({layer for layer, _ in heads})
    return f"{n_layer} layers of {len(heads) // n_layer} heads"


def _columns_of(heads: Sequence[tuple[int, int]]) -> list[Head]:
    """The head of each column of a question's features."""
    positions: tuple[Literal["question", "answer"], ...] = ("question", "answer")
    return [(layer, head, position) for position in positions for layer, head in heads]


def best_heads(seen: Sequence[QuestionFeatures]) -> list[int]:
    """All heads, best first, by the AUC of each one alone: the mean over questions, then over files."""
    from scipy.stats import rankdata

    total = np.zeros(seen[0].features.shape[1])
    in_file = Counter(question.file for question in seen)
    for question in seen:
        is_right = np.array(question.supports)
        n_right, n_wrong = is_right.sum(), (~is_right).sum()
        # The AUC of all heads at once, from rank sums (Mann-Whitney).
        ranks = rankdata(question.features, axis=0)[is_right].sum(axis=0)
        total += (ranks - n_right * (n_right + 1) / 2) / (n_right * n_wrong) / in_file[question.file]
    return [int(head) for head in np.argsort(-total, kind="stable")]


def _folds(seen: Sequence[QuestionFeatures], seed: int) -> list[NDArray[np.int64]]:
    """Indices of the questions in folds: a fold per file, or random folds if there is only one file."""
    files = sorted({question.file for question in seen})
    if len(files) > 1:
        return [np.array([n for n, question in enumerate(seen) if question.file == file]) for file in files]
    return [np.sort(part) for part in np.array_split(np.random.default_rng(seed).permutation(len(seen)), FOLDS)]


def _choose(
    seen: Sequence[QuestionFeatures],
    ranked: Sequence[int],
    columns: Sequence[Head],
    folds: Sequence[NDArray[np.int64]],
    progress: Progress,
) -> list[int]:
    """The best heads up to the lowest layer whose AUC on unseen folds is within `TOLERANCE` of the best."""
    tried: list[tuple[int, float, list[int]]] = []
    tops = sorted({columns[n][0] for n in ranked[: NUMBERS[-1]]})
    for top in tops:
        below = [n for n in ranked if columns[n][0] <= top]
        for number in NUMBERS:
            heads = below[:number]
            tried.append((max(columns[n][0] for n in heads), _auc(seen, heads, folds), heads))
            progress("weigh heads", len(tried), len(tops) * len(NUMBERS))
    best = max(score for _, score, _ in tried)
    near = (candidate for candidate in tried if candidate[1] >= best - TOLERANCE)
    return min(near, key=lambda candidate: (candidate[0], -candidate[1]))[2]


def _auc(seen: Sequence[QuestionFeatures], heads: Sequence[int], folds: Sequence[NDArray[np.int64]]) -> float:
    """The mean of the folds' mean AUC, with the embedder's similarity, which the probe uses by default."""
    scores = _out_of_fold(seen, heads, folds, with_similarity=True)
    return float(np.mean([np.mean([auc(scores[n], seen[n].supports) for n in fold]) for fold in folds]))


def _out_of_fold(
    seen: Sequence[QuestionFeatures],
    heads: Sequence[int],
    folds: Sequence[NDArray[np.int64]],
    with_similarity: bool,
    with_links: bool = False,
) -> list[NDArray[np.float64]]:
    """The logits of each question, from weights fitted without it."""
    scores: list[NDArray[np.float64]] = [np.empty(0)] * len(seen)
    for fold in folds:
        unseen = set(fold.tolist())
        rest = [question for n, question in enumerate(seen) if n not in unseen]
        weighing = _weigh(rest, heads, with_similarity)
        links = _weigh_links(rest, heads, weighing) if with_links else None
        for n in fold.tolist():
            scores[n] = weighing.logits(_columns(seen[n], heads, with_similarity))
            if links is not None:
                scores[n] = links.logits(_link_columns(seen[n], scores[n]))
    return scores


def _columns(question: QuestionFeatures, heads: Sequence[int], with_similarity: bool) -> NDArray[np.float64]:
    columns = question.features[:, list(heads)].astype(np.float64)
    return np.hstack([columns, question.similarity]) if with_similarity else columns


def _link_columns(question: QuestionFeatures, logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.hstack([logits[:, None], standardised(question.links.strengths(logits))])


def _weigh(seen: Sequence[QuestionFeatures], heads: Sequence[int], with_similarity: bool) -> Weighing:
    """Fits the weights of these heads."""
    return _fitted(seen, [_columns(question, heads, with_similarity) for question in seen])


def _weigh_links(seen: Sequence[QuestionFeatures], heads: Sequence[int], weighing: Weighing) -> Weighing:
    """Fits the weights of the logit (with similarity) and of the two link strengths."""
    return _fitted(
        seen, [_link_columns(question, weighing.logits(_columns(question, heads, True))) for question in seen]
    )


def _fitted(seen: Sequence[QuestionFeatures], columns: Sequence[NDArray[np.float64]]) -> Weighing:
    """Fits weights that rank supporting units first, then scales them so that the logits are calibrated."""
    files = sorted({question.file for question in seen})
    order = [n for file in files for n, question in enumerate(seen) if question.file == file]
    questions = Questions.of([[question.supports for question in seen if question.file == file] for file in files])
    matrix = np.vstack([columns[n] for n in order])
    weights, _ = questions.weights_for(matrix, PENALTY)
    slope, shift = questions.sureness(matrix @ weights)
    return Weighing(tuple(round(float(w), 5) for w in slope * weights), shift)


def _evidence(
    seen: Sequence[QuestionFeatures],
    scores: Sequence[NDArray[np.float64]],
    data: Sequence[str],
    seed: int,
    notes: Sequence[str],
) -> Evidence:
    pairs = list(zip(scores, seen, strict=True))
    return Evidence(
        data=tuple(data),
        n_questions=len(seen),
        n_sentences=sum(len(question.supports) for question in seen),
        n_supporting=sum(sum(question.supports) for question in seen),
        seed=seed,
        date=datetime.now(UTC).date().isoformat(),
        recall=round(
            float(np.mean([recall_at(s, question.supports, question.costs, KEEP_RATIO) for s, question in pairs])), 4
        ),
        kept_ratio=KEEP_RATIO,
        auc=round(float(np.mean([auc(s, question.supports) for s, question in pairs])), 4),
        notes=tuple(notes),
    )
