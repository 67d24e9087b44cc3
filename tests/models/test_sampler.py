"""Each way of sampling, by what only it does: on distributions that a reader can check, and on a tiny real model."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ModelError, SettingError
from pipeline.models.context import Rows
from pipeline.models.engine import Engine, open_engine
from pipeline.models.sampler import Sampler, resolved
from pipeline.models.settings import EngineSettings
from pipeline.types import SAMPLING_RANGES, LogitBias, Sampling, Text
from tests.models.gguf_file import tiny_llama

PROMPT = (Text("The garden has seven hives."),)
RECOMMENDED = {
    "general.sampling.temp": 0.6,
    "general.sampling.top_k": 3,
    "general.sampling.top_p": 0.9,
    "general.sampling.min_p": 0.0,
    "general.sampling.penalty_repeat": 1.3,
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    path = tmp_path_factory.mktemp("sampler") / "tiny.gguf"
    path.write_bytes(tiny_llama(3, changes=RECOMMENDED))
    with open_engine(EngineSettings(model=str(path), n_ctx=256, threads=1), path) as engine:
        yield engine


@pytest.mark.parametrize(
    ("settings", "field", "message"),
    [
        ({"top_p": 2.0}, "top_p", "top_p must be in [0, 1], was: 2.0"),
        ({"grammar": 'root ::= "a"', "json_schema": "{}"}, "json_schema", "json_schema must not stand beside grammar"),
        ({"grammar": 'root ::= "a"', "mirostat": 2}, "mirostat", "mirostat must be 0 with a grammar or a json_schema"),
    ],
)
def test_an_error_of_a_setting_names_the_field(settings: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(SettingError, match=re.escape(message)) as raised:
        Sampling(**settings)
    assert raised.value.field == field


def write(engine: Engine, n: int = 24, **sampling: Any) -> list[int]:
    """The tokens of an answer."""
    (stream,) = engine.generate([PROMPT], Sampling(**{"max_tokens": n, **sampling}))
    text = stream.result().text
    return [int(token) for token in engine.tokenize(text)]


def first_tokens(engine: Engine, n: int = 60, **sampling: Any) -> set[int]:
    """The tokens that n samplers with other seeds choose after the prompt."""
    tokens = engine.weights.tokenize(PROMPT[0].text)
    engine.pool.forget()
    sequence = engine.pool.take()
    (output,) = engine.context.decode([Rows(sequence, 0, tokens, None, [len(tokens) - 1])])
    chosen = set()
    for seed in range(n):
        sampler = Sampler(engine.context, Sampling(max_tokens=1, seed=seed, **sampling))
        chosen.add(sampler.choose(output))
        sampler.close()
    engine.pool.release(sequence)
    return chosen


def likeliest(engine: Engine, n: int) -> list[int]:
    """The n likeliest next tokens."""
    return [int(token) for token in np.argsort(-engine.next_logprobs(PROMPT))[:n]]


PLAIN: dict[str, Any] = {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "repeat_penalty": 1.0}


def test_top_n_sigma_and_typical_leave_fewer_to_choose_from(engine: Engine) -> None:
    every = first_tokens(engine, temperature=2.0, **PLAIN)
    logits = engine.next_logprobs(PROMPT)
    near = first_tokens(engine, temperature=2.0, top_n_sigma=1.0, **PLAIN)
    n_near = int((logits >= logits.max() - logits.std()).sum())
    assert near <= set(likeliest(engine, n_near))
    assert len(near) < len(every)
    typical = first_tokens(engine, temperature=2.0, typical_p=0.2, **PLAIN)
    assert len(typical) < len(every)


def test_xtc_leaves_the_likeliest_out(engine: Engine) -> None:
    first, second = likeliest(engine, 2)
    p = np.exp(np.sort(engine.next_logprobs(PROMPT))[::-1])
    threshold = float(p[1]) * 0.99
    chosen = first_tokens(engine, temperature=1.0, xtc_probability=1.0, xtc_threshold=threshold, **PLAIN)
    assert first not in chosen
    assert second in chosen
    assert first in first_tokens(engine, temperature=0.3, **PLAIN)


@pytest.mark.parametrize("version", [1, 2])
def test_mirostat_aims_at_a_surprise(engine: Engine, version: Any) -> None:
    low = first_tokens(engine, temperature=1.0, mirostat=version, mirostat_tau=0.1)
    high = first_tokens(engine, temperature=1.0, mirostat=version, mirostat_tau=9.0)
    assert len(low) < len(high)


def test_a_bias_forces_and_forbids(engine: Engine) -> None:
    first, second = likeliest(engine, 2)
    token = engine.weights.tokenize("th").tolist()[0]
    assert write(engine, 4, logit_bias=(LogitBias("th", 100),)) == [token] * 4
    assert write(engine, 4, logit_bias=(LogitBias(token, 100),)) == [token] * 4
    assert first_tokens(engine, 1, logit_bias=(LogitBias(first, -100),)) == {second}
    with pytest.raises(ModelError, match=r"logit_bias: 'the' is not one token of tiny\.gguf but 2 \('th', 'e'\)"):
        write(engine, logit_bias=(LogitBias("the", 1),))
    with pytest.raises(ModelError, match=r"logit_bias: there is no token 258, the vocabulary ends at 257$"):
        write(engine, logit_bias=(LogitBias(258, 1),))


def longest_run(tokens: list[int]) -> int:
    """Length of the longest sequence of tokens that stands twice."""
    n = len(tokens)
    return max(k for k in range(n) if len({tuple(tokens[i : i + k]) for i in range(n - k + 1)}) < n - k + 1 or k == 0)


def test_what_works_against_repetition_does(engine: Engine) -> None:
    bias = (LogitBias("a", 6),)
    plain = write(engine, 40, logit_bias=bias, repeat_penalty=1.0)
    assert (longest_run(plain), len(set(plain))) == (39, 1)
    for sampling in (
        {"dry_multiplier": 5.0, "dry_base": 2.0},
        {"presence_penalty": 2.0},
        {"frequency_penalty": 2.0},
        {"repeat_penalty": 5.0, "repeat_last_n": -1},
    ):
        other = write(engine, 40, **{"logit_bias": bias, "repeat_penalty": 1.0, **sampling})
        assert longest_run(other) < 20, sampling
        assert len(set(other)) > 5, sampling


def test_the_same_seed_gives_the_same_answer(engine: Engine) -> None:
    ways: tuple[dict[str, Any], ...] = ({}, {"xtc_probability": 0.5}, {"mirostat": 1}, {"mirostat": 2})
    for way in ways:
        once, again, other = (write(engine, temperature=1.5, seed=seed, top_k=0, **way) for seed in (5, 5, 6))
        assert once == again
        assert once != other


# -------------------------------------------------------------------------------------------- what the file recommends
def test_the_files_own_values_stand_where_none_is_given(engine: Engine) -> None:
    metadata = engine.weights.metadata
    settings = resolved(Sampling(temperature=None, repeat_penalty=None), metadata)
    values = [settings.temperature, settings.top_k, settings.top_p, settings.min_p, settings.repeat_penalty]
    assert values == pytest.approx([0.6, 3, 0.9, 0.0, 1.3])
    assert (settings.repeat_last_n, settings.mirostat, settings.xtc_probability) == (64, 0, 0.0)
    settings = resolved(Sampling(temperature=0.2, top_k=9, top_p=0.5), metadata)
    assert (settings.temperature, settings.top_k, settings.top_p, settings.repeat_penalty) == (0.2, 9, 0.5, 1.0)
    assert first_tokens(engine, temperature=None) <= set(likeliest(engine, 3))


def test_without_a_word_of_the_file_the_usual_values_stand() -> None:
    settings = resolved(Sampling(temperature=None, repeat_penalty=None), {})
    assert (settings.temperature, settings.top_k, settings.top_p, settings.min_p) == (0.8, 40, 0.95, 0.05)
    assert (settings.repeat_penalty, settings.repeat_last_n, settings.mirostat_tau, settings.mirostat_eta) == (
        1.0,
        64,
        5.0,
        0.1,
    )


@pytest.mark.parametrize(
    ("value", "message"), [("much", "is no number: 'much'; set top_p"), ("7", r"in \[0, 1\], was")]
)
def test_a_recommendation_that_makes_no_sense_is_refused(value: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        resolved(Sampling(), {"general.sampling.top_p": value})


def test_mirostat_of_the_file_gives_way_to_a_grammar() -> None:
    metadata = {"general.sampling.mirostat": "2"}
    assert resolved(Sampling(), metadata).mirostat == 2
    assert resolved(Sampling(grammar='root ::= "a"'), metadata).mirostat == 0
    with pytest.raises(ValueError, match=r"^mirostat must be 0 with a grammar or a json_schema, was: 2$"):
        Sampling(grammar='root ::= "a"', mirostat=2)


# -------------------------------------------------------------------------------------------------------------- ranges
COUNTS = {"max_tokens", "thinking_tokens", "top_k", "mirostat", "repeat_last_n", "dry_allowed_length", "dry_last_n"}


@given(st.sampled_from(sorted(SAMPLING_RANGES)), st.floats(allow_nan=False), st.integers(-3, 1 << 31))
def test_a_value_is_taken_exactly_within_its_range(name: str, number: float, count: int) -> None:
    low, high = SAMPLING_RANGES[name]
    value = count if name in COUNTS else number
    given_: dict[str, Any] = {name: value}
    if low <= value <= high:
        assert getattr(Sampling(**given_), name) == value
    else:
        with pytest.raises(ValueError, match=rf"^{name} (must|should) be "):
            Sampling(**given_)


@pytest.mark.parametrize(
    ("bias", "message"), [((3, 101), "bias must be in"), ((-1, 0), "token must"), (("", 0), "token")]
)
def test_a_bias_has_a_range(bias: tuple[Any, float], message: str) -> None:
    with pytest.raises(ValueError, match=rf"^logit_bias\.{message}"):
        LogitBias(*bias)
