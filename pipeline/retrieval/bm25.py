"""retrieve.bm25: the passages that share the question's rare words. Needs no weights at all."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.contracts import Runtime
from pipeline.retrieval.dense import check_settings
from pipeline.retrieval.near_copies import POOL, Copies, folded
from pipeline.retrieval.parents import check_parents, with_parents
from pipeline.retrieval.scope import scope_of
from pipeline.types import Passage, Question


@dataclass(frozen=True)
class Bm25:
    """Finds passages by BM25 over stemmed words; one that shares no word with the question is not found.

    :param k: how many passages to give back.
    :param glob: keeps to sources whose path matches it.
    :param filter: keeps to what matches it, such as "kind=pdf and year>=2024" (filters.py).
    :param parents: gives each hit with its section around it, up to so many of the reader's tokens (parents.py); None:
        the hit alone.
    :param copies: `fold` leaves out passages that say nothing beyond those ranked above them (near_copies.py), and
        notes them; `keep` keeps all.
    """

    k: int = 8
    glob: str | None = None
    filter: str | None = None
    copies: Copies = "fold"
    parents: int | None = None

    def __post_init__(self) -> None:
        check_settings(self.k, None, self.filter)
        check_parents(self.parents)

    def search(self, question: Question, runtime: Runtime) -> list[Passage]:
        passages = runtime.index.search_bm25(question.text, self.k * POOL, scope_of(self, question))
        return with_parents(folded(passages, self.k, self.copies, runtime.note), self.parents, runtime)
