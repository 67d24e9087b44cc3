"""The second place to say no: after the model answered, where the gate let a question pass and was not sure.

Before the model reads, only what hardly any passage bears on is refused: a wrong refusal costs an answer. Now it is
known what the answer stands on. An answer that is unusable, or that stands on a sentence beside the question, is what a
model gives whose documents do not hold the answer, so half a doubt is enough; an answer from the sentence nearest to
the question is shown. A rule that can be read, on the fitted probability of the gate; ours, no paper. A pure function,
so that batches and Ray decide as `ask` does.

Refused and kept were measured on questions of our own (docs/experiments.md). A logistic regression on the gate's
probability, the best sentence's score and the answer's evidence was better there and did not carry over to another
corpus, whose scores are lower.
"""

from __future__ import annotations

UNSURE = 0.5
"""The gate's probability below which an answer needs evidence near the question."""
UNSURE_ALONE = 0.25
"""The same where the model's words say nothing about it, since quotes lead its answers."""


def doubt(answerable: float | None, unusable: str, is_led_by_quote: bool) -> str:
    """Why the documents are taken not to hold the answer; empty where they may.

    `answerable` is the gate's probability, None where no gate judged; `unusable` says what is wrong with the answer.
    """
    if answerable is None:
        return ""
    if is_led_by_quote:
        if answerable >= UNSURE_ALONE:
            return ""
        return f"the documents hold the answer with a probability of {answerable:.2f}, below {UNSURE_ALONE:.2f}"
    if answerable >= UNSURE or not unusable:
        return ""
    return (
        f"the documents hold the answer with a probability of {answerable:.2f}, and of the model's answer: {unusable}"
    )
