"""Fits the classifier of gate.support on rows marked train, and writes it with its figures.

    python -m training.abstain.fit [--sets selqa ...] [--out FILE] [--data ../shared/data] [--seed 0]

Every question is asked twice: of documents that hold its answer, and of the same documents without those. All figures
come from questions that the weights were not fitted on (five folds). Prints them.
"""

from __future__ import annotations

import argparse
import json
import random
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.answers.answerable import TOKEN_CLASSES, VECTOR_SIGNALS, WORD_SIGNALS, Matching
from pipeline.answers.classifier import SHIPPED, Classifier, Logistic
from pipeline.errors import LongthreadError
from pipeline.retrieval import remembered
from pipeline.retrieval.embedder import open_embedder
from pipeline.storage.files import write_json
from training.abstain.examples import Example, examples
from training.abstain.questions import FILES, corpora

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROOT = Path(__file__).parent.parent.parent
N_QUESTIONS = {"selqa": 400, "wikiqa": 220, "musique": 80, "hotpotqa": 50}
"""Most questions from each corpus of a set."""
N_CORPORA = 1
"""Number of a set's corpora to use. More take longer, and hardly improve the held-out figures."""
N_FOLDS = 5
PENALTY = 0.3
"""Inverse strength of the penalty on the logistic regression's weights."""
EPOCHS, RATE, BATCH = 12, 0.03, 32
GOLD_SHARE = 0.2
"""Share of the loss that ranks the right passage first; the rest is the loss that separates answerable questions."""
ROOM = 3 << 30

Sets = Mapping[str, Sequence[Example]]


def shares(sets: Sets) -> NDArray[np.float64]:
    """The weights of the examples, with mean 1. A set weighs the square root of its size, so that none dominates."""
    weights = np.concatenate([np.full(len(some), 1 / len(some) ** 0.5) for some in sets.values()])
    return np.asarray(weights * len(weights) / weights.sum())


def fit_matching(some: Sequence[Example], counts: NDArray[np.float64], seed: int) -> Matching:
    """Fits the soft AND whose score of the best sentence separates answerable questions from others."""
    import torch
    from torch.nn import functional

    torch.manual_seed(seed)
    draw = random.Random(seed)  # noqa: S311 - no secret
    start = {"any": 0.0, "stop word": -1.0, "rarity": 0.3, "mark": -2.0}
    weights = torch.tensor([start.get(name, 0.0) for name in TOKEN_CLASSES], requires_grad=True)
    thresholds = torch.tensor([0.6, *[0.0] * (len(TOKEN_CLASSES) - 1)], requires_grad=True)
    steepness, exact, slope, shift = (torch.tensor(value, requires_grad=True) for value in (8.0, 0.1, 3.0, 1.5))
    optimiser = torch.optim.Adam([weights, thresholds, steepness, exact, slope, shift], lr=RATE)
    rows = [
        tuple(torch.tensor(part, dtype=torch.float32) for part in (e.tokens.nearest, e.tokens.exact, e.tokens.classes))
        for e in some
    ]
    order, n_steps = list(range(len(some))), 0
    total = EPOCHS * -(-len(some) // BATCH)
    for _ in range(EPOCHS):
        draw.shuffle(order)
        for begin in range(0, len(order), BATCH):
            losses = []
            for n in order[begin : begin + BATCH]:
                nearest, stands, classes = rows[n]
                heavy = functional.softplus(classes @ weights)
                met = nearest + exact * stands - classes @ thresholds
                scores = (functional.logsigmoid(steepness * met) @ heavy) / heavy.sum().clamp(min=1e-6)
                target = torch.tensor(float(some[n].is_answerable))
                loss = functional.binary_cross_entropy_with_logits(slope * (scores.max() + shift), target)
                losses.append(float(counts[n]) * loss)
            torch.stack(losses).mean().backward()
            n_steps += 1
            for group in optimiser.param_groups:
                group["lr"] = RATE * max(0.05, 1 - n_steps / total)
            optimiser.step()
            optimiser.zero_grad()
    return Matching(
        _rounded(weights.tolist()), _rounded(thresholds.tolist()), round(steepness.item(), 4), round(exact.item(), 4)
    )


def columns(some: Sequence[Example], names: Sequence[str], matching: Matching | None) -> NDArray[np.float64]:
    """The signals of the examples, (n_examples, n_names)."""
    rows = [e.words | (e.evidence.vector_signals(e.tokens, matching) if matching else {}) for e in some]
    return np.array([[row[name] for name in names] for row in rows], np.float64)


def fit_logistic(
    values: NDArray[np.float64], answerable: NDArray[np.bool_], counts: NDArray[np.float64], names: Sequence[str]
) -> Logistic:
    """Fits a logistic regression on standardised signals."""
    from sklearn.linear_model import LogisticRegression

    means, scales = values.mean(axis=0), values.std(axis=0).clip(min=1e-6)
    fitted = LogisticRegression(C=PENALTY, max_iter=5000).fit((values - means) / scales, answerable, counts)
    return Logistic(
        tuple(names),
        _rounded(means.tolist()),
        _rounded(scales.tolist()),
        _rounded(fitted.coef_[0].tolist()),
        round(float(fitted.intercept_[0]), 4),
    )


def calibrated(fit: Logistic, slope: float, shift: float) -> Logistic:
    """The same fit with its logit times slope plus shift (Platt scaling)."""
    weights = _rounded([weight * slope for weight in fit.weights])
    return Logistic(fit.signals, fit.means, fit.scales, weights, round(fit.bias * slope + shift, 4))


def platt(
    logits: NDArray[np.float64], answerable: NDArray[np.bool_], counts: NDArray[np.float64]
) -> tuple[float, float]:
    """The slope and shift that maximise the likelihood of the logits (Platt scaling)."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=1e6).fit(logits[:, None], answerable, counts)
    return float(fitted.coef_[0][0]), float(fitted.intercept_[0])


def logits_of(fit: Logistic, values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((values - np.array(fit.means)) / np.array(fit.scales) @ np.array(fit.weights) + fit.bias)


def folds_of(some: Sequence[Example], seed: int) -> NDArray[np.intp]:
    """The fold of each example. Both examples of a question are in the same fold."""
    questions = sorted({e.question for e in some})
    random.Random(seed).shuffle(questions)  # noqa: S311 - no secret
    fold = {question: n % N_FOLDS for n, question in enumerate(questions)}
    return np.array([fold[e.question] for e in some])


def fit(sets: Sets, embedder_name: str, fingerprint: str, command: str, seed: int) -> Classifier:
    """Fits both classifiers. Their scaling and all figures come from examples that the weights were not fitted on."""
    everything = [e for some in sets.values() for e in some]
    answerable = np.array([e.is_answerable for e in everything])
    counts, folds = shares(sets), folds_of(everything, seed)
    names = {"vectors": (*WORD_SIGNALS, *VECTOR_SIGNALS), "words": WORD_SIGNALS}
    logits = {way: np.zeros(len(everything)) for way in names}
    for fold in range(N_FOLDS):
        train, held = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        matching = fit_matching([everything[n] for n in train], counts[train], seed)
        for way in names:
            values = columns(everything, names[way], matching if way == "vectors" else None)
            logistic = fit_logistic(values[train], answerable[train], counts[train], names[way])
            logits[way][held] = logits_of(logistic, values[held])
    sure = {way: platt(logits[way], answerable, counts) for way in names}
    probabilities = {way: 1 / (1 + np.exp(-(sure[way][0] * logits[way] + sure[way][1]))) for way in names}
    matching = fit_matching(everything, counts, seed)
    fits = {}
    for way in names:
        values = columns(everything, names[way], matching if way == "vectors" else None)
        fits[way] = calibrated(fit_logistic(values, answerable, counts, names[way]), *sure[way])
    metrics, start = {}, 0
    for name, some in sets.items():
        part = slice(start, start := start + len(some))
        metrics[name] = {"n": float(len(some))} | {
            f"{key}_{way}": value
            for way in names
            for key, value in figures(probabilities[way][part], answerable[part]).items()
        }
    metrics["all"] = {
        f"ece_{way}": round(calibration_error(probabilities[way], answerable, counts), 4) for way in names
    }
    return Classifier(
        embedder=fingerprint,
        embedder_name=embedder_name,
        matching=matching,
        vectors=fits["vectors"],
        words=fits["words"],
        data=tuple(f"{' and '.join(FILES[name])}: {len(some) // 2} questions" for name, some in sets.items()),
        n_questions=len(everything) // 2,
        seed=seed,
        date=datetime.now(UTC).date().isoformat(),
        command=command,
        metrics=metrics,
        notes=(
            f"metrics: of {N_FOLDS} folds, each by weights fitted on the others; half of the examples are answerable",
            "balanced: at a probability of 0.5, where a wrong refusal costs as much as a wrong answer; ece: expected "
            "calibration error over ten bins",
        ),
    )


def figures(probabilities: NDArray[np.float64], answerable: NDArray[np.bool_]) -> dict[str, float]:
    is_kept = probabilities >= 0.5
    right, refused = float(is_kept[answerable].mean()), float((~is_kept)[~answerable].mean())
    return {
        "auc": round(auc(probabilities, answerable), 4),
        "balanced": round((right + refused) / 2, 4),
        "answerable_kept": round(right, 4),
        "others_refused": round(refused, 4),
    }


def auc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """The probability that a positive example scores above another one. Ties count half."""
    from scipy.stats import rankdata

    n = int(positive.sum())
    return float((rankdata(scores)[positive].sum() - n * (n + 1) / 2) / (n * (len(scores) - n)))


def calibration_error(
    probabilities: NDArray[np.float64], answerable: NDArray[np.bool_], counts: NDArray[np.float64], n_bins: int = 10
) -> float:
    """The expected calibration error: the mean distance, over bins, of probability and answerable share."""
    bins = np.minimum((probabilities * n_bins).astype(int), n_bins - 1)
    error = 0.0
    for n in range(n_bins):
        in_bin = bins == n
        if in_bin.any():
            gap = np.average(probabilities[in_bin], weights=counts[in_bin]) - np.average(
                answerable[in_bin], weights=counts[in_bin]
            )
            error += abs(float(gap)) * float(counts[in_bin].sum())
    return error / float(counts.sum())


def _rounded(numbers: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(float(number), 4) for number in numbers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=SHIPPED)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--sets", nargs="+", choices=sorted(N_QUESTIONS), default=list(N_QUESTIONS))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        remembered.KEPT = remembered.Kept(ROOM)
        embedder = open_embedder("minilm")
        sets: dict[str, list[Example]] = {}
        for name in options.sets:
            sets[name] = []
            for corpus in corpora(name, options.data, N_QUESTIONS[name], options.seed, N_CORPORA):
                sets[name] += examples(corpus, embedder)
                print(f"{name}: {len(sets[name]) // 2} questions searched for", file=sys.stderr, flush=True)
        command = shlex.join(["python", "-m", "training.abstain.fit", *sys.argv[1:]])
        classifier = fit(sets, embedder.name, embedder.fingerprint, command, options.seed)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_json(options.out, asdict(classifier))
    except LongthreadError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    report: dict[str, Any] = asdict(classifier)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
