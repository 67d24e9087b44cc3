"""Maximal marginal relevance: passages that bear on the question and do not say the same again.

Carbonell and Goldstein, The Use of MMR, Diversity-Based Reranking for Reordering Documents and Producing Summaries,
SIGIR 1998 (https://dl.acm.org/doi/10.1145/290941.291025). Ours takes as relevance the passage's score over the best
score, so that it works on cosines and on fused ranks alike; the paper has cosines only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.contracts import Index
from pipeline.types import Passage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def diverse(passages: Sequence[Passage], k: int, weight: float, index: Index) -> list[Passage]:
    """At most k of the passages, which are best first, in the order in which they are chosen. Scores stay theirs."""
    import numpy as np

    if not passages:
        return []
    scores = np.array([passage.score for passage in passages], np.float32)
    relevance = scores / scores[0] if scores[0] > 0 else scores
    return [passages[i] for i in chosen(relevance, index.vectors(passages), k, weight)]


def chosen(relevance: NDArray[np.float32], vectors: NDArray[np.float32], k: int, weight: float) -> list[int]:
    """Positions chosen one after the other by weight * relevance - (1 - weight) * cosine to the nearest chosen one.

    `relevance` has shape (n,), `vectors` (n, dimension) of unit length. The first counts no cosine; ties go to the
    earlier position.
    """
    import numpy as np

    taken: list[int] = []
    nearest = np.zeros(len(relevance), np.float32)
    for _ in range(min(k, len(relevance))):
        value = weight * relevance - (1 - weight) * nearest
        value[taken] = -np.inf
        pick = int(np.argmax(value))
        taken.append(pick)
        cosine = vectors @ vectors[pick]
        nearest = cosine if len(taken) == 1 else np.maximum(nearest, cosine)
    return taken
