"""retrieve.bm25: the passages that share the question's rare words. Needs no weights at all."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.contracts import Tools
from pipeline.retrieval.dense import check_settings
from pipeline.retrieval.globs import all_of
from pipeline.types import Passage, Question


@dataclass(frozen=True)
class Bm25:
    """Finds passages by BM25 over stemmed words; one that shares no word with the question is not found.

    :param k: how many passages to give back.
    :param glob: keeps to sources whose path matches it.
    """

    k: int = 8
    glob: str | None = None

    def __post_init__(self) -> None:
        check_settings(self.k, None)

    def search(self, question: Question, tools: Tools) -> list[Passage]:
        return tools.index.search_bm25(question.text, self.k, all_of(self.glob, question.glob))
