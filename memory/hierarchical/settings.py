"""The settings of memory.hierarchical."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipeline.checks import at_least
from pipeline.contracts import Runtime
from pipeline.errors import SettingError
from pipeline.registry import check_types

if TYPE_CHECKING:
    from memory.hierarchical.tiers import Tiers


@dataclass(frozen=True)
class Hierarchical:
    """Repeats the last turns, keeps a running summary of the rest, and recalls from it what bears on the question.

    A turn's score is the cosine of its own text (or of a fact drawn from it) and the BM25 score of its words and its
    neighbours', each standardised over all turns that are compared, weighted and added; recency and salience may be
    added to that. What is recalled is shown word for word, as runs of turns, with its time and what supersedes it.

    Example: `memory.hierarchical: {sensory_tokens: 400, recall_turns: 6}`

    :param sensory_tokens: largest number of tokens of the turns that are repeated word for word, at least 0.
    :param segment_tokens: smallest number of tokens that leave the repeated turns at a time and become a unit, at least
        1.
    :param summary_tokens: length of the running summary, at least 0; 0: no summary.
    :param recall_tokens: largest number of recalled tokens for a question, at least 0.
    :param recall_turns: largest number of recalled turns, at least 1.
    :param query_share: share of the incoming text, from its beginning, that is the query, in (0, 1].
    :param query_least: smallest number of words of the query, at least 1, as far as the text has them.
    :param around: number of neighbours on either side whose words count for a turn, at least 0.
    :param dense_weight: weight of meaning, at least 0.
    :param bm25_weight: weight of words, at least 0. One of the two weights must be above 0.
    :param recency: weight of being late, at least 0: 1 for the newest turn, 0 for the oldest; in standard deviations of
        a score.
    :param salience: weight of holding facts, at least 0: a turn's number of facts over the highest such number.
    :param temperature: temperature of the softmax over the recalled turns, greater than 0. It changes the weights in
        the ledger and leaves the choice as it is.
    :param summarise: `model`: the reader summarises, under a JSON schema; `extract`: the summary consists of sentences
        of the turns; `none`: no summary.
    :param pool: number of nearest vectors that are compared, at least 1.
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
        check_types(self, Hierarchical)
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
