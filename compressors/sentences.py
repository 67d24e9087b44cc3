"""compress.sentences: keep the sentences nearest to the question. A baseline that is hard to beat.

Extractive. The embedder scores each sentence, prefixed with its document's title: by cosine of pooled vectors, by late
interaction (MaxSim: Khattab and Zaharia, ColBERT, arXiv 2004.12832) over its token vectors, or by the sum of both, each
standardised over the question's sentences. Or the embedder reads sentences in their documents, and the question's
tokens vote for them (compressors/votes.py). Ours differs from ColBERT: the encoder is not trained for late interaction.
Fidelity: a baseline of our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from compressors.alone import WorksAlone
from compressors.selection import Limits, Units, extract
from compressors.votes import TEMPERATURE, nearest_tokens, votes
from pipeline.checks import at_least
from pipeline.contracts import Embedder, Runtime
from pipeline.registry import check_types
from pipeline.retrieval import remembered
from pipeline.types import Passage, Question

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Sentences(WorksAlone):
    """Keeps the sentences nearest to the question, in the order of their source.

    Adjacent kept sentences of a passage become one passage. All limits that are set apply. A text without sentences (a
    table, code) is cut into lines. The best sentence always stays, unless it is below the threshold.

    Example: `compress.sentences: {top_k: 3, score: votes}`

    :param top_k: largest number of sentences to keep, at least 1; null: no limit.
    :param threshold: lowest score of a kept sentence, any number on the scale of `score`; null: no limit.
    :param budget: largest number of the reader's tokens to keep, at least 1; null: no limit.
    :param keep_ratio: largest share of the tokens to keep, in (0, 1]; null: no limit.
    :param score: `cosine`, `maxsim`, `both` (the sum of the two, each standardised), or `votes`: the sentence's share
        of the question's votes, in its document.
    :param neighbours: number of sentences before and after each kept sentence that are kept as well, at least 0.
    """

    top_k: int | None = 5
    threshold: float | None = None
    budget: int | None = None
    keep_ratio: float | None = None
    score: Literal["cosine", "maxsim", "both", "votes"] = "both"
    neighbours: int = 0

    needs_embedder = True

    def __post_init__(self) -> None:
        check_types(self, Sentences)
        self.limits  # noqa: B018 - its own checks
        at_least("neighbours", self.neighbours, 0)

    @property
    def limits(self) -> Limits:
        return Limits(self.top_k, self.threshold, self.budget, self.keep_ratio)

    @property
    def why_dropped(self) -> str:
        return f"farther from the question than what was kept ({self.limits})" if str(self.limits) else "not kept"

    def _compress(self, question: Question, passages: Sequence[Passage], runtime: Runtime) -> list[Passage]:
        return extract(
            passages,
            runtime,
            lambda units: self.scores(question.query, units, runtime.embedder),
            self.limits,
            self.neighbours,
        )

    def scores(self, question: str, units: Units, embedder: Embedder) -> NDArray[np.floating]:
        """A score for each sentence, (n_sentences,). Higher is nearer to the question."""
        import numpy as np

        if self.score == "votes":
            return votes(nearest_tokens(question, units, embedder), TEMPERATURE)
        if self.score == "cosine":
            owners, texts = pieces(units.parts, embedder)
            vectors = remembered.embed(embedder, [question, *texts])
            return best_of(vectors[1:] @ vectors[0], owners, len(units))
        cosine, maxsim = similarities(question, units.parts, embedder).T
        return np.ascontiguousarray(maxsim) if self.score == "maxsim" else standardised(cosine) + standardised(maxsim)


def similarities(question: str, parts: Sequence[Passage], embedder: Embedder) -> NDArray[np.float32]:
    """Cosine and late interaction of the question and each sentence with its title, float32 (n_sentences, 2).

    Late interaction is the mean, over the question's tokens, of the best cosine with a token of the sentence.
    """
    import numpy as np

    owners, texts = pieces(parts, embedder)
    vectors, (question_tokens, *sentence_tokens) = remembered.token_vectors(embedder, [question, *texts])
    maxsim = np.array(
        [(question_tokens @ s.T).max(axis=1).mean() if len(s) else 0.0 for s in sentence_tokens], np.float32
    )
    columns = (vectors[1:] @ vectors[0], maxsim)
    return np.stack([best_of(column, owners, len(parts)) for column in columns], axis=1)


def pieces(parts: Sequence[Passage], embedder: Embedder) -> tuple[list[int], list[str]]:
    """The texts to embed, and the index of each one's sentence. Only a very long sentence has several texts."""
    owned_texts = [(n, text) for n, part in enumerate(parts) for text in _windows(part, embedder)]
    return [n for n, _ in owned_texts], [text for _, text in owned_texts]


def _windows(part: Passage, embedder: Embedder) -> list[str]:
    """The sentence with its title, in pieces within the embedder's limit."""
    title = f"{part.title}: " if part.title else ""
    if embedder.count_tokens([title + part.text])[0] <= embedder.max_tokens:
        return [title + part.text]
    half = len(part.text) // 2
    low, high = part.part(part.start, part.start + half), part.part(part.start + half, part.end)
    return [*_windows(low, embedder), *_windows(high, embedder)] if half else [part.text]


def best_of(values: NDArray[np.float32], owners: Sequence[int], n: int) -> NDArray[np.float32]:
    """The highest value for each of n sentences."""
    import numpy as np

    best = np.full(n, -np.inf, np.float32)
    np.maximum.at(best, owners, values)
    return best


def standardised(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Standardises values to mean 0 and standard deviation 1. Equal values become zeros."""
    deviation = values.std()
    return (values - values.mean()) / deviation if deviation > 1e-9 else values * 0
