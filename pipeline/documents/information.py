"""Chunks of about equal information, which begin where a language model finds that a new topic begins.

Lester et al., Training LLMs over Neurally Compressed Text (https://arxiv.org/abs/2404.03626) cut text into windows
that take equally many bits under a language model. Ours cut between sentences, weigh equal bits against topics, and
keep the limit in tokens: the embedder reads tokens.

The model reads the text in windows of WINDOW_TOKENS that repeat CONTEXT_TOKENS of the one before. The bits of a token
are -log2 P(token | the text before it). The opening of each sentence is read once more on its own: a topic begins where
the text before a sentence saves few of its bits. Bits in context alone do not show that, since a sentence of common
words takes few wherever it stands.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pipeline.models.engine import Engine

WINDOW_TOKENS = 1536
CONTEXT_TOKENS = 256
OPENING_TOKENS = 16
"""Tokens at the start of a sentence that tell whether a topic begins with it."""
FILL = 0.75
"""The share of its limit that a chunk takes in a text whose information is even."""
TOPIC_WEIGHT = 0.25
"""What a clear topic at the start of a chunk is worth: so much of a chunk too many or too few bits costs as much."""
_HEADING, _PARAGRAPH = 1.0, 0.25  # what they add to the evidence for a new topic, which is in [-1, 1]
_LONE_HEADING = 10.0  # the cost of a heading at the end of a chunk: as that of a chunk of four times its share of bits

_OPENING_CHARS = 120
_ALONE = "\n\n "  # before an opening on its own: its words are spelt with the space that they have in a text

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Bits:
    """What a model finds of one stretch of text.

    `total` are the bits of all its tokens. `saved` are the bits a token by which the text before it makes its opening
    more likely; NaN where that is not known.
    """

    total: float
    saved: float


class Informed(Protocol):
    """Measures stretches of a text, each given all text before it that fits into a window."""

    @property
    def name(self) -> str:
        """The model's name, for an index's manifest."""

    def __call__(self, text: str, spans: Sequence[Span]) -> list[Bits]:
        """The bits of each span; the spans ascend and touch or leave gaps of white space."""


@dataclass(frozen=True)
class ModelBits:
    """Bits under a model that llama.cpp reads. The model is loaded on the first call and stays loaded.

    :param model: a GGUF file or a name of `longthread models list`.
    """

    model: str = "smollm2-135m"

    @property
    def name(self) -> str:
        return self.model

    def __call__(self, text: str, spans: Sequence[Span]) -> list[Bits]:
        engine = _engine(self.model)
        counts = [engine.count_text(text[start:end]) for start, end in spans]
        in_context: list[list[float]] = []
        for first, fresh, last in _windows(counts):
            in_context += _window_bits(engine, text, spans[first:last], fresh - first)
        alone = [_bits_of(engine.logprobs(_ALONE + text[a : min(b, a + _OPENING_CHARS)])) for a, b in spans]
        return [
            Bits(sum(bits), _mean(opening[:OPENING_TOKENS]) - _mean(bits[:OPENING_TOKENS]))
            for bits, opening in zip(in_context, alone, strict=True)
        ]


def _windows(counts: Sequence[int]) -> list[tuple[int, int, int]]:
    """Windows as (first, fresh, last): spans [first, fresh) are context for [fresh, last), which are measured."""
    windows: list[tuple[int, int, int]] = []
    fresh = 0
    while fresh < len(counts):
        first, n_context = fresh, 0
        while first and n_context + counts[first - 1] <= CONTEXT_TOKENS:
            first -= 1
            n_context += counts[first]
        last, n_tokens = fresh + 1, n_context + counts[fresh]
        while last < len(counts) and n_tokens + counts[last] <= WINDOW_TOKENS:
            n_tokens += counts[last]
            last += 1
        windows.append((first, fresh, last))
        fresh = last
    return windows


def _window_bits(engine: Engine, text: str, spans: Sequence[Span], n_context: int) -> list[list[float]]:
    """The bits of each token of the spans behind the first `n_context`.

    A span longer than the model's context is read in part.
    """
    begin, end = spans[0][0], spans[-1][1]
    tokens = engine.token_spans(text[begin:end])[: engine.window - 1]
    bounds = [start - begin for start, _ in spans]
    owners = [max(bisect_right(bounds, start) - 1, 0) for start, _ in tokens]
    start = max(next((n for n, owner in enumerate(owners) if owner >= n_context), 1), 1)
    shown = text[begin : begin + tokens[-1][1]] if tokens else ""
    values = _bits_of(engine.logprobs(shown, start)) if len(tokens) > start else []
    per_span: list[list[float]] = [[] for _ in spans]
    for owner, value in zip(owners[start:], values, strict=False):
        per_span[owner].append(value)
    return per_span[n_context:]


def _bits_of(logprobs: Iterable[float]) -> list[float]:
    return [-float(value) / math.log(2) for value in logprobs]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


@lru_cache(maxsize=1)
def _engine(model: str) -> Engine:
    from pipeline.gguf.catalogue import resolve
    from pipeline.models.engine import open_engine
    from pipeline.models.settings import EngineSettings

    n_ctx = 2 * WINDOW_TOKENS  # so that a sentence of many tokens fits behind its context
    return open_engine(EngineSettings(model=model, n_ctx=n_ctx, n_seq_max=1, n_cached=1), resolve(model))


@dataclass(frozen=True, slots=True)
class Unit:
    """A sentence as pack_information sees it: its tokens, its bits, and what begins with it."""

    tokens: int
    bits: Bits
    is_heading: bool = False
    is_paragraph: bool = False


def pack_information(units: Sequence[Unit], room: int) -> list[Span]:
    """Chunks as [first, last) units, none over `room` tokens but one that is a single unit.

    Of all ways to cut, the one with the least cost: the squares of what each chunk has too many or too few bits of
    the common share, less the evidence that a topic begins where it does. A heading ends a chunk only where what
    follows does not fit behind it, or has so many bits that a chunk of both would cost more than _LONE_HEADING.
    """
    if not units:
        return []
    topics = _topics(units)
    n_bits, n_tokens = sum(unit.bits.total for unit in units), sum(unit.tokens for unit in units)
    share = max(n_bits * room * FILL / max(n_tokens, 1), 1e-9)
    sums = [0.0]
    sizes = [0]
    for unit in units:
        sums.append(sums[-1] + unit.bits.total)
        sizes.append(sizes[-1] + unit.tokens)
    best, origin = [0.0], [0]  # of the first n units
    for last in range(1, len(units) + 1):
        cost, start = math.inf, last - 1
        for first in range(last - 1, -1, -1):
            if sizes[last] - sizes[first] > room and first < last - 1:
                break
            # What is left over at the end of a document may be small: nothing can be done about it.
            excess = (sums[last] - sums[first]) / share - 1
            ends_in_heading = units[last - 1].is_heading and last < len(units)
            value = (
                best[first]
                + excess * excess
                - TOPIC_WEIGHT * topics[first]
                + (_LONE_HEADING if ends_in_heading else 0.0)
            )
            if value < cost:
                cost, start = value, first
        best.append(cost)
        origin.append(start)
    spans: list[Span] = []
    last = len(units)
    while last:
        spans.append((origin[last], last))
        last = origin[last]
    return spans[::-1]


def _topics(units: Sequence[Unit]) -> list[float]:
    """Evidence that a topic begins with each unit: how far the saved bits are below the usual, and what marks it."""
    known = [unit.bits.saved for unit in units if not math.isnan(unit.bits.saved)]
    mean = sum(known) / len(known) if known else 0.0
    spread = math.sqrt(sum((value - mean) ** 2 for value in known) / len(known)) if known else 0.0
    topics = []
    for unit in units:
        is_known = spread > 0 and not math.isnan(unit.bits.saved)
        evidence = (mean - unit.bits.saved) / (2 * spread) if is_known else 0.0
        mark = _HEADING if unit.is_heading else _PARAGRAPH if unit.is_paragraph else 0.0
        topics.append(max(-1.0, min(1.0, evidence)) + mark)
    return topics
