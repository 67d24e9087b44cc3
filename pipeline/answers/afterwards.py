"""The second place to say no: after the model answered.

The gate judges a question by the passages found. Now more is known: how well the best sentence bears on the question,
by the compressor that chose it, and how well the sentences that the answer stands on do. A question whose answer is not
in the documents is often answered from a sentence beside the question. Logistic regression on these and on the gate's
probability; a pure function of the state, so that batches and Ray call it as `ask` does. Ours; no paper.

Fitted on 80 questions about documents of our own (60 with an answer), answered by Qwen2.5-Coder-0.5B, both kinds
weighing the same: cross-validated AUC 0.94, against 0.86 for the gate's probability alone; without the answer's
evidence 0.89. How likely the model found its own answer (mean, least and first token's log-probability) added nothing
to that (docs/experiments.md).
"""

from __future__ import annotations

import math

MIN_PROBABILITY = 0.4
"""Below it the documents are taken not to hold the answer: on the questions of the fit 95 % of those with an answer
pass, and 85 % of the others are refused."""

_LOGIT, _RELEVANCE, _BEST, _BIAS = 0.579, 5.005, 13.857, -17.4
_LOGIT_ALONE, _BEST_ALONE, _BIAS_ALONE = 0.643, 11.205, -10.682
_LEAST = 0.005


def probability_after(answerable: float, best: float, relevance: float | None) -> float:
    """The probability that the documents hold the answer, in (0, 1).

    `answerable` is the gate's probability; `best` the score, in [0, 1], of the sentence nearest to the question;
    `relevance` the least score of the answer's evidence as a share of `best`, 0 without evidence, and None where the
    answer's words say nothing about it (a plain yes, or a model whose answers are led by quotes).
    """
    p = min(max(answerable, _LEAST), 1 - _LEAST)
    logit = math.log(p / (1 - p))
    if relevance is None:
        z = _LOGIT_ALONE * logit + _BEST_ALONE * best + _BIAS_ALONE
    else:
        z = _LOGIT * logit + _RELEVANCE * relevance + _BEST * best + _BIAS
    return 1 / (1 + math.exp(-z))
