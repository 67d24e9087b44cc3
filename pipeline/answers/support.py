"""gate.support: does what was found bear on the question? If not, the answer is "not in the documents", not a guess.

A rule that can be read, on two figures: how near the nearest passage is to the question in meaning (cosine of the
embedder), and how many of the question's content words stand in the passages at all. Ours; no paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.contracts import Tools
from pipeline.text.words import content_words, coverage
from pipeline.types import Passage, Question


@dataclass(frozen=True)
class Support:
    """Refuses a question that the passages found do not bear on.

    Refused when the nearest passage's cosine is below `min_similarity`, or when it is below `sure_similarity` and the
    share of the question's content words that stand in the passages is below `min_coverage`.

    :param min_similarity: cosine below which nothing is near enough, in [-1, 1]; None: the words alone decide.
    :param sure_similarity: cosine from which the words are no longer asked, in [-1, 1].
    :param min_coverage: share of the question's content words, in [0, 1].
    """

    min_similarity: float | None = 0.25
    sure_similarity: float = 0.6
    min_coverage: float = 0.5

    def __post_init__(self) -> None:
        if self.min_similarity is not None and not -1 <= self.min_similarity <= 1:
            raise ValueError(f"min_similarity must be in [-1, 1], was: {self.min_similarity}")
        if not -1 <= self.sure_similarity <= 1:
            raise ValueError(f"sure_similarity must be in [-1, 1], was: {self.sure_similarity}")
        if not 0 <= self.min_coverage <= 1:
            raise ValueError(f"min_coverage must be in [0, 1], was: {self.min_coverage}")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset() if self.min_similarity is None else frozenset({"embedder"})

    def refuse(self, question: Question, passages: Sequence[Passage], tools: Tools) -> str | None:
        """Why the passages do not hold the answer, with the figures; None where they may."""
        searched = f"searched {tools.index.n_chunks} passages of {len(tools.index.sources)} documents"
        if not passages:
            return f"{searched}, found none"
        words = content_words(question.text)
        share = coverage(words, "\n".join(f"{passage.title} {passage.text}" for passage in passages))
        if self.min_similarity is None:
            similarity = -1.0
        else:
            similarity = self.similarity(question, passages, tools)
            if similarity < self.min_similarity:
                return f"{searched}: the nearest has a similarity of {similarity:.2f}, below {self.min_similarity:.2f}"
        if similarity < self.sure_similarity and share < self.min_coverage:
            near = "" if self.min_similarity is None else f" (similarity of the nearest: {similarity:.2f})"
            return f"{searched}: only {share:.0%} of the question's words stand in the best {len(passages)}{near}"
        return None

    def similarity(self, question: Question, passages: Sequence[Passage], tools: Tools) -> float:
        """The cosine of the question and the nearest passage."""
        vectors = tools.embedder.embed([question.text, *(passage.text for passage in passages)])
        return float((vectors[1:] @ vectors[0]).max())
