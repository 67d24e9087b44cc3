"""multiple: the values of several keys, in their order."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.evaluation.needles.haystack import HaystackPlan, Placement
from pipeline.evaluation.needles.tasks.pairs import Ask, PairTask, listed, scatter

PROMPT = (
    "Extract the values corresponding to the specified keys in the JSON object, in the order of the keys. "
    "Keys: [{keys}]\n Corresponding values: "
)


@dataclass(frozen=True)
class Multiple(PairTask):
    """Several needles, whose keys the question lists.

    :param needles: number of keys.
    :param placement: whether the needles are adjacent.
    """

    name = "multiple"
    needles: int = 5
    placement: Placement = "random"

    @property
    def n_pairs(self) -> int:
        return self.needles

    @property
    def needles_in_words(self) -> str:
        return f"{self.needles} needles"

    def ask(self, plan: HaystackPlan, n: int) -> list[Ask]:
        asks = []
        for _ in range(n):
            pairs, places = scatter(plan, self.needles, self.placement)
            text = PROMPT.format(keys=listed([key for key, _ in pairs]))
            asks.append(Ask(text, tuple(value for _, value in pairs), tuple((place,) for place in places)))
        return asks
