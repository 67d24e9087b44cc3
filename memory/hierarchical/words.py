"""Searches the words of turns, each counted with those of its neighbours, by BM25.

In a conversation, the turn that answers a question often lacks the question's words: the turns just before or after
have them. So the document that BM25 scores for a turn is the turn with its neighbours on both sides. Robertson and
Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009, in Lucene's form, as in
pipeline/retrieval/word_index.py. Unlike that index, this one grows turn by turn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from math import log

from pipeline.retrieval.word_index import K1, B
from pipeline.text.words import words

GAP_S = 6 * 3600
"""Neighbours are at most this far apart in time, because the subject changes from day to day."""


class Words:
    """Turns by number. The words of `around` neighbours on either side count like those of the turn."""

    def __init__(self, around: int) -> None:
        self.around = around
        self._counts: dict[int, Counter[str]] = {}
        self._seconds: dict[int, float] = {}
        self._order: list[int] = []
        self._together: dict[int, Counter[str]] = {}
        self._holders: dict[str, set[int]] = {}
        self._length = 0

    def __contains__(self, number: int) -> bool:
        return number in self._counts

    def add(self, number: int, text: str, time: str) -> None:
        """Adds a turn with the highest number so far."""
        self._counts[number] = Counter(words(text))
        self._seconds[number] = _seconds(time)
        self._order.append(number)
        for place in range(max(0, len(self._order) - 1 - self.around), len(self._order)):
            self._count(place)

    def search(self, text: str) -> dict[int, float]:
        """The scores of all turns that share a word with the text, directly or through their neighbours."""
        n = len(self._order)
        mean = self._length / n if n else 0.0
        scores: dict[int, float] = {}
        for word in words(text):
            holders = self._holders.get(word, set())
            rarity = log(1 + (n - len(holders) + 0.5) / (len(holders) + 0.5))
            for number in holders:
                counted = self._together[number]
                frequency = counted[word]
                scores[number] = scores.get(number, 0.0) + rarity * frequency / (
                    frequency + K1 * (1 - B + B * counted.total() / mean)
                )
        return scores

    def _count(self, place: int) -> None:
        """Counts the words of the turn at this place, and of its neighbours, again."""
        number = self._order[place]
        before = self._together.get(number, Counter())
        near = self._order[max(0, place - self.around) : place + self.around + 1]
        together: Counter[str] = Counter()
        for other in near:
            if abs(self._seconds[other] - self._seconds[number]) <= GAP_S:
                together.update(self._counts[other])
        self._together[number] = together
        self._length += together.total() - before.total()
        for word in together.keys() - before.keys():
            self._holders.setdefault(word, set()).add(number)


def standardised(scores: Sequence[float]) -> list[float]:
    """The z-scores: standard deviations from the mean. All 0 if the scores are equal."""
    mean = sum(scores) / max(1, len(scores))
    deviation = (sum((score - mean) ** 2 for score in scores) / max(1, len(scores))) ** 0.5
    return [(score - mean) / deviation if deviation > 1e-9 else 0.0 for score in scores]


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
