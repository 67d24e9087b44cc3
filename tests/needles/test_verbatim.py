"""Verbatim memory: the lists are what they say, and on a real model the conditions come in their order."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from pipeline.errors import ConfigError, ModelError
from pipeline.evaluation.needles.draws import Draws
from pipeline.evaluation.needles.nouns import ADJECTIVES, NOUNS
from pipeline.evaluation.needles.verbatim import (
    CONDITIONS,
    Protocol,
    derangement,
    measure,
    median_interval,
    repeat_surprisal,
    stimuli,
    text_between,
)
from pipeline.gguf.catalogue import resolve
from pipeline.models.engine import Engine, open_engine
from pipeline.models.settings import EngineSettings
from pipeline.types import Text


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with open_engine(EngineSettings(model="smollm2-135m", n_ctx=1024), resolve("smollm2-135m")) as opened:
        yield opened


def silent(*_: Any) -> None:
    pass


def test_the_words() -> None:
    assert len(set(NOUNS)) == len(NOUNS) >= 230
    assert len(set(ADJECTIVES)) == len(ADJECTIVES)
    assert all(word.isascii() and word.islower() for word in (*NOUNS, *ADJECTIVES))


@pytest.mark.parametrize("length", [3, 5, 7, 10])
def test_the_lists(length: int) -> None:
    protocol = Protocol(shifts=2)
    by_condition = {condition: stimuli(protocol, length, "A pause.", condition) for condition in CONDITIONS}
    assert {condition: len(members) for condition, members in by_condition.items()} == dict.fromkeys(CONDITIONS, 46)
    for repeated, permuted, novel, removed in zip(*by_condition.values(), strict=True):
        assert repeated == removed
        assert repeated.first == repeated.second == permuted.first == novel.first
        assert sorted(permuted.second) == sorted(permuted.first)
        assert all(a != b for a, b in zip(permuted.first, permuted.second, strict=True))
        assert not set(novel.second) & set(novel.first)
        for words, spans in zip((novel.first, novel.second), novel.spans(), strict=True):
            assert tuple(novel.text[start:end] for start, end in spans) == words
    first = by_condition["repeated"][:2]
    assert (first[0].base, first[1].base) == (0, 0)
    assert first[0].first[1:] == first[1].first[:-1]  # a circular shift


def test_a_derangement_leaves_no_word_in_its_place() -> None:
    orders = {derangement("abcd", Draws(seed)) for seed in range(300)}
    assert len(orders) == 9  # all there are of four
    assert all(a != b for words in orders for a, b in zip(words, "abcd", strict=True))


def test_the_interval_draws_whole_base_lists() -> None:
    values = [(base, float(base)) for base in range(5) for _ in range(100)]
    median, low, high = median_interval(values, 0)
    assert median == 2.0
    assert low < 1.5
    assert high > 2.5  # 500 independent values would give 2.0 to 2.0
    assert median_interval(values, 0) == (median, low, high)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"lists": 24}, r"`lists` must be in \[2, 23\], was: 24"),
        ({"lengths": (11,)}, r"`lengths` must be in \[2, 10\], was: 11"),
        ({"shifts": 0}, r"`shifts` must be in \[1, 10\], was: 0"),
        ({"between": (0,)}, r"`between` must be at least 1"),
    ],
)
def test_bad_protocols(settings: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        Protocol(**settings)


def test_the_text_between_grows(engine: Engine) -> None:
    counts = [text_between(engine, tokens)[1] for tokens in (26, 47, 99, 194, 435)]
    assert counts == sorted(counts)
    assert all(abs(n - wanted) <= 16 for n, wanted in zip(counts, (26, 47, 99, 194, 435), strict=True))


@pytest.mark.parametrize("lists", [2, pytest.param(4, marks=pytest.mark.thorough)])
def test_repeated_is_below_permuted_below_novel_and_removed_is_as_novel(engine: Engine, lists: int) -> None:
    results, notes = measure(Protocol(lists=lists, lengths=(5,), between=(26,)), engine, silent)
    median = {result.condition: result.median for result in results}
    assert notes == []
    assert median["repeated"] < 25 < median["permuted"] < 70 < median["novel"]
    assert median["removed"] > 75
    assert all(result.low <= result.median <= result.high and result.n == lists for result in results)


def test_surprisal_is_that_of_the_words_alone(engine: Engine) -> None:
    """By the long way round: each token's distribution, asked for on its own."""
    (stimulus, *_) = stimuli(Protocol(lists=2, lengths=(3,)), 3, "A pause.", "novel")
    begin = engine.weights.special_texts()["bos_token"]
    text = stimulus.text
    sums = []
    for words in (stimulus.first, stimulus.second):
        total = []
        for word in words[1:]:
            position = text.index(f" {word}")
            before = len(engine.weights.tokenize(begin, True)) + len(engine.weights.tokenize(text[:position]))
            after = before + len(engine.weights.tokenize(f" {word}"))
            whole = engine.logprobs((Text(begin, special=True), Text(text)))
            total.append(-whole[before - 1 : after - 1].sum())
        sums.append(np.mean(total))
    assert repeat_surprisal(stimulus, engine) == pytest.approx(100 * sums[1] / sums[0], rel=1e-3)


def test_what_is_removed_must_lie_before(engine: Engine) -> None:
    with pytest.raises(ModelError, match=r"without must lie in \[0, 2\), was: \(1, 3\)"):
        engine.logprobs("one two three four five", 3, (1, 3))
