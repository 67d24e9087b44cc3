"""compress.gate: compress only where it is expected to save time. Ours; no paper.

A compressor costs time for each token that it reads, and saves the reader's time for each token that it drops. Both
speeds are measured in this process, on these models: the reader's by reading a piece of the first question's passages,
the compressor's on the passages of the questions that it worked on. With a small fast reader compression often loses
(a rerun of EXIT with a 3B reader on a GPU was four times slower end to end).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from time import perf_counter
from weakref import WeakKeyDictionary

from compressors.wrapper import Wrapper
from pipeline.contracts import Model, Tools
from pipeline.registry import Inner, Spec
from pipeline.types import Passage, Question, Sampling, Text

_SAMPLE_CHARS = 1200


@dataclass
class Speed:
    """What was measured with one reader: its tokens a second, and by compressor what it took and left."""

    reader: float
    compressors: dict[str, Work] = field(default_factory=dict)


@dataclass
class Work:
    """A compressor's work so far, in this process."""

    seconds: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0


_MEASURED: WeakKeyDictionary[Model, Speed] = WeakKeyDictionary()


@dataclass(frozen=True)
class Gate(Wrapper):
    """Compresses if that is expected to be quicker than reading everything; says what was expected, and why.

    The first question is always compressed, since that is how the compressor's speed becomes known; the reader's speed
    is known from reading about 300 tokens once.

    :param of: the compressor.
    :param least_gain: the expected seconds with and without must differ by this factor, from 1 on.
    """

    of: Inner = field(default_factory=lambda: Spec("compress.probe"))
    least_gain: float = 1.0

    def __post_init__(self) -> None:
        if self.least_gain < 1:
            raise ValueError(f"least_gain must be at least 1, was: {self.least_gain}")

    def compress(self, question: Question, passages: Sequence[Passage], tools: Tools) -> list[Passage]:
        if not passages:
            return []
        n_tokens = sum(tools.reader.count_text(passage.text) for passage in passages)
        speed = measured(tools.reader, passages)
        work = speed.compressors.setdefault(json.dumps(asdict(self.of), sort_keys=True), Work())
        if not work.tokens_in:
            self.compressor.compress(question, passages[:1], tools)  # loads what it needs, which is not its speed
            tools.note(f"{self.of.name} is timed on this question")
        elif not self.pays(n_tokens, work, speed.reader, tools):
            return list(passages)
        start = perf_counter()
        kept = self.compressor.compress(question, passages, tools)
        work.seconds += perf_counter() - start
        work.tokens_in += n_tokens
        work.tokens_out += sum(tools.reader.count_text(passage.text) for passage in kept)
        return kept

    def pays(self, n_tokens: int, work: Work, reader: float, tools: Tools) -> bool:
        """Whether so many tokens are read sooner when compressed, by what was measured; notes the figures."""
        whole = n_tokens / reader
        rate, ratio = work.seconds / work.tokens_in, work.tokens_out / work.tokens_in
        compressed = n_tokens * rate + ratio * whole
        pays = compressed * self.least_gain < whole
        tools.note(
            f"{'compressed' if pays else 'not compressed'}: expected {compressed:.2f} s with {self.of.name} "
            f"({1 / max(rate, 1e-9):.0f} tokens/s, keeps {ratio:.2f}), {whole:.2f} s without (the reader's "
            f"{reader:.0f} tokens/s)"
        )
        return pays


def measured(reader: Model, passages: Sequence[Passage]) -> Speed:
    """What is known of this reader; its speed is measured on a piece of the passages when first asked for."""
    found = _MEASURED.get(reader)
    if found is None:
        text = "\n".join(passage.text for passage in passages)[:_SAMPLE_CHARS]
        (stream,) = reader.generate([(Text(text or ".", "passages"),)], Sampling(max_tokens=1))
        found = _MEASURED[reader] = Speed(stream.result().prefill_tokens_per_s or float("inf"))
    return found
