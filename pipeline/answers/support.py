"""gate.support: refuses a question whose answer the passages are not likely to hold.

A small classifier (pipeline/answers/answerable.py, fitted by training/abstain) estimates the probability that the
documents hold the answer, from how well the passages match each part of the question, with vectors or by words alone.
The gate refuses a question below a threshold, which follows from the relative cost of a wrong refusal and a wrong
answer. Ours; the soft AND over a question's tokens is after ColBERT's late interaction.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.answers.answerable import QuestionEvidence
from pipeline.answers.classifier import shipped
from pipeline.checks import in_range
from pipeline.contracts import Runtime
from pipeline.errors import SettingError
from pipeline.registry import check_types
from pipeline.retrieval.scope import size_of
from pipeline.text.counting import below, counted
from pipeline.types import Answer, Citation, Passage, Question

REFUSAL = "The documents do not hold the answer."
N_NEAREST = 2
"""Sentences shown with a refusal."""
_WORD = re.compile(r"\w+(?:[-'’]\w+)*")
_ENGLISH = frozenset(
    "what which who whom whose when where why how is are was were does did the of a an from with that by for on".split()
)


@dataclass(frozen=True)
class Verdict:
    """The gate's decision.

    `probability`: that the documents hold the answer; None if the classifier did not run. `why`: the reason to refuse,
    with its figures; None if the question passes. `nearest`: the sentences nearest to the question, best first, each
    with the position of its passage.
    """

    probability: float | None
    why: str | None
    nearest: tuple[tuple[int, Passage], ...] = ()

    def answer(self, passages: Sequence[Passage]) -> Answer:
        """Converts the refusal to an answer that cites the nearest sentences."""
        citations = tuple(Citation(n + 1, "question", passages[n], quote, quote.score) for n, quote in self.nearest)
        return Answer(REFUSAL, citations, is_abstention=True, why=self.why or "", by="gate")


@dataclass(frozen=True)
class Support:
    """Refuses a question whose answer the passages found are not likely to hold.

    The classifier was fitted on questions in English, of which half had their answers in the documents. A question in
    another language is refused only by `min_similarity` and `min_coverage`.

    Example: `gate.support: {cost: 3}`

    :param cost: cost of refusing a question that has an answer, relative to answering one that has none, greater than
        0. The threshold is 1 / (1 + cost): the larger the cost, the fewer questions are refused.
    :param threshold: probability below which a question is refused, in [0, 1]; null: 1 / (1 + cost).
    :param min_similarity: cosine of the question and the nearest passage below which a question is refused, in [-1, 1];
        null: words alone decide, without vectors.
    :param sure_similarity: cosine from which on no question is refused, in [-1, 1].
    :param min_coverage: share of the question's content words, in [0, 1]: with fewer of them in the passages a question
        is refused, whatever the classifier's probability.
    """

    cost: float = 6.0
    threshold: float | None = None
    min_similarity: float | None = 0.1
    sure_similarity: float = 1.0
    min_coverage: float = 0.0

    def __post_init__(self) -> None:
        check_types(self, Support)
        if not self.cost > 0:
            raise SettingError("cost", f"must be greater than 0, was: {self.cost}")
        in_range("threshold", self.threshold, 0, 1)
        in_range("min_similarity", self.min_similarity, -1, 1)
        in_range("sure_similarity", self.sure_similarity, -1, 1)
        in_range("min_coverage", self.min_coverage, 0, 1)

    @property
    def needs_embedder(self) -> bool:
        return self.min_similarity is not None

    @property
    def least(self) -> float:
        """The least probability with which a question passes."""
        return 1 / (1 + self.cost) if self.threshold is None else self.threshold

    def refuse(self, question: Question, passages: Sequence[Passage], runtime: Runtime) -> str | None:
        """Returns why the passages do not hold the answer, with the figures; None if they may."""
        return self.judge(question, passages, runtime).why

    def judge(self, question: Question, passages: Sequence[Passage], runtime: Runtime) -> Verdict:
        """Like `refuse`, with the probability and the nearest sentences."""
        if runtime.searches_index:
            n_passages, n_documents = size_of(runtime.index, runtime.scope(question))
            searched = f"searched {counted(n_passages, 'passage')} of {counted(n_documents, 'document')}"
        else:
            n_documents = len(question.documents or {passage.source for passage in passages})
            searched = f"read {counted(len(passages), 'passage')} of {counted(n_documents, 'document')}"
        if not passages:
            return Verdict(0.0, f"{searched}, found none")
        evidence = QuestionEvidence.of(question.query, passages)
        values, similarity, scores = self._read(evidence, runtime)
        nearest = _nearest(evidence, scores)
        if not evidence.words:
            return Verdict(None, None, nearest)  # a question of stop words: nothing to judge by
        fit = shipped().words if len(values) == len(shipped().words.signals) else shipped().vectors
        probability = fit.probability(values)
        share = values["all_coverage"]
        if similarity is not None and self.min_similarity is not None and similarity < self.min_similarity:
            return Verdict(probability, f"{searched}: {_near(similarity)}, below {self.min_similarity:.3g}", nearest)
        if similarity is not None and similarity >= self.sure_similarity:
            return Verdict(probability, None, nearest)
        if share < self.min_coverage:
            near = "" if similarity is None else f" ({_near(similarity)})"
            return Verdict(
                probability,
                f"{searched}: only {share:.0%} of the question's words stand in the best {len(passages)}{near}",
                nearest,
            )
        if not is_english(question.query):
            return Verdict(None, None, nearest)
        if probability >= self.least:
            return Verdict(probability, None, nearest)
        why = f"{searched}: they hold the answer with a probability of {below(probability, self.least)}"
        missing = evidence.missing
        return Verdict(probability, f"{why}; nothing near says: {', '.join(missing)}" if missing else why, nearest)

    def _read(self, evidence: QuestionEvidence, runtime: Runtime) -> tuple[dict[str, float], float | None, list[float]]:
        """Returns the signals, the cosine of the nearest passage (None without vectors), and each sentence's score."""
        values = evidence.word_signals()
        if self.min_similarity is None:
            return values, None, evidence.coverage
        tokens = evidence.token_match(runtime.embedder)
        classifier = shipped()
        scores = classifier.matching.scores(tokens.nearest, tokens.exact, tokens.classes).tolist()
        if runtime.embedder.fingerprint != classifier.embedder:
            runtime.note(
                f"gate.support was fitted with another embedder than {runtime.embedder.name}: it decides by words alone"
            )
            return values, tokens.cosine, scores
        return values | evidence.vector_signals(tokens, classifier.matching), tokens.cosine, scores


def is_english(question: str) -> bool:
    """Whether the question has a common English word, or is too short to tell."""
    words = [word.casefold() for word in _WORD.findall(question)]
    return len(words) < 3 or not _ENGLISH.isdisjoint(words)


def _near(similarity: float) -> str:
    return f"the nearest has a similarity of {similarity:.3f}"


def _nearest(evidence: QuestionEvidence, scores: Sequence[float]) -> tuple[tuple[int, Passage], ...]:
    """Returns the best sentences, by the compressor's scores if there are any, else by these."""
    scored = {(p.source, s.start, s.end): s.score for p in evidence.passages for s in p.sentences}
    if scored:
        scores = [scored.get((s.source, s.start, s.end), float("-inf")) for s in evidence.sentences]
    best = sorted(range(len(scores)), key=lambda n: (-scores[n], n))[:N_NEAREST]
    return tuple((evidence.owners[n], evidence.sentences[n]) for n in best)
