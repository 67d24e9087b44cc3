"""retrieve.hybrid: by meaning and by words, fused by ranks.

Cormack, Clarke and Buettcher, Reciprocal Rank Fusion Outperforms Condorcet and Individual Rank Learning Methods, SIGIR
2009 (https://dl.acm.org/doi/10.1145/1571941.1572114). Ours adds a weight to each of the two lists; the paper has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.checks import at_least
from pipeline.contracts import Runtime
from pipeline.errors import SettingError
from pipeline.registry import check_types
from pipeline.retrieval.dense import check_settings
from pipeline.retrieval.mmr import diverse
from pipeline.retrieval.near_copies import Copies, folded
from pipeline.retrieval.parents import check_parents, with_parents
from pipeline.retrieval.scope import scope_of
from pipeline.types import Passage, Question, Span


@dataclass(frozen=True)
class Hybrid:
    """Searches by the embedder's vectors and by BM25, and fuses the two lists by reciprocal ranks.

    A passage's score is the sum of weight / (rrf_k + rank) over the lists that hold it, ranks counted from 1.

    Example: `retrieve.hybrid: {k: 8, bm25_weight: 2.0}`

    :param k: number of passages to return, at least 1.
    :param pool: number of passages of each list that are fused, at least 1 and at least `k`.
    :param rrf_k: damping of the top ranks, at least 0: the larger, the more a passage gains by standing in both lists.
    :param dense_weight: weight of the list by meaning, at least 0.
    :param bm25_weight: weight of the list by words, at least 0. One of the two weights must be above 0.
    :param glob: only documents whose path matches this pattern, such as "manual/*"; null: all documents.
    :param filter: only documents whose properties match, such as "kind=pdf and year>=2024" (filters.py); null: all
        documents.
    :param copies: `fold` leaves out passages that only repeat passages ranked above them, and notes them
        (near_copies.py); `keep` keeps all.
    :param parents: returns each hit with the section around it, in this many of the reader's tokens, at least 1
        (parents.py); null: the hit alone.
    :param mmr: weight of relevance against novelty (maximal marginal relevance), in [0, 1]; null: ranking by relevance
        alone.
    """

    k: int = 8
    pool: int = 100
    rrf_k: int = 60
    dense_weight: float = 1.0
    bm25_weight: float = 1.0
    glob: str | None = None
    filter: str | None = None
    copies: Copies = "fold"
    parents: int | None = None
    mmr: float | None = None

    needs_embedder = True
    searches_index = True

    def __post_init__(self) -> None:
        check_types(self, Hybrid)
        check_settings(self.k, self.mmr, self.filter)
        check_parents(self.parents)
        if self.pool < self.k:
            raise SettingError("pool", f"must be at least k ({self.k}), was: {self.pool}")
        at_least("rrf_k", self.rrf_k, 0)
        for name, weight in (("dense_weight", self.dense_weight), ("bm25_weight", self.bm25_weight)):
            if weight < 0:
                raise SettingError(name, f"must be at least 0, was: {weight}")
        if self.dense_weight == self.bm25_weight == 0:
            raise SettingError("dense_weight", "and bm25_weight must not both be 0")

    def search(self, question: Question, runtime: Runtime) -> list[Passage]:
        scope = scope_of(self, question)
        dense = runtime.index.search_dense(question.query, self.pool, scope) if self.dense_weight else []
        bm25 = runtime.index.search_bm25(question.query, self.pool, scope) if self.bm25_weight else []
        fused = fuse([(dense, self.dense_weight), (bm25, self.bm25_weight)], self.rrf_k)
        if self.mmr is None:
            return with_parents(folded(fused, self.k, self.copies, runtime.note), self.parents, runtime)
        return with_parents(
            diverse(folded(fused, self.pool, self.copies, runtime.note), self.k, self.mmr, runtime.index),
            self.parents,
            runtime,
        )


def fuse(lists: Sequence[tuple[Sequence[Passage], float]], rrf_k: int) -> list[Passage]:
    """The passages of weighted lists, best first, by weight / (rrf_k + rank); ties by source, then by offset."""
    scores: dict[Span, float] = {}
    passages: dict[Span, Passage] = {}
    for ranking, weight in lists:
        for rank, passage in enumerate(ranking, 1):
            scores[passage.span] = scores.get(passage.span, 0.0) + weight / (rrf_k + rank)
            passages.setdefault(passage.span, passage)
    order = sorted(scores, key=lambda span: (-scores[span], span.source, span.start))
    return [replace(passages[span], score=scores[span]) for span in order]
