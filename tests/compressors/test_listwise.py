"""Weights that are fitted within questions, beside the same sums written out question by question."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from compressors.calibration.listwise import Questions

Rows = list[tuple[NDArray[np.float64], NDArray[np.bool_]]]


def drawn(n: int, seed: int, told_by: int) -> Rows:
    """Questions of two to nine units and three columns; one or two units with high values in one column support."""
    draw = np.random.default_rng(seed)
    groups = []
    for _ in range(n):
        columns = draw.normal(size=(int(draw.integers(2, 10)), 3))
        supports = np.zeros(len(columns), bool)
        noisy = columns[:, told_by] + 0.5 * draw.normal(size=len(columns))
        supports[np.argsort(-noisy)[: int(draw.integers(1, 3))]] = True
        groups.append((columns, supports))
    return groups


def plain_loss(weights: NDArray[np.float64], sets: list[Rows], penalty: float) -> float:
    total = penalty * sum(w * w for w in weights)
    for rows in sets:
        for columns, supports in rows:
            odds = [math.exp(float(row @ weights)) for row in columns]
            right = [n for n, is_right in enumerate(supports) if is_right]
            total -= sum(math.log(odds[n] / sum(odds)) for n in right) / len(right) / len(rows) / len(sets)
    return float(total)


def stacked(sets: list[Rows]) -> tuple[Questions, NDArray[np.float64]]:
    questions = Questions.of([[supports for _, supports in rows] for rows in sets])
    return questions, np.vstack([columns for rows in sets for columns, _ in rows])


def test_the_weights_are_the_least_of_the_loss_as_it_is_written_out() -> None:
    sets = [drawn(40, 0, 0), drawn(7, 1, 2)]
    questions, columns = stacked(sets)
    weights, loss = questions.weights_for(columns, 0.1)
    assert loss == pytest.approx(plain_loss(weights, sets, 0.1), abs=1e-9)
    for step in 0.01 * np.vstack([np.eye(3), -np.eye(3)]):
        assert plain_loss(weights + step, sets, 0.1) > loss


def test_large_numbers_do_not_overflow() -> None:
    questions, columns = stacked([drawn(20, 0, 0)])
    with np.errstate(all="raise", under="ignore"):
        weights, loss = questions.weights_for(1e4 * columns, 1e-9)
    assert np.isfinite(weights).all()
    assert loss < 1.2


def test_a_small_set_counts_as_much_as_a_large_one_and_an_empty_one_not_at_all() -> None:
    """Where two sets disagree, neither wins by its size."""
    questions, columns = stacked([drawn(1000, 0, 0), drawn(100, 1, 1), []])
    assert questions.shares.sum() == pytest.approx(1)
    weights, _ = questions.weights_for(columns, 0.01)
    assert weights[0] == pytest.approx(weights[1], rel=0.3)
    assert abs(weights[2]) < 0.2


def test_a_penalty_keeps_the_weights_of_few_questions_small() -> None:
    questions, columns = stacked([drawn(3, 0, 0)])
    free, held = (np.abs(questions.weights_for(columns, penalty)[0]).max() for penalty in (1e-6, 0.1))
    assert held < 2 < 10 < free


@pytest.mark.parametrize(("slope", "shift"), [(0.5, -1.0), (3.0, 2.0)])
def test_scores_become_the_probabilities_that_they_are(slope: float, shift: float) -> None:
    """Half of the questions are short, and say yes less often: they count as much as the long ones."""
    draw = np.random.default_rng(0)
    true = [draw.normal(size=2 if n % 2 else 40) * 2 - 2 * (n % 2) for n in range(800)]
    supports = [draw.random(len(logits)) < 1 / (1 + np.exp(-logits)) for logits in true]
    questions = Questions.of([supports])
    scores = (np.concatenate(true) - shift) / slope
    scaling = questions.sureness(scores)
    assert scaling == pytest.approx((slope, shift), rel=0.1, abs=0.15)
    least = questions.log_loss(scores, scaling)
    for step in ((0.01 * slope, 0.0), (-0.01 * slope, 0.0), (0.0, 0.02), (0.0, -0.02)):
        assert questions.log_loss(scores, (scaling[0] + step[0], scaling[1] + step[1])) > least
    by_hand = [np.mean(np.log1p(np.exp(np.where(s, -z, z)))) for s, z in zip(supports, true, strict=True)]
    assert questions.log_loss(scores, (slope, shift)) == pytest.approx(float(np.mean(by_hand)))
    assert questions.log_loss(scores, (0.0, 0.0)) == pytest.approx(math.log(2))
