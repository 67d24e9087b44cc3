"""Haystacks of UUID pairs: a JSON object on one line, 80 characters per pair, as in Needle Threading.

Roberts, Han and Albanie, Needle Threading: Can LLMs Follow Threads through Near-Million-Scale Haystacks?, ICLR 2025
(https://arxiv.org/abs/2411.05000). Fidelity: faithful. The authors published data but no generator: this one is ours,
and makes other pairs. It writes JSON as a string, because branched threads repeat keys, which no JSON library keeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.errors import DataError
from pipeline.evaluation.needles.draws import Draws

PAIR_CHARS = 80
"""`"key": "value", `: two UUIDs of 36 characters, four quotes, a colon, a comma, two spaces."""

Direction = Literal["forward", "backward", "random"]
Placement = Literal["random", "clustered"]
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Haystack:
    """Pairs of key and value, in order. `name` says how they were made."""

    name: str
    pairs: tuple[Pair, ...]

    @property
    def text(self) -> str:
        """The JSON object, 80 characters per pair."""
        return written(self.pairs)

    @property
    def strays(self) -> frozenset[str]:
        """All keys and values."""
        return frozenset(text for pair in self.pairs for text in pair)


def written(pairs: Sequence[Pair]) -> str:
    """Writes pairs as the text of a JSON object."""
    return "{" + ", ".join(f'"{key}": "{value}"' for key, value in pairs) + "}"


class HaystackPlan:
    """Builds a haystack of `n_pairs` places. Needles take some of them, and distractor pairs fill the rest.

    No UUID is drawn twice, so a value equals a key only in a thread.
    """

    def __init__(self, n_pairs: int, seed: int, label: str) -> None:
        if n_pairs < 1:
            raise DataError(f"a haystack needs at least 1 pair, asked for: {n_pairs}")
        self.n_pairs = n_pairs
        self.name = f"{label}-{n_pairs}-{seed}"
        self.draws = Draws(seed, f"{label} {n_pairs}")
        self._used: set[str] = set()
        self._pairs: dict[int, Pair] = {}

    @property
    def free(self) -> list[int]:
        """The free places, ascending."""
        return [place for place in range(self.n_pairs) if place not in self._pairs]

    def uuid(self) -> str:
        while True:
            candidate = self.draws.uuid()
            if candidate not in self._used:
                self._used.add(candidate)
                return candidate

    def put(self, place: int, key: str, value: str) -> None:
        if place in self._pairs:
            raise ValueError(f"place {place} is taken")
        self._pairs[place] = (key, value)

    def places(self, n: int, what: str) -> list[int]:
        """`n` free places in random order. Raises DataError, with the numbers, if there are fewer."""
        free = self.free
        if n > len(free):
            raise DataError(
                f"{what} needs {n} pairs, and a haystack of {self.n_pairs} pairs has {len(free)} left: "
                "take a larger haystack, fewer needles, or a shorter thread"
            )
        return self.draws.sample(free, n)

    def run(self, n: int, what: str) -> list[int]:
        """`n` adjacent free places in random order, for clustered needles. Raises DataError if there are none."""
        free = set(self.free)
        starts = [first for first in range(self.n_pairs - n + 1) if all(first + step in free for step in range(n))]
        if not starts:
            self.places(n, what)
            raise DataError(f"{what}: no {n} pairs side by side are left in a haystack of {self.n_pairs} pairs")
        start = self.draws.choice(starts)
        return self.draws.shuffled(range(start, start + n))

    def finish(self) -> Haystack:
        """Fills the free places with distractor pairs."""
        for place in self.free:
            self._pairs[place] = (self.uuid(), self.uuid())
        return Haystack(self.name, tuple(self._pairs[place] for place in range(self.n_pairs)))


def directed(places: Sequence[int], direction: Direction, draws: Draws) -> list[int]:
    """Orders the places of a thread: ascending, descending, or (with at least three places) with steps both ways."""
    if direction == "forward":
        return sorted(places)
    if direction == "backward":
        return sorted(places, reverse=True)
    while True:
        order = draws.shuffled(sorted(places))
        if len(order) < 3 or order not in (sorted(order), sorted(order, reverse=True)):
            return order


def direction_of(places: Sequence[int]) -> Direction:
    """The direction of a thread's places: the inverse of `directed`, for tests and records."""
    if list(places) == sorted(places):
        return "forward"
    return "backward" if list(places) == sorted(places, reverse=True) else "random"
