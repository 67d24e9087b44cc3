"""The sampling settings of an answer, and the result of its generation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pipeline.errors import SettingError
from pipeline.registry import check_types


@dataclass(frozen=True, slots=True)
class LogitBias:
    """Makes a token more or less likely.

    :param token: the token's number, at least 0, or its text, which must be one token of the model's vocabulary.
    :param bias: added to the token's logit, in [-100, 100]; -100 as good as forbids it.
    """

    token: int | str
    bias: float

    def __post_init__(self) -> None:
        check_types(self, LogitBias)
        if self.token == "" or (isinstance(self.token, int) and self.token < 0):
            raise SettingError("logit_bias.token", f"must be a text or a number from 0 on, was: {self.token!r}")
        if not -100 <= self.bias <= 100:
            raise SettingError("logit_bias.bias", f"must be in [-100, 100], was: {self.bias}")


@dataclass(frozen=True, slots=True)
class Sampling:
    """The sampling settings. `temperature` 0 is greedy: then only penalties, DRY and biases have an effect.

    None takes the recommendation of the model's file (`general.sampling.*`), or else llama.cpp's usual value:
    temperature 0.8, top_k 40, top_p 0.95, min_p 0.05, repeat_penalty 1, repeat_last_n 64, no XTC, no mirostat (tau 5,
    eta 0.1). `pipeline.models.sampler.resolved` fills them in.

    `seed` fixes the choice at temperatures above 0. `stop` strings end the answer and are not part of it.
    `grammar` is GBNF with the rule `root`; `json_schema` is a JSON schema as a string; at most one of the two.
    Penalties and DRY look at what the model wrote, thoughts included, not at the prompt: `repeat_penalty` divides and
    `presence_penalty` and `frequency_penalty` lower the logits of tokens among its last `repeat_last_n` (-1: all).
    `thinking_tokens` is the budget of thoughts beside the answer's `max_tokens`, as far as the window has room; 0 is
    for prompts that were rendered without thinking. Stop strings and the grammar concern the answer alone.
    """

    max_tokens: int = 256
    temperature: float | None = 0.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float = 1.0
    top_n_sigma: float = 0.0
    xtc_probability: float | None = None
    xtc_threshold: float | None = None
    mirostat: Literal[0, 1, 2] | None = None
    mirostat_tau: float | None = None
    mirostat_eta: float | None = None
    repeat_penalty: float | None = 1.0
    repeat_last_n: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_last_n: int = -1
    logit_bias: tuple[LogitBias, ...] = ()
    seed: int = 0
    stop: tuple[str, ...] = ()
    grammar: str | None = None
    json_schema: str | None = None
    thinking_tokens: int = 0

    def __post_init__(self) -> None:
        check_types(self, Sampling)
        for name, (low, high) in SAMPLING_RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                span = f"in [{low:g}, {high:g}]" if high < math.inf else f"at least {low:g}"
                raise SettingError(name, f"must be {span}, was: {value}")
        if self.grammar is not None and self.json_schema is not None:
            raise SettingError("json_schema", "must not stand beside grammar: give one of the two")
        if self.mirostat and (self.grammar is not None or self.json_schema is not None):
            raise SettingError("mirostat", f"must be 0 with a grammar or a json_schema, was: {self.mirostat}")


SAMPLING_RANGES = {
    "max_tokens": (1, math.inf),
    "thinking_tokens": (0, math.inf),
    "temperature": (0, 5),
    "top_k": (0, math.inf),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "typical_p": (0, 1),
    "top_n_sigma": (0, 100),
    "xtc_probability": (0, 1),
    "xtc_threshold": (0, 1),
    "mirostat": (0, 2),
    "mirostat_tau": (0, 100),
    "mirostat_eta": (0, 1),
    "repeat_penalty": (0.01, 10),
    "repeat_last_n": (-1, math.inf),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
    "dry_multiplier": (0, 10),
    "dry_base": (1, 10),
    "dry_allowed_length": (1, math.inf),
    "dry_last_n": (-1, math.inf),
}
"""The closed range of each setting."""


Finish = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True)
class Generation:
    """A model's answer to one prompt, and its cost.

    `prompt_tokens` counts every cell of the prompt (soft vectors too): `reused_tokens` were in the KV cache,
    `restored_tokens` were copied from cached pieces (`shifted_tokens` of these to other positions), and the rest was
    read. `is_composed`: some cells had not attended to all preceding ones, so the answer approximates reading
    everything. `stored_tokens` belong to whole passages that were read first to cache their cells, in `stored_s`
    seconds. `saved_s` estimates the seconds that reading the restored tokens would have taken, from the time of reading
    their passages.

    `prefill_s` is the time from the start of the prompt to its last token, including `stored_s`; `decode_s` is the time
    from there to the end. `finish`: `stop` (end of turn or a stop string), `length` (max_tokens), `cancelled`.

    `text` is the answer alone. `thoughts` is the text before it, in `thought_tokens` tokens with their marks; it is
    shown and never used. `is_thought_cut`: the budget, or the end of the generation, ended the thoughts.
    """

    text: str
    finish: Finish
    prompt_tokens: int
    reused_tokens: int
    answer_tokens: int
    prefill_s: float
    decode_s: float
    thoughts: str = ""
    thought_tokens: int = 0
    is_thought_cut: bool = False
    restored_tokens: int = 0
    shifted_tokens: int = 0
    is_composed: bool = False
    stored_tokens: int = 0
    stored_s: float = 0.0
    saved_s: float = 0.0

    @property
    def read_tokens(self) -> int:
        """Tokens that were decoded for the prompt, including those of passages that were read for the cache."""
        return self.prompt_tokens - self.reused_tokens - self.restored_tokens + self.stored_tokens

    @property
    def prefill_tokens_per_s(self) -> float | None:
        n = self.read_tokens
        return n / self.prefill_s if self.prefill_s > 0 else None

    @property
    def decode_tokens_per_s(self) -> float | None:
        n = self.answer_tokens + self.thought_tokens
        return n / self.decode_s if self.decode_s > 0 else None
