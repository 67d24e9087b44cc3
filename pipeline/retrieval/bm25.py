"""retrieve.bm25: the passages that share the question's rare words. Needs no weights at all."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.contracts import Runtime
from pipeline.registry import check_types
from pipeline.retrieval.dense import check_settings
from pipeline.retrieval.near_copies import POOL, Copies, folded
from pipeline.retrieval.parents import check_parents, with_parents
from pipeline.retrieval.scope import scope_of
from pipeline.types import Passage, Question


@dataclass(frozen=True)
class Bm25:
    """Finds passages by BM25 over stemmed words; one that shares no word with the question is not found.

    Example: `retrieve.bm25: {k: 6}`

    :param k: number of passages to return, at least 1.
    :param glob: only documents whose path matches this pattern, such as "manual/*"; null: all documents.
    :param filter: only documents whose properties match, such as "kind=pdf and year>=2024" (filters.py); null: all
        documents.
    :param copies: `fold` leaves out passages that only repeat passages ranked above them, and notes them
        (near_copies.py); `keep` keeps all.
    :param parents: returns each hit with the section around it, in this many of the reader's tokens, at least 1
        (parents.py); null: the hit alone.
    """

    k: int = 8
    glob: str | None = None
    filter: str | None = None
    copies: Copies = "fold"
    parents: int | None = None

    searches_index = True

    def __post_init__(self) -> None:
        check_types(self, Bm25)
        check_settings(self.k, None, self.filter)
        check_parents(self.parents)

    def search(self, question: Question, runtime: Runtime) -> list[Passage]:
        passages = runtime.index.search_bm25(question.query, self.k * POOL, scope_of(self, question))
        return with_parents(folded(passages, self.k, self.copies, runtime.note), self.parents, runtime)
