"""The statistics against other ways to the same numbers."""

import itertools

import numpy as np
import pytest
from scipy import stats

from pipeline.evaluation.statistics import Interval, holm, mean_interval, paired


def pairs(n: int, seed: int, shift: float = 0.1) -> tuple[list[float], list[float]]:
    rng = np.random.default_rng(seed)
    first = rng.random(n).round(2)
    return first.tolist(), (first + rng.normal(shift, 0.3, n)).round(2).tolist()


@pytest.mark.parametrize("n", [2, 5, 9, 12])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_p_is_that_of_all_ways_to_flip_signs(n: int, seed: int) -> None:
    first, second = pairs(n, seed)
    differences = np.array(second) - np.array(first)
    means = [abs(np.mean(differences * signs)) for signs in itertools.product((1, -1), repeat=n)]
    exact = np.mean([mean >= abs(differences.mean()) - 1e-12 for mean in means])
    assert paired(first, second).p == pytest.approx(exact)


def test_p_of_wins_and_losses_alone_is_the_sign_test() -> None:
    """For 0 and 1 a flip of signs is a coin: 9 wins of 11."""
    second = [1.0] * 9 + [0.0] * 2 + [0.5] * 20
    first = [0.0] * 9 + [1.0] * 2 + [0.5] * 20
    pair = paired(first, second)
    assert (pair.wins, pair.losses, pair.ties) == (9, 2, 20)
    assert pair.p == pytest.approx(stats.binomtest(9, 11).pvalue)


def test_a_large_sample_agrees_with_t() -> None:
    first, second = pairs(400, 3, shift=0.03)
    pair = paired(first, second)
    t = stats.ttest_rel(second, first)
    low, high = t.confidence_interval(0.95)
    assert pair.difference.mean == pytest.approx(np.mean(second) - np.mean(first))
    assert pair.difference.low == pytest.approx(low, abs=0.004)
    assert pair.difference.high == pytest.approx(high, abs=0.004)
    assert pair.p == pytest.approx(t.pvalue, abs=0.02)


def test_the_interval_is_that_of_drawing_by_hand() -> None:
    values = pairs(40, 5)[0]
    rng = np.random.default_rng(99)
    draws = [np.mean(rng.choice(values, len(values))) for _ in range(20_000)]
    interval = mean_interval(values, seed=1)
    assert (interval.low, interval.high) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.006)
    assert mean_interval(values, seed=1) == interval
    assert mean_interval(values, seed=2) != interval


def test_95_of_100_intervals_hold_the_truth() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for n in range(200):
        interval = mean_interval(rng.normal(0.5, 0.2, 60).tolist(), seed=n)
        assert interval.low is not None
        assert interval.high is not None
        held += interval.low <= 0.5 <= interval.high
    assert 180 <= held <= 198


def test_the_edges() -> None:
    assert mean_interval([0.25]) == Interval(0.25, None, None, 1)
    assert mean_interval([0.5, 0.5, 0.5]) == Interval(0.5, 0.5, 0.5, 3)
    same = paired([1.0, 2.0], [1.0, 2.0])
    assert (same.p, same.ties, same.difference.mean) == (1.0, 2, 0.0)
    assert paired([1.0], [2.0]).p == 1.0
    less = paired([1.0, 2.0, 3.0], [0.0, 1.0, 4.0], more_is_better=False)
    assert (less.wins, less.losses, less.ties) == (2, 1, 0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_no_number_is_never_averaged(bad: float) -> None:
    with pytest.raises(ValueError, match="leave it out and count it"):
        mean_interval([0.1, bad])
    with pytest.raises(ValueError, match="leave it out and count it"):
        paired([0.1, 0.2], [0.1, bad])
    with pytest.raises(ValueError, match="needs at least one value"):
        mean_interval([])
    with pytest.raises(ValueError, match="there are 1 and 2"):
        paired([0.1], [0.1, 0.2])


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([0.02]) == [0.02]
    assert holm([]) == []
