"""multithread: the final values of several chains."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.evaluation.needles.haystack import Direction, HaystackPlan
from pipeline.evaluation.needles.tasks.pairs import Ask, PairTask, listed, wind

PROMPT = (
    "Each specified key corresponds to a value in the JSON object. That value may equal another key in the JSON "
    "object, whose value may equal another key again, and so on. Follow each chain, and extract its final value, which "
    "equals no key, in the order of the keys. Keys: [{keys}]\n Corresponding final values: "
)


@dataclass(frozen=True)
class Multithread(PairTask):
    """Several threads of pairs in one question.

    :param length: pairs of each thread.
    :param direction: whether the pairs are placed in the order of the hops, in reverse, or neither.
    :param threads: number of threads.
    """

    name = "multithread"
    length: int = 2
    direction: Direction = "forward"
    threads: int = 2

    @property
    def n_pairs(self) -> int:
        return self.length * self.threads

    @property
    def needles_in_words(self) -> str:
        return f"{self.threads} threads of length {self.length}"

    def ask(self, plan: HaystackPlan, n: int) -> list[Ask]:
        asks = []
        for _ in range(n):
            too_small = self.too_small(plan.n_pairs)
            threads = [wind(plan, self.length, self.direction, too_small) for _ in range(self.threads)]
            asks.append(
                Ask(
                    PROMPT.format(keys=listed([keys[0] for keys, _ in threads])),
                    tuple(keys[-1] for keys, _ in threads),
                    tuple(tuple(places) for _, places in threads),
                    tuple(key for keys, _ in threads for key in keys[1:-1]),
                )
            )
        return asks
