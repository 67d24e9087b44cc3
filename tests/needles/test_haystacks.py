"""The generators are exact: sizes, places, uniqueness, directions, and answers found by brute force."""

import hashlib
import json
import re
from collections import Counter
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import DataError
from pipeline.evaluation.needles.draws import Draws
from pipeline.evaluation.needles.haystack import PAIR_CHARS, Haystack, direction_of
from pipeline.evaluation.needles.table import TASKS as ALL_TASKS
from pipeline.evaluation.needles.task import parameter_names
from pipeline.evaluation.needles.tasks.branched import BRANCHES, Branched
from pipeline.evaluation.needles.tasks.conditional import CHARACTERS, Conditional
from pipeline.evaluation.needles.tasks.multiple import Multiple
from pipeline.evaluation.needles.tasks.multithread import Multithread
from pipeline.evaluation.needles.tasks.pairs import Ask, PairTask
from pipeline.evaluation.needles.tasks.single import DEPTHS, PROMPT, Single
from pipeline.evaluation.needles.tasks.thread import Thread

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TASKS = ("single", "multiple", "conditional", "thread", "multithread", "branched")
DIRECTIONS = ("forward", "backward", "random")


def task_of(name: str, **parameters: Any) -> PairTask:
    """A task with those of the parameters that it has."""
    task: Any = ALL_TASKS[name]
    return task(**{key: value for key, value in parameters.items() if key in parameter_names(task)})  # type: ignore[no-any-return]


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def keys_in(ask: Ask) -> list[str]:
    return [match[0] for match in re.finditer(UUID, ask.text)]


def ends(pairs: tuple[tuple[str, str], ...], key: str) -> list[list[str]]:
    """Every way from a key, by looking at every pair: the values passed, the last of which is no key."""
    values = [value for other, value in pairs if other == key]
    return [[value, *rest] for value in values for rest in ends(pairs, value) or [[]]]


def answer(haystack: Haystack, ask: Ask, task: str) -> tuple[str, ...]:
    """The answer as one finds it by hand, from the text of the question and the pairs alone."""
    if task == "conditional":
        character = re.search(r'character "(.)"', ask.text)
        assert character is not None
        return tuple(value for key, value in haystack.pairs if character[1] in key)
    places = []
    for key in keys_in(ask):
        ways = ends(haystack.pairs, key)
        longest = max(ways, key=len)
        assert task == "branched" or len(ways) == 1
        assert sum(len(way) == len(longest) for way in ways) == 1
        places.append(longest[-1])
    return tuple(places)


def test_a_seed_gives_the_same_bytes_everywhere() -> None:
    counts = {}
    for task in TASKS:
        haystack, asks = task_of(task, length=3).make(64, 7, 2)
        counts[task] = sha256("\n".join([haystack.text, *(ask.text for ask in asks)]))[:16]
    assert counts == {
        "single": "aeb1171dc0052725",
        "multiple": "6169505dbf564d85",
        "conditional": "b2c30751eb925b94",
        "thread": "0ee5eec4a2aacff1",
        "multithread": "19479c914b7f149a",
        "branched": "cb737e846a0264b9",
    }


def test_draws_by_hand() -> None:
    first = hashlib.sha256(b"longthread needles a 1 0").digest()
    assert Draws(1, "a").bits(256) == int.from_bytes(first, "big")
    draws = Draws(1, "a")
    assert (draws.bits(4), draws.bits(8)) == (first[-1] & 15, (int.from_bytes(first[-2:], "big") >> 4) & 255)
    assert Draws(1, "a").shuffled(range(9)) == Draws(1, "a").shuffled(range(9)) != Draws(1, "b").shuffled(range(9))


@given(st.integers(1, 1000), st.integers(0, 99))
def test_draws_are_within_and_a_shuffle_loses_nothing(n: int, seed: int) -> None:
    draws = Draws(seed)
    assert all(0 <= draws.below(n) < n for _ in range(20))
    assert sorted(draws.shuffled(range(n))) == list(range(n))
    assert len(set(draws.sample(range(n), n // 2))) == n // 2


def test_draws_are_about_even() -> None:
    draws = Draws(0)
    counts = Counter(draws.below(6) for _ in range(6000))
    assert all(880 < counts[n] < 1120 for n in range(6))


@pytest.mark.parametrize(("task", "n_pairs"), list(product(TASKS, (12, 50, 333))))
def test_a_pair_is_80_characters(task: str, n_pairs: int) -> None:
    haystack, _ = task_of(task, needles=2, length=3).make(n_pairs, 0, 1)
    assert len(haystack.pairs) == n_pairs
    assert len(haystack.text) == PAIR_CHARS * n_pairs
    read = json.loads(haystack.text, object_pairs_hook=list)
    assert tuple(map(tuple, read)) == haystack.pairs


def test_the_largest_haystack_of_the_paper() -> None:
    haystack, asks = Thread(10, "random").make(13_100, 0, 10)
    assert len(haystack.text) == 1_048_000
    assert [answer(haystack, ask, "thread") for ask in asks[:2]] == [ask.expected for ask in asks[:2]]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(TASKS),
    st.sampled_from(DIRECTIONS),
    st.sampled_from(("random", "clustered")),
    st.integers(1, 6),
    st.integers(0, 10_000),
)
def test_answers_are_what_one_finds_by_hand(task: str, direction: str, placement: str, size: int, seed: int) -> None:
    needles = task_of(task, needles=size, length=size, threads=2, direction=direction, placement=placement)
    haystack, asks = needles.make(60, seed, min(2, needles.at_a_time(60)))
    for ask in asks:
        assert answer(haystack, ask, task) == ask.expected
        assert not set(ask.expected) & set(ask.passed)
        values = [value for _, value in haystack.pairs]
        assert all(values.count(value) == 1 for value in (*ask.expected, *ask.passed))


@pytest.mark.parametrize(
    ("task", "direction", "length"), list(product(("thread", "multithread", "branched"), DIRECTIONS, (2, 5, 25)))
)
def test_a_thread_runs_as_it_says(task: str, direction: str, length: int) -> None:
    haystack, asks = task_of(task, length=length, direction=direction).make(200, 3, 1)
    assert len(asks[0].threads) == (2 if task == "multithread" else 1)
    for thread, key in zip(asks[0].threads, keys_in(asks[0]), strict=True):
        current = key
        for place in thread:
            assert haystack.pairs[place][0] == current
            current = haystack.pairs[place][1]
        assert len(thread) == length
        if length == 2 and direction == "random":
            continue
        assert direction_of(thread) == direction


def test_random_threads_go_both_ways() -> None:
    for seed in range(30):
        _, asks = Thread(4, "random").make(40, seed, 1)
        steps = [b - a for a, b in zip(asks[0].threads[0], asks[0].threads[0][1:], strict=False)]
        assert min(steps) < 0 < max(steps)


def test_strangers_are_no_part_of_any_chain() -> None:
    haystack, asks = Thread(5).make(100, 0, 3)
    links = {value for _, value in haystack.pairs} & {key for key, _ in haystack.pairs}
    assert links == {value for ask in asks for value in ask.passed}
    assert len({key for key, _ in haystack.pairs}) == len({value for _, value in haystack.pairs}) == 100


def test_single_needles_stand_at_eleven_depths() -> None:
    haystack, asks = Single().make(101, 0, 11)
    assert [ask.threads[0][0] for ask in asks] == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    assert [dict(ask.traits)["depth"] for ask in asks] == list(DEPTHS)
    assert asks[0].text == PROMPT.format(key=haystack.pairs[0][0])
    assert asks[0].text.startswith('Extract the value corresponding to the specified key in the JSON object. Key: "')


def test_clustered_needles_stand_side_by_side_and_random_ones_do_not() -> None:
    for task in (Multiple, Conditional):
        _, asks = task(6, "clustered").make(100, 0, 2)
        for ask in asks:
            places = sorted(place for (place,) in ask.threads)
            assert places == list(range(places[0], places[0] + 6))
        _, asks = task(6).make(100, 0, 1)
        assert max(asks[0].threads)[0] - min(asks[0].threads)[0] > 6


def test_conditional_keys_hold_the_character_and_no_others_do() -> None:
    haystack, asks = Conditional(4).make(50, 0, 2)
    assert [dict(ask.traits)["character"] for ask in asks] == list(CHARACTERS)
    for character in CHARACTERS:
        assert sum(character in key for key, _ in haystack.pairs) == 4


def test_branches_share_their_key() -> None:
    haystack, asks = Branched(4).make(50, 0, 1)
    counts = Counter(key for key, _ in haystack.pairs)
    assert sorted(counts.values())[-4:] == [1, BRANCHES, BRANCHES, BRANCHES]
    assert sorted(map(len, ends(haystack.pairs, keys_in(asks[0])[0]))) == [1, 2, 3, 4]
    assert len(json.loads(haystack.text)) == 50 - 3  # which is why it is written as a string


@pytest.mark.parametrize(
    ("task", "n_pairs", "match"),
    [
        (Thread(13), 12, "a thread of length 13 needs 13 pairs, and the haystack has 12"),
        (Multithread(5, threads=3), 12, "3 threads of length 5 needs 15 pairs, and the haystack has 12"),
        (Multiple(25), 12, "25 needles needs 25 pairs, and the haystack has 12"),
        (Branched(9), 12, "a branched thread of length 9 needs 17 pairs"),
        (Single(), 0, "a needle needs 1 pair, and the haystack has 0"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_numbers(task: PairTask, n_pairs: int, match: str) -> None:
    with pytest.raises(DataError, match=match):
        task.make(n_pairs, 0, 1)


def test_zero_needles_are_refused() -> None:
    with pytest.raises(ValueError, match="needles must be at least 1, was: 0"):
        Multiple(0)
    with pytest.raises(ValueError, match="length must be at least 1, was: 0"):
        Thread(0)
    with pytest.raises(ValueError, match=r"direction must be one of forward, backward, random, was: sideways"):
        Thread(direction="sideways")  # type: ignore[arg-type]
