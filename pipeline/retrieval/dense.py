"""retrieve.dense: the passages nearest in meaning, by the cosine of the embedder's vectors."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.contracts import Runtime
from pipeline.retrieval.filters import read_filter
from pipeline.retrieval.mmr import diverse
from pipeline.retrieval.near_copies import POOL, Copies, folded
from pipeline.retrieval.parents import check_parents, with_parents
from pipeline.retrieval.scope import scope_of
from pipeline.types import Passage, Question

MMR_POOL = 5
"""How many times k passages the diverse ones are chosen from."""


@dataclass(frozen=True)
class Dense:
    """Finds the passages whose vectors are nearest to the question's; a passage's score is the cosine.

    :param k: how many passages to give back.
    :param glob: keeps to sources whose path matches it.
    :param filter: keeps to what matches it, such as "kind=pdf and year>=2024" (filters.py).
    :param parents: gives each hit with its section around it, up to so many of the reader's tokens (parents.py); None:
        the hit alone.
    :param copies: `fold` leaves out passages that say nothing beyond those ranked above them (near_copies.py), and
        notes them; `keep` keeps all.
    :param mmr: weight of relevance against novelty, in [0, 1]; None: no maximal marginal relevance.
    """

    k: int = 8
    glob: str | None = None
    filter: str | None = None
    copies: Copies = "fold"
    parents: int | None = None
    mmr: float | None = None

    needs = frozenset({"embedder"})

    def __post_init__(self) -> None:
        check_settings(self.k, self.mmr, self.filter)
        check_parents(self.parents)

    def search(self, question: Question, runtime: Runtime) -> list[Passage]:
        scope = scope_of(self, question)
        if self.mmr is None:
            passages = runtime.index.search_dense(question.text, self.k * POOL, scope)
            return with_parents(folded(passages, self.k, self.copies, runtime.note), self.parents, runtime)
        passages = runtime.index.search_dense(question.text, self.k * MMR_POOL, scope)
        return with_parents(
            diverse(folded(passages, len(passages), self.copies, runtime.note), self.k, self.mmr, runtime.index),
            self.parents,
            runtime,
        )


def check_settings(k: int, mmr: float | None, filter: str | None) -> None:  # noqa: A002 - the setting's name
    """Raises ValueError for a k or an mmr out of range, and for a filter that cannot be read."""
    if filter is not None:
        read_filter(filter)
    if k < 1:
        raise ValueError(f"k must be at least 1, was: {k}")
    if mmr is not None and not 0 <= mmr <= 1:
        raise ValueError(f"mmr must be in [0, 1], was: {mmr}")
