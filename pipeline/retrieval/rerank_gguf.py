"""rerank.gguf: passages ranked by a cross-encoder in a GGUF file, which reads question and passage together.

Passage Re-ranking with BERT (Nogueira and Cho 2019, arXiv 1901.04085). Any file with a rank head that llama.cpp loads:
bge-reranker, jina-reranker, Qwen3-Reranker. llama.cpp gives both texts of a BERT the first token type, so that a model
that was trained with two (ms-marco-MiniLM) is read otherwise than in training; that is noted. Fidelity: faithful.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.contracts import Runtime
from pipeline.errors import SettingError
from pipeline.registry import check_types
from pipeline.retrieval.reranking import check_k, ranked, titled, why_dropped
from pipeline.types import Passage, Question


@dataclass(frozen=True)
class GgufReranker:
    """Ranks passages by a cross-encoder with a rank head; a passage's score is the head's output.

    Example: `rerank.gguf: {model: bge-reranker-v2-m3.gguf, k: 6}`

    :param model: path of the GGUF file, or a name.
    :param k: number of passages to keep, at least 1; null: all of them.
    """

    model: str
    k: int | None = None

    def __post_init__(self) -> None:
        check_types(self, GgufReranker)
        if not self.model:
            raise SettingError("model", "must be a path or a name, was: ''")
        check_k(self.k)

    @property
    def why_dropped(self) -> str:
        return why_dropped(self.k)

    def check(self) -> None:
        """Raises ModelError for a file that is missing or damaged."""
        from pipeline.gguf.catalogue import resolve

        resolve(self.model)

    def load(self, runtime: Runtime) -> None:
        runtime.ranker(self.model)

    def rerank(self, question: Question, passages: Sequence[Passage], runtime: Runtime) -> list[Passage]:
        if not passages:
            return []
        ranker = runtime.ranker(self.model)
        if ranker.has_two_types:
            runtime.note(
                f"{ranker.name} was trained with two token types, and llama.cpp reads both texts with the first: its "
                "order may differ from the original's",
                once=True,
            )
        texts = [titled(passage) for passage in passages]
        return ranked(passages, ranker.rank(question.query, texts, runtime.listener.progress).tolist(), self.k)
