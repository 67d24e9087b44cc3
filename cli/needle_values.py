"""Values of `longthread needle` that are more than a word: lists of numbers, types of the cache, rope scaling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from pipeline.errors import ConfigError

ROPE = ("linear", "yarn", "ntk")
_MIN_NOUNS = 20

Book = Annotated[
    tuple[str, ...],
    typer.Option("--book", metavar="PATH", help="Documents to hide sentences in. Default: generated prose."),
]


@dataclass(frozen=True, kw_only=True)
class ReaderOptions:
    """The context of the model that is measured."""

    n_ctx: Annotated[int | None, typer.Option("--n-ctx", metavar="N", help="Tokens of the model's context.")] = None
    kv: Annotated[
        str | None,
        typer.Option(
            "--kv",
            metavar="KEYS:VALUES",
            help="Types of the cache: f32, f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0, iq4_nl.",
        ),
    ] = None
    rope: Annotated[
        str | None,
        typer.Option(
            "--rope", metavar="KIND:FACTOR", help="A scaling beyond the trained context: linear, yarn or ntk."
        ),
    ] = None

    def reader_settings(self) -> dict[str, Any]:
        """The settings of the model. None keeps the pipeline's. Raises ConfigError."""
        if self.n_ctx is not None and self.n_ctx < 64:
            raise ConfigError(f"--n-ctx must be at least 64, was: {self.n_ctx}")
        return {"n_ctx": self.n_ctx, **self._cache_types(), **self._rope_scaling()}

    def _cache_types(self) -> dict[str, Any]:
        if self.kv is None:
            return {}
        from pipeline.models.settings import KvType

        keys, _, values = self.kv.partition(":")
        check_choices("--kv", [keys, values or keys], get_args(KvType))
        return {"kv_k": keys, "kv_v": values or keys}

    def _rope_scaling(self) -> dict[str, Any]:
        if self.rope is None:
            return {}
        kind, _, factor = self.rope.partition(":")
        check_choices("--rope", [kind], ROPE)
        try:
            value = float(factor)
        except ValueError:
            raise ConfigError(f"--rope must be {'|'.join(ROPE)}:FACTOR, such as yarn:4, was: {self.rope}") from None
        if not 1 < value < math.inf:
            raise ConfigError(f"--rope: the factor must be greater than 1, was: {factor}")
        return {"rope_scaling": kind, "rope_factor": value}


def parse_numbers(option: str, text: str) -> tuple[int, ...]:
    """Parses `12,25,50`. Raises ConfigError for anything but whole numbers of at least 1."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise ConfigError(f"{option} must be whole numbers with commas between, such as 12,25,50, was: {text!r}")
    numbers = tuple(dict.fromkeys(int(part) for part in parts))
    if min(numbers) < 1:
        raise ConfigError(f"{option}: numbers of at least 1 are needed, were: {text}")
    return numbers


def check_choices(option: str, values: Sequence[str], choices: Sequence[str]) -> None:
    for value in values:
        if value not in choices:
            raise ConfigError(f"{option} must be one of {', '.join(choices)}, was: {value}")


def read_nouns(path: Path) -> tuple[str, ...]:
    """The words of a file, one a line. Raises ConfigError for a file with too few plain words."""
    try:
        words = tuple(dict.fromkeys(word.strip() for word in path.read_text("utf-8").splitlines() if word.strip()))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--nouns {path}: cannot be read: {error}") from None
    plain = tuple(word for word in words if word.isascii() and word.isalpha())
    if len(plain) < _MIN_NOUNS:
        raise ConfigError(
            f"--nouns {path}: holds {len(plain)} plain words, one a line; at least {_MIN_NOUNS} are needed"
        )
    return plain
