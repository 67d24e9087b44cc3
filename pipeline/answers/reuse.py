"""Reusable passages: excerpts of texts that the model reads once, independent of the question.

The model sees the same words as without reuse: `<passage 2>`, title, text, `</passage>`. The number changes with the
question, so it is a small text of its own, whose cells are cached as well. The passage is read once, between tags
without a number, behind the fixed prefix of every prompt (instructions, examples). The prompt then takes the cells that
it shows: all of them, or those of the sentences that a compressor chose. pipeline/models/pieces.py describes what this
approximation loses.
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
    """The retrieved passages, which are read as wholes.

    `with_parts`: a compressed passage is cut from the cells of its whole; otherwise it is read again as text. The first
    `reread` tokens of each passage are read again. `home` is the text before the passages of a prompt without a memory,
    behind which passages are read, so that a chat finds the cells that `ask` has made; None until it is known.
    """

    passages: tuple[Passage, ...]
    reader: Model
    with_parts: bool
    reread: int = 0
    home: Prompt | None = None

    def whole(self, passage: Passage) -> Passage | None:
        """Returns the passage whose cells serve this one: itself, or the retrieved one around it. None if this passage
        has to be read as text.
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
        """Whether the reader can map the text's tokens to its characters."""
        if not isinstance(self.reader, TokenSpans):
            return False
        try:
            self.reader.token_spans(text)
        except ModelError:
            return False
        return True


@dataclass(frozen=True)
class Frame:
    """The text around a passage.

    `numbered` is its numbered tag, empty if the prompt has none; `opening` follows it, `closing` follows the text.
    `body` converts a text to what the model sees.
    """

    numbered: str
    opening: str
    closing: str
    body: Callable[[str], str]

    def texts(self, chunk: Passage) -> tuple[str, str, str, str]:
        """Returns the texts of a chunk that are read: tag without number, opening, text, closing."""
        tag = f"{self.numbered.split()[0]}>\n" if self.numbered else ""
        return tag, self.opening, same_length(chunk.text.strip(), self.body), self.closing


def excerpts(passage: Passage, chunk: Passage, frame: Frame, reread: int) -> list[Excerpt]:
    """Returns a passage as excerpts: its numbered tag, then its part of the chunk."""
    texts = tag, opening, text, closing = frame.texts(chunk)
    n_tag, n_opening = len(tag), len(tag) + len(opening)
    low, high = _within(passage, chunk, text)
    end = n_opening + len(text) + len(closing)
    stretches = _joined([(n_tag, n_opening), (n_opening + low, n_opening + high), (end - len(closing), end)])
    numbered = frame.numbered
    heading = [Excerpt((), (numbered,), ((0, len(numbered)),))] if numbered else []
    return [*heading, Excerpt((), tuple(filter(None, texts)), stretches, reread)]


def repeated(quote: Passage, chunk: Passage, frame: Frame) -> Excerpt | None:
    """Returns a repeated sentence as an excerpt of the chunk's cells; None if it has a line break."""
    tag, opening, text, closing = frame.texts(chunk)
    low, high = _within(quote, chunk, text)
    if len(text[low:high].split("\n")) > 1:
        return None
    n = len(tag) + len(opening)
    return Excerpt((), tuple(filter(None, (tag, opening, text, closing))), ((n + low, n + high),))


def space() -> Excerpt:
    """Returns a space between two excerpts. As a text it would cost a decode call of its own."""
    return Excerpt((), (" ",), ((0, 1),))


def _within(part: Passage, chunk: Passage, text: str) -> tuple[int, int]:
    """Returns the offsets of a part in the chunk's text, including the white space before it."""
    begin = chunk.start + len(chunk.text) - len(chunk.text.lstrip())
    low, high = max(0, part.start - begin), min(len(text), part.end - begin)
    while low and text[low - 1].isspace():
        low -= 1
    return low, high


def same_length(text: str, change: Callable[[str], str]) -> str:
    """Applies a change if it keeps the length, so that offsets stay valid; otherwise returns the text unchanged."""
    changed = change(text)
    return changed if len(changed) == len(text) else text


def read_anew(prompt: Prompt, since: int = 0) -> Prompt:
    """Turns the prompt's excerpts, from span number `since` on, into texts."""
    return tuple(
        Text(span.text, span.part) if n >= since and isinstance(span, Excerpt) else span
        for n, span in enumerate(prompt)
    )


def at_home(prompt: Prompt, home: Prompt | None = None) -> Prompt:
    """Sets the home of the prompt's excerpts: the prefix that stands before them for every question.

    `home` may come from another prompt with the same passages, so that their cells are shared.
    """
    if home is None:
        home = home_of(prompt)
    return tuple(replace(span, home=home) if isinstance(span, Excerpt) else span for span in prompt)


def home_of(prompt: Prompt) -> Prompt:
    """Returns the fixed prefix before a prompt's first excerpt, without questions and memory."""
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
    """Merges ascending stretches that touch, and drops empty ones."""
    joined: list[tuple[int, int]] = []
    for start, end in stretches:
        if start == end:
            continue
        if joined and joined[-1][1] >= start:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return tuple(joined)
