"""Passages of a prompt as excerpts of texts that the model reads once, in words that do not change with the question.

The model sees the words that it would see anyway: `<passage 2>`, title, text, `</passage>`. What changes with the
question, the number, is a small text of its own, whose cells are kept as well. The passage is read once between tags
without a number, behind what stands before every question's passages (instructions, examples), and of its cells those
are placed that the prompt shows: all, or those of the sentences that a compressor chose. pipeline/models/pieces.py says
what that loses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pipeline.contracts import Model
from pipeline.errors import ModelError
from pipeline.models.capabilities import TokenSpans
from pipeline.types import Excerpt, Passage, Prompt, PromptSpan, Text

_FIXED = ("template", "system")
"""The parts of a prompt that stand before the passages of every question."""


@dataclass(frozen=True)
class Chunks:
    """The passages that were retrieved, which are read as wholes.

    `with_parts`: what a compressor left of one is cut out of its cells; otherwise it is read anew, as text. The first
    `reread` tokens of each passage are read anew. `home` is what they are read behind: what stands before the passages
    of a prompt without a memory, so that a chat finds what `ask` has read; None until it is known.
    """

    passages: tuple[Passage, ...]
    reader: Model
    with_parts: bool
    reread: int = 0
    home: Prompt | None = None

    def whole(self, passage: Passage) -> Passage | None:
        """The passage that is read as a whole for this one: itself, or the retrieved one that it lies in. None where it
        has to be read as it is.
        """
        if passage.soft is not None or passage.spans or len(passage.text) != passage.end - passage.start:
            return None
        touching = [chunk for chunk in self.passages if _touches(chunk, passage)]
        for chunk in touching:
            if chunk.span == passage.span and chunk.text == passage.text:
                return chunk
        if not touching:
            return passage
        holding = (chunk for chunk in touching if self.with_parts and _holds(chunk, passage))
        return next((chunk for chunk in holding if self._can_cut(chunk.text)), None)

    def _can_cut(self, text: str) -> bool:
        """Whether the reader knows where the tokens of a text stand in it."""
        if not isinstance(self.reader, TokenSpans):
            return False
        try:
            self.reader.token_spans(text)
        except ModelError:
            return False
        return True


@dataclass(frozen=True)
class Frame:
    """What stands around a passage: its tag with the number, as the prompt shows it, empty where it shows none; what
    else stands before the text, and what behind it. `body` gives a text as the model sees it.
    """

    numbered: str
    opening: str
    closing: str
    body: Callable[[str], str]

    def texts(self, chunk: Passage) -> tuple[str, str, str, str]:
        """What is read of a chunk: its tag without the number, what else stands before it, the text, the end."""
        tag = f"{self.numbered.split()[0]}>\n" if self.numbered else ""
        return tag, self.opening, same_length(chunk.text.strip(), self.body), self.closing


def excerpts(passage: Passage, chunk: Passage, frame: Frame, reread: int) -> list[Excerpt]:
    """A passage of the prompt: the tag with its number, then its part of what is read of the chunk."""
    texts = tag, opening, text, closing = frame.texts(chunk)
    n_tag, n_opening = len(tag), len(tag) + len(opening)
    low, high = _within(passage, chunk, text)
    end = n_opening + len(text) + len(closing)
    stretches = _joined([(n_tag, n_opening), (n_opening + low, n_opening + high), (end - len(closing), end)])
    numbered = frame.numbered
    found = [Excerpt((), (numbered,), ((0, len(numbered)),))] if numbered else []
    return [*found, Excerpt((), tuple(filter(None, texts)), stretches, reread)]


def repeated(quote: Passage, chunk: Passage, frame: Frame) -> Excerpt | None:
    """A sentence of a chunk that the prompt repeats, from the same cells; None where it has a line break."""
    tag, opening, text, closing = frame.texts(chunk)
    low, high = _within(quote, chunk, text)
    if len(text[low:high].split("\n")) > 1:
        return None
    n = len(tag) + len(opening)
    return Excerpt((), tuple(filter(None, (tag, opening, text, closing))), ((n + low, n + high),))


def space() -> Excerpt:
    """A space between two excerpts: a text that were read there would cost a call of its own."""
    return Excerpt((), (" ",), ((0, 1),))


def _within(part: Passage, chunk: Passage, text: str) -> tuple[int, int]:
    """Where a part of a chunk stands in the text that is read of it, with the white space before it."""
    begin = chunk.start + len(chunk.text) - len(chunk.text.lstrip())
    low, high = max(0, part.start - begin), min(len(text), part.end - begin)
    while low and text[low - 1].isspace():
        low -= 1
    return low, high


def same_length(text: str, change: Callable[[str], str]) -> str:
    """The changed text, where each character keeps its place; otherwise the text as it is."""
    changed = change(text)
    return changed if len(changed) == len(text) else text


def read_anew(prompt: Prompt, since: int = 0) -> Prompt:
    """The prompt with its excerpts, from span number `since` on, as texts that are read."""
    return tuple(
        Text(span.text, span.part) if n >= since and isinstance(span, Excerpt) else span
        for n, span in enumerate(prompt)
    )


def at_home(prompt: Prompt, home: Prompt | None = None) -> Prompt:
    """The prompt with the home of its excerpts: what stands before the first of them whatever the question is.

    `home` is that of another prompt whose passages these are, so that they need not be read behind this one's.
    """
    if home is None:
        home = home_of(prompt)
    return tuple(replace(span, home=home) if isinstance(span, Excerpt) else span for span in prompt)


def home_of(prompt: Prompt) -> Prompt:
    """What stands before the first excerpt of a prompt, questions and what is remembered left out."""
    before: list[PromptSpan] = []
    for span in prompt:
        if isinstance(span, Excerpt):
            break
        if isinstance(span, Text) and span.part in _FIXED:
            before.append(span)
    return tuple(before)


def _touches(chunk: Passage, passage: Passage) -> bool:
    return chunk.source == passage.source and chunk.start < passage.end and passage.start < chunk.end


def _holds(chunk: Passage, passage: Passage) -> bool:
    """Whether the passage is a part of the chunk, character by character."""
    start = passage.start - chunk.start
    is_plain = not chunk.spans and len(chunk.text) == chunk.end - chunk.start
    return is_plain and start >= 0 and chunk.text[start : start + len(passage.text)] == passage.text


def _joined(stretches: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Ascending stretches, those that touch made one, empty ones left out."""
    joined: list[tuple[int, int]] = []
    for start, end in stretches:
        if start == end:
            continue
        if joined and joined[-1][1] >= start:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return tuple(joined)
