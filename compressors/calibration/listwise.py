"""Weights by which the units that support an answer stand out from the others of their question; how sure scores are.

Weights are found by ListNet's top one (Cao et al. 2007, "Learning to rank: from pairwise approach to listwise
approach"): a softmax over a question's units, of which those that support are to have the probability. What is weighed
is then comparable within a question alone; a slope and a shift make it a probability (Platt 1999).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Questions:
    """Which units support, of all questions one after the other, bool (n_units,).

    `starts` are where questions begin, (n_questions,); `shares` what each of them counts, summing to 1.
    """

    supports: NDArray[np.bool_]
    starts: NDArray[np.intp]
    shares: NDArray[np.float64]

    @classmethod
    def of(cls, sets: Iterable[Sequence[Sequence[bool] | NDArray[np.bool_]]]) -> Questions:
        """Of each set its questions, of each question which units support (one at least). A set counts as another, in
        it each question as another.
        """
        found = [one for one in sets if len(one)]
        questions = [np.asarray(question, bool) for one in found for question in one]
        shares = [1 / len(found) / len(one) for one in found for _ in one]
        starts = np.cumsum([0, *(len(one) for one in questions[:-1])])
        return cls(np.concatenate(questions), starts, np.array(shares))

    def weights_for(self, columns: NDArray[np.floating], penalty: float) -> tuple[NDArray[np.float64], float]:
        """The weights of the columns of (n_units, n_columns), and the loss with them, in nats a question.

        `penalty` is of a weight's square. Where several units support, each counts the same.
        """
        from scipy.optimize import minimize

        matrix = np.ascontiguousarray(columns, np.float64)
        n_right = np.add.reduceat(self.supports, self.starts, dtype=np.float64)
        wanted = self.supports / self._spread(n_right)
        share = self._spread(self.shares)

        def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            scores = matrix @ weights
            scores -= self._spread(np.maximum.reduceat(scores, self.starts))
            odds = np.exp(scores)
            total = np.add.reduceat(odds, self.starts)
            missed = share * wanted @ (self._spread(np.log(total)) - scores)
            slope = (share * (odds / self._spread(total) - wanted)) @ matrix
            return float(missed + penalty * weights @ weights), slope + 2 * penalty * weights

        found = minimize(loss, np.zeros(matrix.shape[1]), jac=True, method="L-BFGS-B")
        return np.asarray(found.x, np.float64), float(found.fun)

    def sureness(self, scores: NDArray[np.float64]) -> tuple[float, float]:
        """The slope and the shift that make scores (n_units,) probabilities with the least log loss."""
        from scipy.optimize import minimize

        share = self._spread(self.shares / self._sizes)

        def loss(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            logits = x[0] * scores + x[1]
            off = share * (1 / (1 + np.exp(-logits)) - self.supports)
            return self.log_loss(scores, (x[0], x[1])), np.array([off @ scores, off.sum()])

        found = minimize(loss, (1.0, 0.0), jac=True, method="BFGS").x
        return round(float(found[0]), 4), round(float(found[1]), 4)

    def log_loss(self, scores: NDArray[np.float64], slope_and_shift: tuple[float, float]) -> float:
        """In nats a unit, a question's units counting the same."""
        logits = slope_and_shift[0] * scores + slope_and_shift[1]
        losses = np.logaddexp(0, np.where(self.supports, -logits, logits))
        return float(self.shares @ (np.add.reduceat(losses, self.starts) / self._sizes))

    @property
    def _sizes(self) -> NDArray[np.intp]:
        return np.diff([*self.starts, len(self.supports)])

    def _spread(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """A value for each question as one for each of its units."""
        return np.repeat(values, self._sizes)
