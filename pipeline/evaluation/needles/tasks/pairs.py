"""The base of the tasks over haystacks of UUID pairs, those of Needle Threading.

https://arxiv.org/abs/2411.05000, section 3. The prompt of the single needle is the paper's. It shows no others, so the
rest are ours, in its words: docs/needles.md lists them. Unlike in the paper, several questions share a haystack, so
that the model reads it once. The needles of one question are distractors for the others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pipeline.errors import DataError
from pipeline.evaluation.needles.haystack import Direction, Haystack, HaystackPlan, Pair, Placement, directed, written
from pipeline.evaluation.needles.task import Sources, check_parameters, over_texts, parameters_of
from pipeline.evaluation.needles.trials import NeedleTrial


@dataclass(frozen=True, slots=True)
class Ask:
    """One question over a haystack.

    `expected` are the requested values, in order. `threads` are the places of each thread's pairs, in the order of its
    hops (without threads: the place of each needle). `passed` are values on the way to the answer. `traits` describe
    the question beyond the parameters of its task, as plain values.
    """

    text: str
    expected: tuple[str, ...]
    threads: tuple[tuple[int, ...], ...]
    passed: tuple[str, ...] = ()
    traits: tuple[tuple[str, Any], ...] = ()

    def pairs(self, haystack: Haystack) -> list[Pair]:
        """The pairs that decide the answer: those of the threads, in the order of hops."""
        return [haystack.pairs[place] for thread in self.threads for place in thread]


@dataclass(frozen=True)
class PairTask(ABC):
    """A task over a haystack of UUID pairs. Subclasses implement `n_pairs`, `needles_in_words` and `ask`."""

    name: ClassVar[str]
    data: ClassVar[str] = ""
    has_limit: ClassVar[bool] = True
    max_questions: ClassVar[int] = 10
    """Upper bound on the questions over one haystack."""
    is_set: ClassVar[bool] = False
    """Whether the order of the answers does not matter."""

    def __post_init__(self) -> None:
        check_parameters(self)

    @property
    @abstractmethod
    def n_pairs(self) -> int:
        """The pairs that one question takes."""

    @property
    @abstractmethod
    def needles_in_words(self) -> str:
        """The needles of one question, for messages: `a thread of length 3`."""

    @abstractmethod
    def ask(self, plan: HaystackPlan, n: int) -> list[Ask]:
        """Puts the needles of `n` questions into the plan."""

    @property
    def smallest(self) -> int:
        return self.n_pairs

    def check(self, pairs: int) -> None:
        if self.n_pairs > pairs:
            raise DataError(self.too_small(pairs))

    def too_small(self, pairs: int) -> str:
        needed = f"{self.n_pairs} pair" if self.n_pairs == 1 else f"{self.n_pairs} pairs"
        return f"{self.needles_in_words} needs {needed}, and the haystack has {pairs}: take a larger haystack"

    def at_a_time(self, pairs: int) -> int:
        """Questions per haystack: at least one, and as many as fit while needles take at most a third of the pairs."""
        return max(1, min(self.max_questions, pairs // (3 * self.n_pairs)))

    def make(self, pairs: int, seed: int, n: int) -> tuple[Haystack, list[Ask]]:
        """Makes a haystack of `pairs` pairs with `n` questions. Raises DataError if the needles do not fit."""
        if n < 1:
            raise DataError(f"at least 1 question must be asked, was: {n}")
        self.check(pairs)
        label = "_".join(str(part) for part in (self.name, *parameters_of(self).values()))
        plan = HaystackPlan(pairs, seed, label)
        asks = self.ask(plan, n)
        return plan.finish(), asks

    def trials(self, pairs: int, seed: int, n: int, sources: Sources) -> list[NeedleTrial]:
        return over_texts(lambda seed, n: self._over_one(pairs, seed, n), seed, n)

    def _over_one(self, pairs: int, seed: int, n: int) -> list[NeedleTrial]:
        haystack, asks = self.make(pairs, seed, min(n, self.at_a_time(pairs)))
        text, strays = haystack.text, haystack.strays
        return [
            NeedleTrial(
                id=f"{haystack.name}-{number}",
                question=ask.text,
                haystack_name=f"{haystack.name}.txt",
                haystack=text,
                needles=written(ask.pairs(haystack)),
                expected=ask.expected,
                cell=(("task", self.name),),
                is_set=self.is_set,
                passed=ask.passed,
                strays=strays,
                depth=dict(ask.traits).get("depth"),
            )
            for number, ask in enumerate(asks)
        ]


def wind(plan: HaystackPlan, length: int, direction: Direction, needles_in_words: str) -> tuple[list[str], list[int]]:
    """Puts one thread into the haystack. Gives its first key and its values, and its places, in the order of hops."""
    places = directed(plan.places(length, needles_in_words), direction, plan.draws)
    keys = [plan.uuid() for _ in range(length + 1)]
    for place, key, value in zip(places, keys, keys[1:], strict=False):
        plan.put(place, key, value)
    return keys, places


def scatter(plan: HaystackPlan, n: int, placement: Placement, character: str = "") -> tuple[list[Pair], list[int]]:
    """Puts `n` needles into the haystack. Gives their pairs and places. With a character, every key contains it."""
    find = plan.run if placement == "clustered" else plan.places
    places = find(n, f"{n} needles")
    if character:
        places.sort()
    pairs = [(_marked(plan, character), plan.uuid()) for _ in places]
    for place, (key, value) in zip(places, pairs, strict=True):
        plan.put(place, key, value)
    return pairs, places


def _marked(plan: HaystackPlan, character: str) -> str:
    """A new key. With a character, it replaces a random hexadecimal digit of the key."""
    key = plan.uuid()
    if not character:
        return key
    digits = [position for position, letter in enumerate(key) if letter != "-"]
    position = plan.draws.choice(digits)
    return key[:position] + character + key[position + 1 :]


def listed(keys: Sequence[str]) -> str:
    """Keys in quotes, with commas between."""
    return ", ".join(f'"{key}"' for key in keys)
