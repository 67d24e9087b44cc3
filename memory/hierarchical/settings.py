"""The settings of memory.hierarchical."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipeline.checks import at_least
from pipeline.contracts import Runtime
from pipeline.errors import SettingError

if TYPE_CHECKING:
    from memory.hierarchical.tiers import Tiers


@dataclass(frozen=True)
class Hierarchical:
    """Repeats the last turns, keeps a running summary of the rest, and recalls earlier turns that match the question.

    A turn's score adds the cosine of its text (or of a fact drawn from it) and the BM25 score of its words and its
    neighbours' words. Both are standardised over the compared turns, and weighted. Recency and salience may be added.
    Recalled turns are shown word for word, as runs of turns, with their time and the facts that supersede them.

    :param sensory_tokens: budget of the turns that are repeated word for word.
    :param segment_tokens: minimum tokens of a segment, which leaves the sensory tier as one unit.
    :param summary_tokens: maximum length of the running summary; 0 for none.
    :param recall_tokens: budget of the recalled turns.
    :param recall_turns: maximum number of recalled turns.
    :param query_share: share of the incoming text, from its start, that is the query, in (0, 1].
    :param query_least: minimum words of the query, if the text has them.
    :param around: neighbours on either side whose words count for a turn.
    :param dense_weight: weight of the cosine, at least 0.
    :param bm25_weight: weight of the BM25 score, at least 0.
    :param recency: weight of the position in time, from 0 (oldest) to 1 (newest), in standard deviations of a score.
    :param salience: weight of a turn's number of facts, divided by the highest number of facts of a turn.
    :param temperature: of the softmax over the recalled turns; changes their weights in the ledger, not the choice.
    :param summarise: model (the reader writes, under a JSON schema), extract (sentences of the text) or none.
    :param pool: number of nearest vectors to compare.
    """

    sensory_tokens: int = 600
    segment_tokens: int = 300
    summary_tokens: int = 160
    recall_tokens: int = 600
    recall_turns: int = 10
    query_share: float = 0.5
    query_least: int = 48
    around: int = 2
    dense_weight: float = 1.0
    bm25_weight: float = 1.0
    recency: float = 0.0
    salience: float = 0.0
    temperature: float = 1.0
    summarise: Literal["model", "extract", "none"] = "model"
    pool: int = 1000

    def __post_init__(self) -> None:
        for name in ("segment_tokens", "recall_turns", "query_least", "pool"):
            at_least(name, getattr(self, name), 1)
        for name in (
            "sensory_tokens", "summary_tokens", "recall_tokens", "around", "dense_weight", "bm25_weight", "recency",
            "salience",
        ):  # fmt: skip
            at_least(name, getattr(self, name), 0)
        if not 0 < self.query_share <= 1:
            raise SettingError("query_share", f"must be in (0, 1], was: {self.query_share}")
        if self.temperature <= 0:
            raise SettingError("temperature", f"must be greater than 0, was: {self.temperature}")
        if self.dense_weight == self.bm25_weight == 0:
            raise SettingError("dense_weight", "and bm25_weight must not both be 0")

    @property
    def needs_embedder(self) -> bool:
        return self.dense_weight > 0

    def open(self, folder: Path, runtime: Runtime) -> Tiers:
        from memory.hierarchical.tiers import Tiers

        return Tiers(folder, self, runtime)

    def query(self, text: str) -> str:
        """The start of a text, to recall by: HMT's j = L/2. A short text is used whole."""
        words = text.split()
        n = max(ceil(len(words) * self.query_share), self.query_least)
        return text if n >= len(words) else " ".join(words[:n])
