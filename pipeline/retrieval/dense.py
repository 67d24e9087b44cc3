"""retrieve.dense: the passages nearest in meaning, by the cosine of the embedder's vectors."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.contracts import Tools
from pipeline.retrieval.globs import all_of
from pipeline.retrieval.mmr import diverse
from pipeline.types import Passage, Question

MMR_POOL = 5
"""How many times k passages the diverse ones are chosen from."""


@dataclass(frozen=True)
class Dense:
    """Finds the passages whose vectors are nearest to the question's; a passage's score is the cosine.

    :param k: how many passages to give back.
    :param glob: keeps to sources whose path matches it.
    :param mmr: weight of relevance against novelty, in [0, 1]; None: no maximal marginal relevance.
    """

    k: int = 8
    glob: str | None = None
    mmr: float | None = None

    needs = frozenset({"embedder"})

    def __post_init__(self) -> None:
        check_settings(self.k, self.mmr)

    def search(self, question: Question, tools: Tools) -> list[Passage]:
        glob = all_of(self.glob, question.glob)
        if self.mmr is None:
            return tools.index.search_dense(question.text, self.k, glob)
        found = tools.index.search_dense(question.text, self.k * MMR_POOL, glob)
        return diverse(found, self.k, self.mmr, tools.index)


def check_settings(k: int, mmr: float | None) -> None:
    """Raises ValueError for a k or an mmr out of range."""
    if k < 1:
        raise ValueError(f"k must be at least 1, was: {k}")
    if mmr is not None and not 0 <= mmr <= 1:
        raise ValueError(f"mmr must be in [0, 1], was: {mmr}")
