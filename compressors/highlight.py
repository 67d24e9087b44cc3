"""compress.highlight: read, highlight, summarise. Makes a summary of the sentences relevant to the question.

After Read, Highlight and Summarize: A Hierarchical Neural Semantic Encoder-based Approach (Ambati, Bandyopadhyay and
Mitra 2019, arXiv 1910.03177), which trains a network for the three steps. Ours takes only the idea: an extractive
compressor highlights, the reader summarises, and the summary carries the spans of the highlights. Fidelity: inspired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from compressors.probe import Probe
from compressors.summaries import summarise
from compressors.wrapper import Wrapper
from pipeline.checks import at_least
from pipeline.contracts import Runtime
from pipeline.registry import Inner, check_types
from pipeline.types import Passage, Question

INSTRUCTIONS = (
    "In at most {words} words, say what these passages say about this question: {question}\n"
    "Keep names, dates and numbers. Write only the summary."
)


@dataclass(frozen=True)
class Highlight(Wrapper):
    """Summarises the sentences that another compressor keeps, with their spans.

    Example: `compress.highlight: {of: {compress.exit_mini: {keep_ratio: 0.3}}, words: 60}`

    :param of: the compressor that highlights: compress.probe, compress.exit, or any other.
    :param words: length of the summary in words, as the prompt asks, at least 5.
    :param max_tokens: upper limit of the summary's tokens, at least 8.
    """

    of: Inner = field(default_factory=Probe)
    words: int = 60
    max_tokens: int = 128

    def __post_init__(self) -> None:
        check_types(self, Highlight)
        for name, least in (("words", 5), ("max_tokens", 8)):
            at_least(name, getattr(self, name), least)

    @property
    def why_dropped(self) -> str:
        return f"not highlighted: {self.why_not_kept}"

    def _compress(self, question: Question, passages: Sequence[Passage], runtime: Runtime) -> list[Passage]:
        highlights = self.of.compress(question, passages, runtime)
        if not highlights:
            return []
        instructions = INSTRUCTIONS.format(words=self.words, question=question.query)
        (summary,) = summarise([highlights], instructions, self.max_tokens, runtime)
        best = max(passage.score for passage in highlights)
        return [summary.passage(f"Summary of {len(summary.made_from)} highlights", best)]
