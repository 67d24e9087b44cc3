"""generate.llama: the reader is a GGUF model, run by llama.cpp on this machine."""

from __future__ import annotations

import json
from collections.abc import Hashable
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pipeline.answers.scripted import stream
from pipeline.checks import at_least
from pipeline.contracts import Model, Progress, Runtime
from pipeline.errors import SettingError
from pipeline.models.settings import EngineSettings
from pipeline.registry import check_types
from pipeline.types import Generation, LogitBias, Prompt, Sampling


@dataclass(frozen=True)
class Llama(EngineSettings):
    """Has a GGUF model answer the prompt. It has the settings of the engine and those of sampling.

    A setting of sampling that is null takes the value that the model's file recommends (`general.sampling.*`), and
    without one llama.cpp's usual value. With a grammar or a JSON schema the answer is shown as it was written: it is
    cited, and neither repaired nor replaced.

    Example: `generate.llama: {model: smollm2-135m, max_tokens: 128, temperature: 0.7, seed: 1}`

    :param max_tokens: longest answer in tokens, at least 1; that many cells of the window are reserved for it.
    :param temperature: randomness of the choice, in [0, 5]; 0 always takes the likeliest token, so that the same
        question has the same answer, and only penalties, DRY and biases count. null: the file's or 0.8.
    :param top_k: choose among this many of the likeliest tokens, at least 0; 0: all; null: the file's or 40. This and
        the next settings count at temperatures above 0.
    :param top_p: choose among the likeliest tokens that together have this probability, in (0, 1]; null: the file's or
        0.95.
    :param min_p: choose among tokens at least this share as likely as the likeliest, in [0, 1]; null: the file's or
        0.05.
    :param typical_p: choose among the tokens whose surprise is nearest to the expected one and that together have this
        probability, in (0, 1]; 1: all (locally typical sampling, arXiv 2202.00666).
    :param top_n_sigma: choose among the tokens whose logit is within this many standard deviations of the highest, in
        [0, 100]; 0: all (arXiv 2411.07641).
    :param xtc_probability: how often XTC leaves out the likeliest tokens, as long as one at least `xtc_threshold`
        likely is left, in [0, 1]; null: the file's or 0.
    :param xtc_threshold: probability from which on XTC leaves out tokens, in [0, 1], above 0.5 never; null: the file's
        or 0.1.
    :param mirostat: 1 or 2 chooses by a constant surprise instead of top_k, top_p and the others (arXiv 2007.14966); 0:
        off; null: the file's or 0.
    :param mirostat_tau: target surprise of mirostat, in [0, 100]; null: the file's or 5.
    :param mirostat_eta: learning rate of mirostat, in [0, 1]; null: the file's or 0.1.
    :param repeat_penalty: factor above 1 that makes tokens of the answer so far less likely, in [0.01, 10]; 1: none;
        null: the file's or 1.
    :param repeat_last_n: number of the answer's last tokens that the penalties look at, at least -1; -1: all; null: the
        file's or 64.
    :param presence_penalty: subtracted from the logit of a token that the answer already holds, in [-2, 2].
    :param frequency_penalty: subtracted from it for each time that the answer holds it, in [-2, 2].
    :param dry_multiplier: strength of DRY, which makes a token less likely that would continue a repeated sequence, in
        [0, 10]; 0: off.
    :param dry_base: growth of DRY's penalty for each token beyond the allowed length, in [1, 10].
    :param dry_allowed_length: length of a repetition that DRY lets pass, at least 1.
    :param dry_last_n: number of the answer's last tokens that DRY searches for repetitions, at least -1; -1: all.
    :param logit_bias: tokens to make more or less likely, such as [{token: " Sorry", bias: -10}]: a text that is one
        token, or a token's number, and a bias in [-100, 100] that is added to its logit.
    :param seed: seed of the choice at temperatures above 0, any whole number.
    :param stop: strings that end the answer and are not part of it.
    :param json_schema: path of a JSON schema that the answer must obey; null: none.
    :param grammar: path of a GBNF grammar with the rule `root` that the answer must obey; null: none. One of
        `json_schema` and `grammar` at most.
    :param thinking: whether a model that can think does so before it answers. on: for the answer alone. auto is off.
    :param thinking_tokens: longest thought in tokens, at least 1; that many cells of the window are reserved for it.
    :param use_tuned: whether to load the file that `longthread models tune` found fastest for reading instead.
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
    repeat_penalty: float | None = None
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
    json_schema: str | None = None
    grammar: str | None = None
    thinking: Literal["auto", "off", "on"] = "auto"
    thinking_tokens: int = 512
    use_tuned: bool = True

    def __post_init__(self) -> None:
        check_types(self, Llama)
        EngineSettings.__post_init__(self)
        if self.json_schema is not None and self.grammar is not None:
            raise SettingError("grammar", "must not stand beside json_schema: give one of the two")
        self.sampling  # noqa: B018 - its own checks
        if self.top_p is not None and self.top_p <= 0:
            raise SettingError("top_p", f"must be in (0, 1], was: {self.top_p}")
        if self.typical_p <= 0:
            raise SettingError("typical_p", f"must be in (0, 1], was: {self.typical_p}")
        at_least("thinking_tokens", self.thinking_tokens, 1)
        if isinstance(self.n_ctx, int) and self.max_tokens >= self.n_ctx:
            raise SettingError("max_tokens", f"must be less than n_ctx ({self.n_ctx}), was: {self.max_tokens}")
        if isinstance(self.n_ctx, int) and self.sampling.thinking_tokens + self.max_tokens >= self.n_ctx:
            raise SettingError(
                "thinking_tokens",
                f"and max_tokens must be less than n_ctx ({self.n_ctx}) together, were: "
                f"{self.thinking_tokens} and {self.max_tokens}",
            )

    @property
    def sampling(self) -> Sampling:
        """The sampling of each answer. Raises SettingError for a setting out of its range or a missing file."""
        same = {field.name: getattr(self, field.name) for field in fields(Sampling) if field.name not in _FORMS}
        same["thinking_tokens"] = self.thinking_tokens if self.thinking == "on" else 0
        return Sampling(**same, json_schema=_schema(self.json_schema), grammar=_read("grammar", self.grammar))

    @property
    def engine(self) -> EngineSettings:
        """The settings of the engine alone."""
        return EngineSettings(**{field.name: getattr(self, field.name) for field in fields(EngineSettings)})

    def check(self) -> None:
        """Raises ModelError if the model's file is missing, damaged, or not a generator."""
        from pipeline.gguf.catalogue import resolve
        from pipeline.gguf.purpose import require_generator

        require_generator(resolve(self.model))

    @property
    def n_parallel(self) -> int:
        return self.n_seq_max

    @property
    def model_name(self) -> str:
        return self.model

    @property
    def reader_key(self) -> Hashable:
        return self.engine, self.use_tuned

    def model_file(self) -> Path:
        """Returns the file to load, the tuned one if there is one. Raises ModelError for a missing model."""
        from pipeline.gguf.catalogue import resolve
        from pipeline.gguf.tune import tuned

        path = resolve(self.model)
        return (tuned(path, "read") if self.use_tuned else None) or path

    def load(self, progress: Progress) -> Model:
        from pipeline.models.engine import open_engine

        return open_engine(self.engine, self.model_file(), progress)

    def generate(self, prompt: Prompt, runtime: Runtime, sampling: Sampling | None = None) -> Generation:
        return stream(prompt, sampling or self.sampling, runtime)


_FORMS = ("json_schema", "grammar")
"""Settings that hold a path here, and the file's text in a Sampling."""


def _read(setting: str, path: str | None) -> str | None:
    """Reads a setting's file. Raises SettingError if it cannot be read."""
    if path is None:
        return None
    file = Path(path).expanduser()
    try:
        stat = file.stat()
        return _text(file, stat.st_size, stat.st_mtime_ns)
    except FileNotFoundError:
        raise SettingError(setting, f"must be a file that is there, was: {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(setting, f"must be a text file that can be read, was: {path} ({error})") from None


@lru_cache(16)
def _text(file: Path, size: int, mtime_ns: int) -> str:
    return file.read_text("utf-8")


def _schema(path: str | None) -> str | None:
    text = _read("json_schema", path)
    if text is not None:
        try:
            json.loads(text)
        except ValueError as error:
            raise SettingError("json_schema", f"must be a file of JSON, was: {path} ({error})") from None
    return text
