"""retrieve.dense: the passages nearest in meaning, by the cosine of the embedder's vectors."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.contracts import Runtime
from pipeline.errors import SettingError
from pipeline.registry import check_types
from pipeline.retrieval.filters import FilterError, read_filter
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

    Example: `retrieve.dense: {k: 6, mmr: 0.7}`

    :param k: number of passages to return, at least 1.
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
    glob: str | None = None
    filter: str | None = None
    copies: Copies = "fold"
    parents: int | None = None
    mmr: float | None = None

    needs_embedder = True
    searches_index = True

    def __post_init__(self) -> None:
        check_types(self, Dense)
        check_settings(self.k, self.mmr, self.filter)
        check_parents(self.parents)

    def search(self, question: Question, runtime: Runtime) -> list[Passage]:
        scope = scope_of(self, question)
        if self.mmr is None:
            passages = runtime.index.search_dense(question.query, self.k * POOL, scope)
            return with_parents(folded(passages, self.k, self.copies, runtime.note), self.parents, runtime)
        passages = runtime.index.search_dense(question.query, self.k * MMR_POOL, scope)
        return with_parents(
            diverse(folded(passages, len(passages), self.copies, runtime.note), self.k, self.mmr, runtime.index),
            self.parents,
            runtime,
        )


def check_settings(k: int, mmr: float | None, filter: str | None) -> None:  # noqa: A002 - the setting's name
    """Raises SettingError for a k or an mmr out of range, and for a filter that cannot be read."""
    if filter is not None:
        try:
            read_filter(filter)
        except FilterError as error:
            raise SettingError("filter", str(error).removeprefix("filter ")) from None
    if k < 1:
        raise SettingError("k", f"must be at least 1, was: {k}")
    if mmr is not None and not 0 <= mmr <= 1:
        raise SettingError("mmr", f"must be in [0, 1], was: {mmr}")
