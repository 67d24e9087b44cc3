"""Means with intervals, and differences of paired measurements, all seeded.

Intervals are percentile bootstraps (Efron 1979) with 9999 draws. p values come from a two-sided permutation test that
flips the signs of the differences at random, or tries all flips if there are at most 9999. Several comparisons at once
raise the chance of a false alarm: `holm` corrects for it (Holm 1979).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 9999
CONFIDENCE = 0.95
ALPHA = 0.05
_BATCH = 500  # draws at a time: bounds the memory


@dataclass(frozen=True)
class Interval:
    """A mean over n values with its 95 % confidence interval; `low` and `high` are None if n is below 2."""

    mean: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Paired:
    """The second run against the first, on the same questions.

    `difference` is the mean of second minus first. `wins` counts the questions on which the second is better. The
    caller says which direction is better.
    """

    difference: Interval
    p: float
    wins: int
    losses: int
    ties: int


def mean_interval(values: Sequence[float], seed: int = 0) -> Interval:
    """The mean with its bootstrap interval. Raises ValueError without values."""
    if not len(values):
        raise ValueError("a mean needs at least one value, there are none")
    array = _finite(values)
    mean = float(array.mean())
    if len(array) < 2:
        return Interval(mean, None, None, 1)
    if np.ptp(array) == 0:  # all resamples are the same, and scipy warns about that
        return Interval(mean, mean, mean, len(array))
    from scipy.stats import bootstrap

    interval = bootstrap(
        (array,),
        np.mean,
        n_resamples=DRAWS,
        batch=_BATCH,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(mean, float(interval.low), float(interval.high), len(array))


def paired(first: Sequence[float], second: Sequence[float], more_is_better: bool = True, seed: int = 0) -> Paired:
    """Compares two equally long lists of values, pair by pair."""
    if len(first) != len(second):
        raise ValueError(f"pairs need as many of one as of the other, there are {len(first)} and {len(second)}")
    differences = _finite(second) - _finite(first)
    better = int((differences > 0).sum()), int((differences < 0).sum())
    wins, losses = better if more_is_better else better[::-1]
    ties = len(differences) - wins - losses
    return Paired(mean_interval(differences.tolist(), seed), _permutation_p(differences, seed), wins, losses, ties)


def _permutation_p(differences: np.ndarray, seed: int) -> float:
    """How often random signs give a mean at least as far from 0. Differences of 0 are left out: they have no sign."""
    nonzero = differences[differences != 0]
    if not len(nonzero):
        return 1.0
    from scipy.stats import permutation_test

    def statistic(values: np.ndarray, axis: int) -> np.ndarray:
        return np.asarray(np.mean(values, axis=axis))

    if len(nonzero) == 1:  # scipy asks for two
        return 1.0
    result = permutation_test(
        (nonzero,),
        statistic,
        permutation_type="samples",
        vectorized=True,
        n_resamples=DRAWS,
        batch=_BATCH,
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrects p values for their number (Holm 1979). Keeps their order."""
    order = sorted(range(len(p_values)), key=lambda n: p_values[n])
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, n in enumerate(order):
        # The running maximum keeps the order: a larger p stays at least as large after the correction.
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[n]))
        corrected[n] = highest
    return corrected


def _finite(values: Sequence[float]) -> np.ndarray:
    array = np.asarray(values, float)
    if not np.isfinite(array).all():
        raise ValueError("values must be numbers, and one is not: leave it out and count it")
    return array


def wilson(hits: int, n: int) -> Interval:
    """The share of hits in n trials, with Wilson's interval (1927), which stays sound near 0 and 1."""
    if not 0 <= hits <= n or n < 1:
        raise ValueError(f"hits must be in [0, n] and n at least 1, were: {hits} and {n}")
    z = 1.959963984540054
    share, middle = hits / n, (hits + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * float(np.sqrt(hits * (n - hits) / n + z * z / 4))
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half), n)
