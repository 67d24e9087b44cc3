"""compress.sentences: keep the sentences that are nearest to the question. The baseline that is hard to beat.

Extractive. Each sentence is scored by the embedder, in the sentence's document title, by cosine of pooled vectors, by
late interaction (MaxSim: Khattab and Zaharia, ColBERT, arXiv 2004.12832) over the embedder's own token vectors, or by
both, each standardised over the question's sentences and summed. Ours differs from ColBERT: the encoder is not trained
for late interaction. Fidelity: a baseline of our own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pipeline.contracts import Embedder, Tools
from pipeline.types import Passage, Question

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


_HEADING = re.compile(r"#{1,6}\s[^\n]*$")


@dataclass(frozen=True)
class Sentences:
    """Keeps the sentences nearest to the question, in the order of their source.

    Neighbouring kept sentences of one passage come back as one passage. With several limits set, all hold. A text
    without sentences (a table, code) is cut into its lines.

    :param top_k: how many sentences to keep at most; None: no such limit.
    :param threshold: the least score kept, on the scale of `score`; None: no such limit.
    :param budget: how many tokens of the reader to keep at most; None: no such limit. The best sentence always stays.
    :param score: `cosine`, `maxsim`, or `both` (the sum of the two, each standardised).
    :param neighbours: sentences before and after each kept one that are kept with it.
    """

    top_k: int | None = 5
    threshold: float | None = None
    budget: int | None = None
    score: Literal["cosine", "maxsim", "both"] = "both"
    neighbours: int = 0

    needs = frozenset({"embedder"})

    def __post_init__(self) -> None:
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k must be at least 1, was: {self.top_k}")
        if self.budget is not None and self.budget < 1:
            raise ValueError(f"budget must be at least 1, was: {self.budget}")
        if self.neighbours < 0:
            raise ValueError(f"neighbours must be at least 0, was: {self.neighbours}")

    @property
    def why_dropped(self) -> str:
        limits = {"top_k": self.top_k, "threshold": self.threshold, "budget": self.budget}
        said = ", ".join(f"{name} {value}" for name, value in limits.items() if value is not None)
        return f"farther from the question than what was kept ({said})" if said else "not kept"

    def compress(self, question: Question, passages: Sequence[Passage], tools: Tools) -> list[Passage]:
        units = [(i, part) for i, passage in enumerate(passages) for part in split(passage)]
        if not units:
            return []
        scores = self.scores(question.text, [part for _, part in units], tools.embedder)
        chosen = self.choose([part for _, part in units], scores, tools)
        kept = self.widen(chosen, [i for i, _ in units])
        return merge([(i, part) for n, (i, part) in enumerate(units) if n in kept], passages, scores, kept)

    def scores(self, question: str, parts: Sequence[Passage], embedder: Embedder) -> NDArray[np.float32]:
        """One score for each sentence, float32 of shape (n_sentences,), higher is nearer."""
        import numpy as np

        pieces = [(n, text) for n, part in enumerate(parts) for text in self.windows(part, embedder)]
        owner, texts = [n for n, _ in pieces], [text for _, text in pieces]
        total = np.zeros(len(texts), np.float32)
        if self.score in ("cosine", "both"):
            vectors = embedder.embed([question, *texts])
            cosine = vectors[1:] @ vectors[0]
            total += cosine if self.score == "cosine" else standardised(cosine)
        if self.score in ("maxsim", "both"):
            asked, *said = embedder.token_vectors([question, *texts])
            maxsim = np.array([(asked @ s.T).max(axis=1).mean() if len(s) else 0.0 for s in said], np.float32)
            total += maxsim if self.score == "maxsim" else standardised(maxsim)
        best = np.full(len(parts), -np.inf, np.float32)
        np.maximum.at(best, owner, total)
        return best

    def windows(self, part: Passage, embedder: Embedder) -> list[str]:
        """The sentence with its title, in pieces that the embedder reads whole: one, but for a giant sentence."""
        title = f"{part.title}: " if part.title else ""
        if embedder.count_tokens([title + part.text])[0] <= embedder.max_tokens:
            return [title + part.text]
        half = len(part.text) // 2
        low, high = part.part(part.start, part.start + half), part.part(part.start + half, part.end)
        return [*self.windows(low, embedder), *self.windows(high, embedder)] if half else [part.text]

    def choose(self, parts: Sequence[Passage], scores: NDArray[np.float32], tools: Tools) -> set[int]:
        """The positions of the sentences that pass every limit; the earlier of equals first."""
        best_first = sorted(range(len(parts)), key=lambda n: (-scores[n], n))
        if self.threshold is not None:
            best_first = [n for n in best_first if scores[n] >= self.threshold]
        best_first = best_first[: self.top_k]
        if self.budget is None:
            return set(best_first)
        chosen: set[int] = set()
        used = 0
        for n in best_first:
            used += tools.reader.count_text(parts[n].text)
            if used > self.budget and chosen:
                break
            chosen.add(n)
        return chosen

    def widen(self, chosen: set[int], owners: Sequence[int]) -> set[int]:
        """The chosen positions and their neighbours within the same passage."""
        near = range(-self.neighbours, self.neighbours + 1)
        return {n + d for n in chosen for d in near if 0 <= n + d < len(owners) and owners[n + d] == owners[n]}


def split(passage: Passage) -> list[Passage]:
    """The passage's sentences, with exact offsets; an abstractive passage is one unit.

    Headings are left out, since the prompt shows them with each passage, and nothing is nearer to a question about a
    thing than its bare name.
    """
    from pipeline.documents.sentences import sentences

    if passage.spans:
        return [passage]
    parts = [passage.part(passage.start + start, passage.start + end) for start, end in sentences(passage.text)]
    return [part for part in parts if not _HEADING.match(part.text)] or parts


def standardised(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values with mean 0 and standard deviation 1; all equal: zeros."""
    deviation = values.std()
    return (values - values.mean()) / deviation if deviation > 1e-9 else values * 0


def merge(
    kept: Sequence[tuple[int, Passage]],
    passages: Sequence[Passage],
    scores: NDArray[np.float32],
    positions: set[int],
) -> list[Passage]:
    """The kept sentences in the passages' order, neighbours joined: each result lies inside one input passage.

    A result's score is that of its best sentence.
    """
    result: list[Passage] = []
    last: tuple[int, int] | None = None
    for (owner, part), position in zip(kept, sorted(positions), strict=True):
        score = float(scores[position])
        if last == (owner, position - 1) and not part.spans:
            whole = passages[owner].part(result[-1].start, part.end, max(result[-1].score, score))
            result[-1] = whole
        else:
            result.append(part if part.spans else passages[owner].part(part.start, part.end, score))
        last = (owner, position)
    return result
