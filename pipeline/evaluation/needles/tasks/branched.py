"""branched: the final value of the longest chain, where keys occur several times."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.evaluation.needles.haystack import Direction, HaystackPlan
from pipeline.evaluation.needles.tasks.pairs import Ask, PairTask, wind

BRANCHES = 2
PROMPT = (
    "The specified key corresponds to values in the JSON object: it may stand there several times. Each value may "
    "equal other keys in the JSON object, whose values may equal keys again, and so on. Follow all these chains, and "
    'extract the final value of the longest one. Key: "{key}"\n Corresponding final value: '
)


@dataclass(frozen=True)
class Branched(PairTask):
    """A thread whose keys, but for the last, occur BRANCHES times: all but one of the pairs lead nowhere.

    :param length: pairs of the longest chain.
    :param direction: whether its pairs are placed in the order of the hops, in reverse, or neither.
    """

    name = "branched"
    length: int = 2
    direction: Direction = "forward"

    @property
    def n_pairs(self) -> int:
        return (self.length - 1) * BRANCHES + 1

    @property
    def needles_in_words(self) -> str:
        return f"a branched thread of length {self.length}"

    def ask(self, plan: HaystackPlan, n: int) -> list[Ask]:
        asks = []
        for _ in range(n):
            too_small = self.too_small(plan.n_pairs)
            keys, places = wind(plan, self.length, self.direction, too_small)
            ends = plan.places((BRANCHES - 1) * (self.length - 1), too_small)
            values = [plan.uuid() for _ in ends]
            stubs = [key for key in keys[: self.length - 1] for _ in range(BRANCHES - 1)]
            for place, key, value in zip(ends, stubs, values, strict=True):
                plan.put(place, key, value)
            passed = (*keys[1:-1], *values)
            asks.append(Ask(PROMPT.format(key=keys[0]), (keys[-1],), (tuple(places),), passed))
        return asks
