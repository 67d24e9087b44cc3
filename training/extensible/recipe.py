"""All settings of a training run. The checkpoint and the card keep them.

`--set` changes a setting: `--set copies=0` trains without copying, `--set weight_kl=0 --set weight_next=1` only on the
text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from pipeline.errors import ConfigError


@dataclass(frozen=True)
class Recipe:
    """The settings of a training run. Lengths are in tokens. Weights multiply mean losses in nats per token.

    :param layers: number of the model's first layers in the extensible tokenizer.
    :param rank: rank of the LoRA on each of their matrices.
    :param chunk: tokens that the extensible tokenizer reads at a time.
    :param ks: possible numbers of tokens per soft vector; one is drawn for each instance.
    :param closing: number of vectors at the end of a context, learned for each of `ks`.
    :param k_shares: how often each of `ks` is drawn.
    :param chunks: possible lengths of the context in chunks; one is drawn for each instance.
    :param continuation: tokens to predict after each chunk.
    :param copies: stretches of the context to repeat in an instance.
    :param copy_tokens: length of such a stretch.
    :param cue: tokens of its beginning that are given.
    :param answers: share of instances that are passages with a question instead of running text.
    :param weight_next: weight of the text that follows the context.
    :param weight_kl: weight of the divergence, on that text, from the reader's predictions after the raw context.
    :param weight_copy: weight of the repeated stretches.
    :param weight_answer: weight of the answers to questions.
    :param weight_contrast: weight of log(1 + exp(margin + right - wrong)): right and wrong are the losses of a stretch
        after its own context and after that of another instance. The wrong loss has no gradient, so the term cannot
        fall by making it worse. It gives less weight to stretches that are already better after their own context.
    :param margin: margin of that term, in nats per token.
    :param top: number of the reader's most likely tokens in the divergence; all others count as one token.
    :param accumulate: instances per step.
    :param learning_rate: highest rate of the LoRA and the projection. Rates grow over `warmup` steps, then fall along a
        cosine to a tenth.
    :param tone_rate: highest rate of gains, offset and closing vectors.
    :param tone_first: for this first share of the run, only these are trained. The reader's way of continuing the text
        is learned fast, and otherwise at the cost of the vectors' content.
    :param warmup: number of warm-up steps.
    :param weight_decay: weight decay of AdamW for the LoRA, the projection and the gain of states.
    :param clip: largest norm of the gradient.
    :param sources: how often each kind of text is drawn.
    :param seed: seed of all draws and of the initial weights.
    """

    layers: int = 6
    rank: int = 32
    chunk: int = 256
    ks: tuple[int, ...] = (2, 4, 8, 16)
    closing: int = 4
    k_shares: tuple[float, ...] = (0.35, 0.35, 0.15, 0.15)
    chunks: tuple[int, ...] = (1, 2)
    continuation: int = 128
    copies: int = 0
    copy_tokens: int = 64
    cue: int = 4
    answers: float = 0.15
    weight_next: float = 0.0
    weight_kl: float = 1.0
    weight_copy: float = 1.0
    weight_answer: float = 0.5
    weight_contrast: float = 0.0
    margin: float = 0.5
    top: int = 64
    accumulate: int = 2
    learning_rate: float = 3e-4
    tone_rate: float = 2e-3
    tone_first: float = 0.2
    warmup: int = 20
    weight_decay: float = 0.01
    clip: float = 1.0
    sources: tuple[tuple[str, float], ...] = (("books", 0.35), ("talks", 0.2), ("wikitext", 0.2), ("paragraphs", 0.25))
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("layers", 1), ("rank", 1), ("accumulate", 1), ("continuation", 2), ("cue", 1), ("top", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, was: {getattr(self, name)}")
        if not self.ks or any(self.chunk % k for k in self.ks):
            raise ValueError(f"each of ks must divide chunk ({self.chunk}), was: {self.ks}")
        if len(self.k_shares) != len(self.ks) or min(self.k_shares) < 0 or sum(self.k_shares) <= 0:
            raise ValueError(f"k_shares must be a share for each of ks {self.ks}, was: {self.k_shares}")
        if not 0 <= self.tone_first <= 1 or self.closing < 0:
            raise ValueError(
                f"tone_first must be in [0, 1], was: {self.tone_first}; closing at least 0: {self.closing}"
            )
        if not self.chunks or min(self.chunks) < 1:
            raise ValueError(f"chunks must be at least 1 each, was: {self.chunks}")
        if self.continuation > self.chunk or not self.cue < self.copy_tokens <= self.chunk:
            raise ValueError("continuation and copy_tokens must be at most chunk, and cue less than copy_tokens")

    def changed(self, settings: Sequence[str]) -> Recipe:
        """The recipe with some `name=value` changed, values as JSON. Raises ConfigError for unknown names."""
        known = {field.name for field in fields(self)}
        new: dict[str, Any] = {}
        for setting in settings:
            name, _, value = setting.partition("=")
            if name not in known:
                raise ConfigError(f"--set {setting}: the recipe has no '{name}'; it has: {', '.join(sorted(known))}")
            try:
                new[name] = _tuples(json.loads(value))
            except ValueError as error:
                raise ConfigError(f"--set {setting}: the value must be JSON: {error}") from None
        try:
            return replace(self, **new)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"--set: {error}") from None

    def as_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @classmethod
    def of_json(cls, value: dict[str, Any]) -> Recipe:
        return cls(**{name: _tuples(item) for name, item in value.items()})


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
