"""The second refusal check: it runs after the model answered, where the gate passed a question without being sure.

Before the model reads, the gate refuses only questions that hardly any passage bears on, because a wrong refusal costs
an answer. After the model answered, its evidence is known. Models whose documents do not hold the answer give unusable
answers, or answers from a sentence beside the question, so a weaker doubt is enough here. An answer from the sentence
nearest to the question is shown. The rule is readable and uses the gate's fitted probability; it is ours and follows no
paper. It is a pure function, so batches and Ray decide as `ask` does.

The thresholds were measured on our own questions (docs/experiments.md). A logistic regression on the gate's
probability, the best sentence's score and the answer's evidence did better there. It did not transfer to another
corpus, whose scores are lower.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.text.counting import below

UNSURE = 0.5
"""Threshold on the gate's probability: below it an answer needs evidence near the question."""
UNSURE_ALONE = 0.2
"""The threshold where quotes lead the answers, since the model's words are no evidence there."""
MIN_HELD = 0.4
"""Least share of the question's words, each weighted by its rarity, that the passages found hold where the gate was
unsure."""
MIN_MISSING = 2
"""Least number of the question's words that no passage found holds: one word may be another for the same thing."""


def doubt_of_words(answerable: float | None, held: float, missing: Sequence[str]) -> str:
    """Returns why the documents probably lack the answer, by the question's words, or an empty string.

    `held` is the share of their weight that the passages found hold, in [0, 1]; `missing` are those that no passage
    holds. The row "crane licence, approved by the harbour master" is no answer about the salary of his secretary.
    """
    if answerable is None or answerable >= UNSURE or held >= MIN_HELD or len(missing) < MIN_MISSING:
        return ""
    return (
        f"the documents hold the answer with a probability of {answerable:.2f}, and no passage that was found says: "
        f"{', '.join(missing)}"
    )


def doubt(answerable: float | None, unusable: str, is_led_by_quote: bool) -> str:
    """Returns why the documents probably lack the answer, or an empty string.

    `answerable` is the gate's probability; None if no gate judged. `unusable` says what is wrong with the answer.
    """
    if answerable is None:
        return ""
    if is_led_by_quote:
        if answerable >= UNSURE_ALONE:
            return ""
        return f"the documents hold the answer with a probability of {below(answerable, UNSURE_ALONE)}"
    if answerable >= UNSURE or not unusable:
        return ""
    return (
        f"the documents hold the answer with a probability of {answerable:.2f}, and of the model's answer: {unusable}"
    )
