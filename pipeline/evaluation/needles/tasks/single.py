"""single: the value of one key, at eleven depths of the haystack."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import DataError
from pipeline.evaluation.needles.haystack import HaystackPlan
from pipeline.evaluation.needles.tasks.pairs import Ask, PairTask

DEPTHS = tuple(n / 10 for n in range(11))
PROMPT = 'Extract the value corresponding to the specified key in the JSON object. Key: "{key}"\n Corresponding value: '


@dataclass(frozen=True)
class Single(PairTask):
    """One needle, as near to its depth as there is a free place."""

    name = "single"

    @property
    def n_pairs(self) -> int:
        return 1

    @property
    def needles_in_words(self) -> str:
        return "a needle"

    def at_a_time(self, pairs: int) -> int:
        return min(len(DEPTHS), pairs)

    def ask(self, plan: HaystackPlan, n: int) -> list[Ask]:
        asks = []
        for number in range(n):
            depth = DEPTHS[number % len(DEPTHS)]
            wanted = round(depth * (plan.n_pairs - 1))
            place = min(plan.free, key=lambda free: (abs(free - wanted), free), default=None)
            if place is None:
                raise DataError(
                    f"{n} needles need {n} pairs, and the haystack has {plan.n_pairs}: take a larger haystack"
                )
            key, value = plan.uuid(), plan.uuid()
            plan.put(place, key, value)
            asks.append(Ask(PROMPT.format(key=key), (value,), ((place,),), traits=(("depth", depth),)))
        return asks
