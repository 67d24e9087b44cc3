"""compress.if_faster: compress only if that is expected to save time. Ours; no paper.

A compressor costs time for each token that it reads, and saves the reader's time for each token that it drops. Both
speeds are measured in this process with these models: the reader's on a piece of the first question's passages, the
compressor's on the questions that it compressed. With a small fast reader compression often loses (a rerun of EXIT with
a 3B reader on a GPU was four times slower end to end).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from weakref import WeakKeyDictionary

from compressors.probe import Probe
from compressors.wrapper import Wrapper
from pipeline.checks import at_least
from pipeline.contracts import Model, Runtime
from pipeline.registry import Inner, check_types, settings_of, stage_name
from pipeline.types import Passage, Question, Sampling, Text

_SAMPLE_CHARS = 1200


@dataclass
class Speed:
    """Measurements with one reader: its tokens per second, and the work of each compressor."""

    reader: float
    compressors: dict[str, Work] = field(default_factory=dict)


@dataclass
class Work:
    """A compressor's total work in this process."""

    seconds: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0


_MEASURED: WeakKeyDictionary[Model, Speed] = WeakKeyDictionary()


@dataclass(frozen=True)
class IfFaster(Wrapper):
    """Compresses if that is expected to be faster than reading everything. A note gives the expected times.

    The first question is always compressed, to measure the compressor's speed. The reader's speed is measured once, on
    about 300 tokens.

    Example: `compress.if_faster: {of: compress.probe, least_gain: 1.2}`

    :param of: the compressor.
    :param least_gain: required ratio of the expected seconds without and with compression, at least 1.
    """

    of: Inner = field(default_factory=Probe)
    least_gain: float = 1.0

    def __post_init__(self) -> None:
        check_types(self, IfFaster)
        at_least("least_gain", self.least_gain, 1)

    def _compress(self, question: Question, passages: Sequence[Passage], runtime: Runtime) -> list[Passage]:
        if not passages:
            return []
        n_tokens = sum(runtime.reader.count_text(passage.text) for passage in passages)
        speed = measured(runtime.reader, passages)
        key = json.dumps([stage_name(self.of), settings_of(self.of)], sort_keys=True)
        work = speed.compressors.setdefault(key, Work())
        if not work.tokens_in:
            self.of.compress(question, passages[:1], runtime)  # loads its models: that time must not count
            runtime.note(f"{stage_name(self.of)} is timed on this question")
        elif not self.pays(n_tokens, work, speed.reader, runtime):
            return list(passages)
        start = perf_counter()
        kept = self.of.compress(question, passages, runtime)
        work.seconds += perf_counter() - start
        work.tokens_in += n_tokens
        work.tokens_out += sum(runtime.reader.count_text(passage.text) for passage in kept)
        return kept

    def pays(self, n_tokens: int, work: Work, reader: float, runtime: Runtime) -> bool:
        """Whether compressing `n_tokens` is expected to save time. Notes the figures."""
        full_s = n_tokens / reader
        rate, ratio = work.seconds / work.tokens_in, work.tokens_out / work.tokens_in
        compressed_s = n_tokens * rate + ratio * full_s
        pays = compressed_s * self.least_gain < full_s
        runtime.note(
            f"{'compressed' if pays else 'not compressed'}: expected {compressed_s:.2f} s with {stage_name(self.of)} "
            f"({1 / max(rate, 1e-9):.0f} tokens/s, keeps {ratio:.2f}), {full_s:.2f} s without (the reader's "
            f"{reader:.0f} tokens/s)"
        )
        return pays


def measured(reader: Model, passages: Sequence[Passage]) -> Speed:
    """The measurements of this reader. The first call measures its speed on a piece of the passages."""
    speed = _MEASURED.get(reader)
    if speed is None:
        text = "\n".join(passage.text for passage in passages)[:_SAMPLE_CHARS]
        (stream,) = reader.generate([(Text(text or ".", "passages"),)], Sampling(max_tokens=1))
        speed = _MEASURED[reader] = Speed(stream.result().prefill_tokens_per_s or float("inf"))
    return speed
