"""The second place to say no: after the model answered, where the gate was not sure and nothing supports the answer.

A pure function of the state, without vectors and without a model, so batches and Ray can call it anywhere. The rule can
be read; it is not fitted. Ours; no paper.
"""

from __future__ import annotations

from pipeline.answers.answerable import Evidence, words_of
from pipeline.answers.classifier import shipped
from pipeline.types import State

SURE = 0.5
"""The probability that the documents hold the answer from which nothing is asked of the answer."""
MIN_SUPPORT = 0.5
"""The share of the answer's words, without those of the question, that one sentence has to hold.

Only sentences that share a word with the question count.
"""

_YES_AND_NO = frozenset(words_of("yes no true false"))


def unsupported_after(state: State, sure: float = SURE) -> str | None:
    """Why the documents do not hold the answer, now that it is there; None where they may.

    Asked of answers that a model gave and that are not refusals already. An answer that adds no word to the question's,
    such as a yes, is not judged. The probability is the one that the gate left in the state, or by words alone where no
    gate did.
    """
    answer, passages = state.answer, state.found or state.passages or state.shown
    if answer is None or answer.is_abstention or answer.by != "model" or not passages:
        return None
    evidence = Evidence.of(state.question.text, passages)
    added = frozenset(words_of(answer.text)) - frozenset(evidence.words) - _YES_AND_NO
    if not added or not evidence.words:
        return None
    probability = state.answerable
    if probability is None:
        probability = shipped().words.probability(evidence.word_signals())
    if probability >= sure:
        return None
    bears = [words for words, share in zip(evidence.sentence_words, evidence.coverage, strict=True) if share > 0]
    support = max((len(added & words) / len(added) for words in bears), default=0.0)
    if support >= MIN_SUPPORT:
        return None
    return (
        f"the documents hold the answer with a probability of {probability:.2f}, and no sentence near the question "
        f"says more than {support:.0%} of what the model answered"
    )
