"""Which heads of a model are worth asking, and how to weigh them: found on labelled sentences, by cross-validation.

Heads are ranked by how well each alone finds the supporting sentences (mean AUC over questions, each file weighing the
same). The best 2, 4, 6, ... below some layer are weighed so that what supports stands out in its question
(compressors/calibration/listwise.py), each file weighing the same, in it each question. A lower highest layer is a
quicker probe, so the lowest that comes within `TOLERANCE` of the best AUC is taken, with the number of heads that is
best there. What is good is judged on files that the weights were not fitted on, where there are several: on unseen
questions of the same files 24 heads look best, and on other data 4 to 8 are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
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
from compressors.votes import nearest_tokens
from pipeline.contracts import Embedder, Model, Progress
from pipeline.errors import DataError, ModelError
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
"""Of a weight's square."""


@dataclass(frozen=True)
class Seen:
    """What was read of one question.

    Of its units: the features, float32 (n_units, 2 * n_heads), by the question's tokens and by those where the answer
    begins; their votes and words in common, (n_units, 2), all standardised over the units; which of them support;
    what each costs. The file that the question is of; which passages name which.
    """

    features: NDArray[np.float32]
    similarity: NDArray[np.float32]
    supports: tuple[bool, ...]
    costs: tuple[int, ...]
    file: str = ""
    links: Links = field(default_factory=Links)


def look(
    questions: Sequence[Labelled], model: Model, embedder: Embedder, window: int, progress: Progress
) -> list[Seen]:
    """All heads' features of every question, and the embedder's."""
    seen = []
    for n, one in enumerate(questions):
        features = standardised(log_mass(one.question, one.units, model, None, window, _silent))
        nearest = nearest_tokens(one.question, one.units, embedder)
        similarity = standardised(features_of(one.question, one.units, nearest, shipped().temperature))
        costs = tuple(costs_of(one.units))
        seen.append(
            Seen(
                features.astype(np.float32),
                similarity.astype(np.float32),
                one.supports,
                costs,
                one.file,
                Links.of(one.units),
            )
        )
        progress("read attention", n + 1, len(questions))
    return seen


def _silent(what: str, done: int, total: int) -> None:
    """No progress is shown: a question's own, or where nobody looks."""


def fit(
    seen: Sequence[Seen],
    model: Model,
    data: Sequence[str],
    seed: int,
    notes: Sequence[str] = (),
    progress: Progress = _silent,
) -> ProbeCalibration:
    """The calibration of the model that was looked at. Raises DataError for too few questions."""
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
    return ProbeCalibration(
        model=model.name,
        key=model_key(model),
        layout=LAYOUT,
        heads=tuple(columns[n] for n in chosen),
        temperature=shipped().temperature,
        alone=_weigh(seen, chosen, with_similarity=False),
        with_similarity=with_similarity,
        links=_weigh_links(seen, chosen, with_similarity),
        evidence=_evidence(seen, scores, data, seed, (_count(heads), *notes)),
    )


def _heads_of(model: Model) -> tuple[tuple[int, int], ...]:
    """All heads, as (layer, head): those of the layers that attend."""
    if not isinstance(model, Attender):
        raise ModelError(f"the attention of {model.name} cannot be read")
    return model.attend((Text("a"),), (Text("b"),)).heads


def _count(heads: Sequence[tuple[int, int]]) -> str:
    n_layer = len({layer for layer, _ in heads})
    return f"{n_layer} layers of {len(heads) // n_layer} heads"


def _columns_of(heads: Sequence[tuple[int, int]]) -> list[Head]:
    """What each column of a question's features is."""
    ats: tuple[Literal["question", "answer"], ...] = ("question", "answer")
    return [(layer, head, at) for at in ats for layer, head in heads]


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


def _choose(
    seen: Sequence[Seen],
    ranked: Sequence[int],
    columns: Sequence[Head],
    folds: Sequence[NDArray[np.int64]],
    progress: Progress,
) -> list[int]:
    """The best number of heads up to the lowest layer that is within `TOLERANCE` of the best AUC on unseen folds."""
    tried: list[tuple[int, float, list[int]]] = []
    tops = sorted({columns[n][0] for n in ranked[: NUMBERS[-1]]})
    for top in tops:
        below = [n for n in ranked if columns[n][0] <= top]
        for number in NUMBERS:
            heads = below[:number]
            tried.append((max(columns[n][0] for n in heads), _auc(seen, heads, folds), heads))
            progress("weigh heads", len(tried), len(tops) * len(NUMBERS))
    best = max(found for _, found, _ in tried)
    near = (one for one in tried if one[1] >= best - TOLERANCE)
    return min(near, key=lambda one: (one[0], -one[1]))[2]


def _auc(seen: Sequence[Seen], heads: Sequence[int], folds: Sequence[NDArray[np.int64]]) -> float:
    """The mean over the folds' means, together with the embedder's similarity, as the probe asks by default."""
    scores = _out_of_fold(seen, heads, folds, with_similarity=True)
    return float(np.mean([np.mean([auc(scores[n], seen[n].supports) for n in fold]) for fold in folds]))


def _out_of_fold(
    seen: Sequence[Seen],
    heads: Sequence[int],
    folds: Sequence[NDArray[np.int64]],
    with_similarity: bool,
    with_links: bool = False,
) -> list[NDArray[np.float64]]:
    """Each question's logits by weights that were fitted without it."""
    scores: list[NDArray[np.float64]] = [np.empty(0)] * len(seen)
    for fold in folds:
        unseen = set(fold.tolist())
        rest = [one for n, one in enumerate(seen) if n not in unseen]
        weighing = _weigh(rest, heads, with_similarity)
        links = _weigh_links(rest, heads, weighing) if with_links else None
        for n in fold.tolist():
            scores[n] = weighing.logits(_columns(seen[n], heads, with_similarity))
            if links is not None:
                scores[n] = links.logits(_link_columns(seen[n], scores[n]))
    return scores


def _columns(one: Seen, heads: Sequence[int], with_similarity: bool) -> NDArray[np.float64]:
    columns = one.features[:, list(heads)].astype(np.float64)
    return np.hstack([columns, one.similarity]) if with_similarity else columns


def _link_columns(one: Seen, logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.hstack([logits[:, None], standardised(one.links.strengths(logits))])


def _weigh(seen: Sequence[Seen], heads: Sequence[int], with_similarity: bool) -> Weighing:
    """The weights of these heads."""
    return _fitted(seen, [_columns(one, heads, with_similarity) for one in seen])


def _weigh_links(seen: Sequence[Seen], heads: Sequence[int], weighing: Weighing) -> Weighing:
    """The weights of the logit of one with similarity, and of the strengths of links."""
    return _fitted(seen, [_link_columns(one, weighing.logits(_columns(one, heads, True))) for one in seen])


def _fitted(seen: Sequence[Seen], columns: Sequence[NDArray[np.float64]]) -> Weighing:
    """What makes supporting units stand out, and then a probability of it."""
    files = sorted({one.file for one in seen})
    order = [n for file in files for n, one in enumerate(seen) if one.file == file]
    questions = Questions.of([[one.supports for one in seen if one.file == file] for file in files])
    matrix = np.vstack([columns[n] for n in order])
    weights, _ = questions.weights_for(matrix, PENALTY)
    slope, shift = questions.sureness(matrix @ weights)
    return Weighing(tuple(round(float(w), 5) for w in slope * weights), shift)


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
