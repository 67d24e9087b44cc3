"""thread: the final value of a chain in which each value is the next key."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.evaluation.needles.haystack import Direction, HaystackPlan
from pipeline.evaluation.needles.tasks.pairs import Ask, PairTask, wind

PROMPT = (
    "The specified key corresponds to a value in the JSON object. That value may equal another key in the JSON object, "
    "whose value may equal another key again, and so on. Follow this chain, and extract its final value, which equals "
    'no key. Key: "{key}"\n Corresponding final value: '
)


@dataclass(frozen=True)
class Thread(PairTask):
    """One thread of pairs.

    :param length: pairs of the thread; 1 is a single needle.
    :param direction: whether the pairs are placed in the order of the hops, in reverse, or neither.
    """

    name = "thread"
    length: int = 2
    direction: Direction = "forward"

    @property
    def n_pairs(self) -> int:
        return self.length

    @property
    def needles_in_words(self) -> str:
        return f"a thread of length {self.length}"

    def ask(self, plan: HaystackPlan, n: int) -> list[Ask]:
        asks = []
        for _ in range(n):
            keys, places = wind(plan, self.length, self.direction, self.too_small(plan.n_pairs))
            asks.append(Ask(PROMPT.format(key=keys[0]), (keys[-1],), (tuple(places),), tuple(keys[1:-1])))
        return asks
