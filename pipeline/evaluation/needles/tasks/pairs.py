"""The tasks of Needle Threading over haystacks of UUID pairs, with their prompts.

https://arxiv.org/abs/2411.05000, section 3. The prompt of the single needle is the paper's. It shows no others, so the
rest are ours, in its words: docs/needles.md lists them. Unlike in the paper, several questions share a haystack, so
that the model reads it once. The needles of one question are distractors for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pipeline.errors import DataError
from pipeline.evaluation.needles.haystack import Direction, Haystack, Pair, Placement, Plan, directed

UuidTask = Literal["single", "multiple", "conditional", "thread", "multithread", "branched"]
DEPTHS = tuple(n / 10 for n in range(11))
CHARACTERS = ("*", "&")
BRANCHES = 2

SINGLE = 'Extract the value corresponding to the specified key in the JSON object. Key: "{key}"\n Corresponding value: '
MULTIPLE = (
    "Extract the values corresponding to the specified keys in the JSON object, in the order of the keys. "
    "Keys: [{keys}]\n Corresponding values: "
)
CONDITIONAL = (
    'Extract the values corresponding to all keys in the JSON object that contain the character "{character}".\n'
    " Corresponding values: "
)
THREAD = (
    "The specified key corresponds to a value in the JSON object. That value may equal another key in the JSON object, "
    "whose value may equal another key again, and so on. Follow this chain, and extract its final value, which equals "
    'no key. Key: "{key}"\n Corresponding final value: '
)
MULTITHREAD = (
    "Each specified key corresponds to a value in the JSON object. That value may equal another key in the JSON "
    "object, whose value may equal another key again, and so on. Follow each chain, and extract its final value, which "
    "equals no key, in the order of the keys. Keys: [{keys}]\n Corresponding final values: "
)
BRANCHED = (
    "The specified key corresponds to values in the JSON object: it may stand there several times. Each value may "
    "equal other keys in the JSON object, whose values may equal keys again, and so on. Follow all these chains, and "
    'extract the final value of the longest one. Key: "{key}"\n Corresponding final value: '
)


@dataclass(frozen=True, slots=True)
class Ask:
    """One question over a haystack.

    `expected` are the requested values, in order. `threads` are the places of each thread's pairs, in the order of its
    hops (without threads: the place of each needle). `passed` are values on the way to the answer. `traits` describe
    the question: depth, length, direction and so on, as plain values.
    """

    task: UuidTask
    text: str
    expected: tuple[str, ...]
    threads: tuple[tuple[int, ...], ...]
    passed: tuple[str, ...] = ()
    traits: tuple[tuple[str, Any], ...] = ()

    def pairs(self, haystack: Haystack) -> list[Pair]:
        """The pairs that decide the answer: those of the threads, in the order of hops."""
        return [haystack.pairs[place] for thread in self.threads for place in thread]


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of the questions over a haystack.

    :param task: single, multiple, conditional, thread, multithread or branched.
    :param needles: number of keys for `multiple` and `conditional`.
    :param length: pairs of a thread; 1 is a single needle.
    :param threads: number of threads for `multithread`.
    :param direction: whether a thread's pairs are placed in the order of its hops, in reverse, or neither.
    :param placement: whether the needles of `multiple` and `conditional` are adjacent.
    """

    task: UuidTask = "single"
    needles: int = 5
    length: int = 3
    threads: int = 2
    direction: Direction = "forward"
    placement: Placement = "random"

    def __post_init__(self) -> None:
        for name, choices in (("task", UuidTask), ("direction", Direction), ("placement", Placement)):
            if getattr(self, name) not in get_args(choices):
                raise ValueError(f"{name} must be one of {', '.join(get_args(choices))}, was: {getattr(self, name)}")
        for name in ("needles", "length", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, was: {getattr(self, name)}")

    @property
    def n_pairs(self) -> int:
        """Pairs that one question takes."""
        return {
            "single": 1,
            "multiple": self.needles,
            "conditional": self.needles,
            "thread": self.length,
            "multithread": self.length * self.threads,
            "branched": (self.length - 1) * BRANCHES + 1,
        }[self.task]

    @property
    def traits(self) -> dict[str, Any]:
        """The settings that this task has."""
        names: dict[str, tuple[str, ...]] = {
            "multiple": ("needles", "placement"),
            "conditional": ("needles", "placement"),
            "thread": ("length", "direction"),
            "multithread": ("length", "direction", "threads"),
            "branched": ("length", "direction"),
        }
        return {name: getattr(self, name) for name in names.get(self.task, ())}

    def at_a_time(self, n_pairs: int) -> int:
        """Questions per haystack: at least one, and as many as fit while needles take at most a third of the pairs."""
        if self.task == "single":
            return min(len(DEPTHS), n_pairs)
        max_questions = len(CHARACTERS) if self.task == "conditional" else 10
        return max(1, min(max_questions, n_pairs // (3 * self.n_pairs)))


def make(shape: Shape, n_pairs: int, seed: int, n: int) -> tuple[Haystack, list[Ask]]:
    """Makes a haystack of `n_pairs` pairs with `n` questions. The seed and the arguments decide the result.

    Raises DataError, with the numbers, if the needles do not fit.
    """
    if n < 1:
        raise DataError(f"at least 1 question must be asked, was: {n}")
    if shape.n_pairs > n_pairs:
        raise DataError(_too_small(shape, n_pairs))
    label = " ".join(str(part) for part in (shape.task, *shape.traits.values())).replace(" ", "_")
    plan = Plan(n_pairs, seed, label)
    asks = _MAKE[shape.task](plan, shape, n)
    haystack = plan.finish()
    return haystack, asks


def _too_small(shape: Shape, n_pairs: int) -> str:
    what = {
        "thread": f"a thread of length {shape.length}",
        "multithread": f"{shape.threads} threads of length {shape.length}",
        "branched": f"a branched thread of length {shape.length}",
    }.get(shape.task, f"{shape.needles} needles")
    return f"{what} needs {shape.n_pairs} pairs, and the haystack has {n_pairs}: take a larger haystack"


def _single(plan: Plan, shape: Shape, n: int) -> list[Ask]:
    asks = []
    for number in range(n):
        depth = DEPTHS[number % len(DEPTHS)]
        wanted = round(depth * (plan.n_pairs - 1))
        place = min(plan.free, key=lambda free: (abs(free - wanted), free), default=None)
        if place is None:
            raise DataError(f"{n} needles need {n} pairs, and the haystack has {plan.n_pairs}: take a larger haystack")
        key, value = plan.uuid(), plan.uuid()
        plan.put(place, key, value)
        traits = (("depth", depth),)
        asks.append(Ask("single", SINGLE.format(key=key), (value,), ((place,),), traits=traits))
    return asks


def _multiple(plan: Plan, shape: Shape, n: int) -> list[Ask]:
    return [_several(plan, shape, None) for _ in range(n)]


def _conditional(plan: Plan, shape: Shape, n: int) -> list[Ask]:
    if n > len(CHARACTERS):
        raise DataError(f"one haystack serves {len(CHARACTERS)} conditional questions, asked for: {n}")
    return [_several(plan, shape, character) for character in CHARACTERS[:n]]


def _several(plan: Plan, shape: Shape, character: str | None) -> Ask:
    what = f"{shape.needles} needles"
    find = plan.run if shape.placement == "clustered" else plan.places
    places = find(shape.needles, what)
    if character is not None:
        places.sort()
    pairs = [(_marked(plan, character), plan.uuid()) for _ in places]
    for place, (key, value) in zip(places, pairs, strict=True):
        plan.put(place, key, value)
    text = CONDITIONAL.format(character=character) if character else MULTIPLE.format(keys=_listed(pairs))
    traits = tuple(shape.traits.items()) + ((("character", character),) if character else ())
    values = tuple(value for _, value in pairs)
    return Ask(shape.task, text, values, tuple((place,) for place in places), traits=traits)


def _marked(plan: Plan, character: str | None) -> str:
    """A new key with a random hexadecimal digit replaced by the character."""
    key = plan.uuid()
    if character is None:
        return key
    digits = [position for position, letter in enumerate(key) if letter != "-"]
    position = plan.draws.choice(digits)
    return key[:position] + character + key[position + 1 :]


def _thread(plan: Plan, shape: Shape, n: int) -> list[Ask]:
    asks = []
    for _ in range(n):
        keys, places = _wind(plan, shape, _too_small(shape, plan.n_pairs))
        text = THREAD.format(key=keys[0])
        asks.append(Ask("thread", text, (keys[-1],), (tuple(places),), tuple(keys[1:-1]), tuple(shape.traits.items())))
    return asks


def _multithread(plan: Plan, shape: Shape, n: int) -> list[Ask]:
    asks = []
    for _ in range(n):
        wound = [_wind(plan, shape, _too_small(shape, plan.n_pairs)) for _ in range(shape.threads)]
        keys = ", ".join(f'"{keys[0]}"' for keys, _ in wound)
        asks.append(
            Ask(
                "multithread",
                MULTITHREAD.format(keys=keys),
                tuple(keys[-1] for keys, _ in wound),
                tuple(tuple(places) for _, places in wound),
                tuple(key for keys, _ in wound for key in keys[1:-1]),
                tuple(shape.traits.items()),
            )
        )
    return asks


def _wind(plan: Plan, shape: Shape, what: str) -> tuple[list[str], list[int]]:
    """Puts one thread into the haystack. Gives its first key and its values, and its places, both in order of hops."""
    places = directed(plan.places(shape.length, what), shape.direction, plan.draws)
    keys = [plan.uuid() for _ in range(shape.length + 1)]
    for place, key, value in zip(places, keys, keys[1:], strict=False):
        plan.put(place, key, value)
    return keys, places


def _branched(plan: Plan, shape: Shape, n: int) -> list[Ask]:
    asks = []
    for _ in range(n):
        keys, places = _wind(plan, shape, _too_small(shape, plan.n_pairs))
        ends = plan.places((BRANCHES - 1) * (shape.length - 1), _too_small(shape, plan.n_pairs))
        values = [plan.uuid() for _ in ends]
        stubs = [key for key in keys[: shape.length - 1] for _ in range(BRANCHES - 1)]
        for place, key, value in zip(ends, stubs, values, strict=True):
            plan.put(place, key, value)
        passed = (*keys[1:-1], *values)
        traits = (*shape.traits.items(), ("branches", BRANCHES))
        asks.append(Ask("branched", BRANCHED.format(key=keys[0]), (keys[-1],), (tuple(places),), passed, traits))
    return asks


def _listed(pairs: Sequence[Pair]) -> str:
    return ", ".join(f'"{key}"' for key, _ in pairs)


_MAKE: dict[UuidTask, Callable[[Plan, Shape, int], list[Ask]]] = {
    "single": _single,
    "multiple": _multiple,
    "conditional": _conditional,
    "thread": _thread,
    "multithread": _multithread,
    "branched": _branched,
}
