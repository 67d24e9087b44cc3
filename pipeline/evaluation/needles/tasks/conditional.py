"""conditional: the values of all keys that contain a character."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import DataError
from pipeline.evaluation.needles.haystack import HaystackPlan, Placement
from pipeline.evaluation.needles.tasks.pairs import Ask, PairTask, scatter

CHARACTERS = ("*", "&")
PROMPT = (
    'Extract the values corresponding to all keys in the JSON object that contain the character "{character}".\n'
    " Corresponding values: "
)


@dataclass(frozen=True)
class Conditional(PairTask):
    """Several needles, whose keys contain a character that no other key has.

    :param needles: number of keys that contain the character.
    :param placement: whether the needles are adjacent.
    """

    name = "conditional"
    max_questions = len(CHARACTERS)
    is_set = True
    needles: int = 5
    placement: Placement = "random"

    @property
    def n_pairs(self) -> int:
        return self.needles

    @property
    def needles_in_words(self) -> str:
        return f"{self.needles} needles"

    def ask(self, plan: HaystackPlan, n: int) -> list[Ask]:
        if n > len(CHARACTERS):
            raise DataError(f"one haystack serves {len(CHARACTERS)} conditional questions, asked for: {n}")
        asks = []
        for character in CHARACTERS[:n]:
            pairs, places = scatter(plan, self.needles, self.placement, character)
            text = PROMPT.format(character=character)
            values = tuple(value for _, value in pairs)
            traits = (("character", character),)
            asks.append(Ask(text, values, tuple((place,) for place in places), traits=traits))
        return asks
