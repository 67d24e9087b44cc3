"""Fits weights that rank supporting units above the others of their question, and calibrates the scores.

The weights come from ListNet's top-one loss (Cao et al. 2007, "Learning to rank: from pairwise approach to listwise
approach"): a softmax over a question's units should put all probability on the supporting ones. The resulting scores
are comparable only within a question. A slope and a shift turn them into probabilities (Platt 1999).
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
    """The labels of all questions' units, concatenated: `supports`, bool (n_units,).

    `starts`, (n_questions,), are the questions' first units. `shares`, (n_questions,), are their weights in the loss,
    and sum to 1.
    """

    supports: NDArray[np.bool_]
    starts: NDArray[np.intp]
    shares: NDArray[np.float64]

    @classmethod
    def of(cls, sets: Iterable[Sequence[Sequence[bool] | NDArray[np.bool_]]]) -> Questions:
        """Concatenates sets of questions, each the labels of its units, with at least one supporting unit.

        All sets have the same weight, and all questions within a set.
        """
        filled = [group for group in sets if len(group)]
        questions = [np.asarray(question, bool) for group in filled for question in group]
        shares = [1 / len(filled) / len(group) for group in filled for _ in group]
        starts = np.cumsum([0, *(len(question) for question in questions[:-1])])
        return cls(np.concatenate(questions), starts, np.array(shares))

    def weights_for(self, columns: NDArray[np.floating], penalty: float) -> tuple[NDArray[np.float64], float]:
        """Fits a weight for each column of (n_units, n_columns). Gives the weights and their loss in nats per question.

        `penalty` is the L2 penalty of the weights. Several supporting units share their question's probability equally.
        """
        from scipy.optimize import minimize

        matrix = np.ascontiguousarray(columns, np.float64)
        n_right = np.add.reduceat(self.supports, self.starts, dtype=np.float64)
        wanted = self.supports / self._spread(n_right)
        share = self._spread(self.shares)

        def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            scores = matrix @ weights
            # Subtract each question's maximum, so that exp() cannot overflow.
            scores -= self._spread(np.maximum.reduceat(scores, self.starts))
            odds = np.exp(scores)
            total = np.add.reduceat(odds, self.starts)
            missed = share * wanted @ (self._spread(np.log(total)) - scores)
            slope = (share * (odds / self._spread(total) - wanted)) @ matrix
            return float(missed + penalty * weights @ weights), slope + 2 * penalty * weights

        result = minimize(loss, np.zeros(matrix.shape[1]), jac=True, method="L-BFGS-B")
        return np.asarray(result.x, np.float64), float(result.fun)

    def sureness(self, scores: NDArray[np.float64]) -> tuple[float, float]:
        """Fits the slope and shift that turn scores, (n_units,), into probabilities with the least log loss."""
        from scipy.optimize import minimize

        share = self._spread(self.shares / self._sizes)

        def loss(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            logits = x[0] * scores + x[1]
            off = share * (1 / (1 + np.exp(-logits)) - self.supports)
            return self.log_loss(scores, (x[0], x[1])), np.array([off @ scores, off.sum()])

        solution = minimize(loss, (1.0, 0.0), jac=True, method="BFGS").x
        return round(float(solution[0]), 4), round(float(solution[1]), 4)

    def log_loss(self, scores: NDArray[np.float64], slope_and_shift: tuple[float, float]) -> float:
        """The log loss in nats per unit. All units of a question have the same weight."""
        logits = slope_and_shift[0] * scores + slope_and_shift[1]
        losses = np.logaddexp(0, np.where(self.supports, -logits, logits))
        return float(self.shares @ (np.add.reduceat(losses, self.starts) / self._sizes))

    @property
    def _sizes(self) -> NDArray[np.intp]:
        return np.diff([*self.starts, len(self.supports)])

    def _spread(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Repeats each question's value for each of its units."""
        return np.repeat(values, self._sizes)
