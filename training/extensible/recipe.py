"""Everything that a training run may be told, in one place: it is written into the checkpoint, and into the card.

One change at a time: `--set copies=0` trains without copying, `--set weight_kl=0 --set weight_next=1` on the text
alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from pipeline.errors import ConfigError


@dataclass(frozen=True)
class Recipe:
    """The settings of a training run. Lengths are in tokens; weights multiply mean losses in nats a token.

    :param layers: of the model, from the first, that the extensible tokenizer has.
    :param rank: of the LoRA on each of their matrices.
    :param chunk: what the extensible tokenizer reads at a time.
    :param ks: tokens to one soft vector; one is drawn for each instance.
    :param closing: vectors at the end of a context, learned for each of `ks`: they say that running text goes on.
    :param k_shares: how often each of them is.
    :param chunks: lengths of the context in chunks; one is drawn for each instance.
    :param continuation: of the text after each chunk, so much is to be predicted.
    :param copies: stretches of the context that are to be said again, in an instance.
    :param copy_tokens: length of such a stretch.
    :param cue: tokens at its beginning that are given.
    :param answers: the share of instances that are passages with a question, rather than running text.
    :param weight_next: of the text that follows the context.
    :param weight_kl: of the divergence, there, from what the reader says after the context itself.
    :param weight_copy: of the stretches that are said again.
    :param weight_answer: of the answers to questions.
    :param weight_contrast: of log(1 + exp(margin + right - wrong)), right and wrong being the loss of a stretch after
        its own context and after another instance's. The wrong one is not trained: so it cannot fall by becoming worse,
        and the term is a weight that lets go of what is already better after its own context.
    :param margin: of that, in nats a token.
    :param top: how many of the reader's likeliest tokens the divergence tells apart; the others count as one.
    :param accumulate: instances in a step.
    :param learning_rate: the highest, of what reads the text (LoRA, projection); rates grow over `warmup` steps, and
        fall along a cosine to a tenth.
    :param tone_rate: the same of gains, offset and the vectors at the end.
    :param tone_first: for this share of the run only these are trained: what the reader needs to go on in the manner of
        the text is learned fast, and would be learned at the cost of what the vectors say.
    :param warmup: steps.
    :param weight_decay: of AdamW, on what reads the text (LoRA, projection and the gain of its states).
    :param clip: the longest gradient.
    :param sources: how often each kind of text is drawn.
    :param seed: of every draw and of the weights at the start.
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
        """The recipe with some `name=value` changed, values as JSON. Raises ConfigError for what it does not have."""
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
        return cls(**{name: _tuples(one) for name, one in value.items()})


def _tuples(value: Any) -> Any:
    return tuple(_tuples(one) for one in value) if isinstance(value, list) else value
