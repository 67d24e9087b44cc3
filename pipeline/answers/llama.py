"""generate.llama: the reader is a GGUF model, run by llama.cpp on this machine."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from pipeline.answers.scripted import stream
from pipeline.contracts import Model, Progress, Tools
from pipeline.models.settings import EngineSettings
from pipeline.types import Generation, Prompt, Sampling


@dataclass(frozen=True)
class Llama(EngineSettings):
    """Has a GGUF model answer the prompt. Its settings are those of the engine and these of sampling.

    :param max_tokens: the longest answer in tokens; so many cells of the window are kept for it.
    :param temperature: 0 always takes the likeliest token, and then top_k, top_p and min_p do nothing.
    :param top_k: at temperatures above 0: choose among so many of the likeliest tokens; 0: all.
    :param top_p: and among the likeliest that together have this probability, in (0, 1].
    :param min_p: and among those at least this share as likely as the likeliest, in [0, 1].
    :param repeat_penalty: above 1 makes tokens less likely that were written already; 1 is none.
    :param seed: fixes the choice at temperatures above 0.
    :param stop: strings that end the answer and are not part of it.
    :param thinking: whether a model that can think does so before it answers. on: for the answer, and for nothing else
        that it is asked. auto is off.
    :param thinking_tokens: the longest thought in tokens; it is ended then, and so many cells of the window are kept.
    :param use_tuned: whether the file that `longthread models tune` found fastest for reading is used in its stead.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    thinking: Literal["auto", "off", "on"] = "auto"
    thinking_tokens: int = 512
    use_tuned: bool = True

    def __post_init__(self) -> None:
        EngineSettings.__post_init__(self)
        self.sampling  # noqa: B018 - its own checks
        if self.top_k < 0:
            raise ValueError(f"top_k must be at least 0, was: {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1], was: {self.top_p}")
        if not 0 <= self.min_p <= 1:
            raise ValueError(f"min_p must be in [0, 1], was: {self.min_p}")
        if self.repeat_penalty <= 0:
            raise ValueError(f"repeat_penalty must be greater than 0, was: {self.repeat_penalty}")
        if self.thinking_tokens < 1:
            raise ValueError(f"thinking_tokens must be at least 1, was: {self.thinking_tokens}")
        if isinstance(self.n_ctx, int) and self.max_tokens >= self.n_ctx:
            raise ValueError(f"max_tokens must be less than n_ctx ({self.n_ctx}), was: {self.max_tokens}")
        if isinstance(self.n_ctx, int) and self.sampling.thinking_tokens + self.max_tokens >= self.n_ctx:
            raise ValueError(
                f"thinking_tokens and max_tokens must be less than n_ctx ({self.n_ctx}) together, were: "
                f"{self.thinking_tokens} and {self.max_tokens}"
            )

    @property
    def sampling(self) -> Sampling:
        return Sampling(
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            repeat_penalty=self.repeat_penalty,
            seed=self.seed,
            stop=self.stop,
            thinking_tokens=self.thinking_tokens if self.thinking == "on" else 0,
        )

    @property
    def engine(self) -> EngineSettings:
        """The engine's part of the settings."""
        return EngineSettings(**{field.name: getattr(self, field.name) for field in fields(EngineSettings)})

    def check(self) -> None:
        from pipeline.models.catalogue import resolve

        resolve(self.model)

    @property
    def file(self) -> Path:
        """The file that is loaded. Raises ModelError where there is none."""
        from pipeline.models.catalogue import resolve
        from pipeline.models.tune import tuned

        path = resolve(self.model)
        return (tuned(path, "read") if self.use_tuned else None) or path

    def load(self, progress: Progress) -> Model:
        from pipeline.models.engine import open_engine

        return open_engine(self.engine, self.file, progress)

    def generate(self, prompt: Prompt, tools: Tools, sampling: Sampling | None = None) -> Generation:
        return stream(prompt, sampling or self.sampling, tools)
