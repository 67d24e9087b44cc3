"""Excerpts of a prompt as cells: which tokens of their texts they are, and what the engine puts in their place.

An excerpt says what is to be placed, not whether it was read before: prompts can be laid out, counted and sent to other
processes without the cells. The engine that answers makes the piece, or finds it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pipeline.models.capabilities import TokenSpans
from pipeline.models.cells import Tokens
from pipeline.types import Cached, Excerpt, Piece, Prompt, PromptSpan, Text

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Tokenizer(Protocol):
    """A vocabulary, as far as excerpts need one."""

    def tokenize(self, text: str, special: bool = False) -> NDArray[np.int32]: ...
    def token_spans(self, text: str) -> list[tuple[int, int]]: ...


def n_cells(span: PromptSpan, vocabulary: Tokenizer) -> int:
    """The cells that a span of a prompt takes."""
    if isinstance(span, Text):
        return len(vocabulary.tokenize(span.text, span.special))
    if isinstance(span, Excerpt):
        return sum(high - low for low, high in token_ranges(span, vocabulary))
    return span.n_cells


def has_excerpts(prompt: Prompt) -> bool:
    return any(isinstance(span, Excerpt) for span in prompt)


def token_ranges(excerpt: Excerpt, vocabulary: Tokenizer) -> list[tuple[int, int]]:
    """The excerpt's tokens as ranges [low, high) of those of its texts, ascending, none touching another.

    Raises ModelError where a text is cut and its tokens do not spell it, as in a vocabulary that normalises.
    """
    numbers: list[int] = []
    n = offset = 0
    for text in excerpt.texts:
        end = offset + len(text)
        n_tokens = len(vocabulary.tokenize(text))
        if any(low <= offset and end <= high for low, high in excerpt.stretches):
            numbers += range(n, n + n_tokens)
        elif any(low < end and offset < high for low, high in excerpt.stretches):
            numbers += [n + m for m, span in enumerate(vocabulary.token_spans(text)) if _touches(excerpt, offset, span)]
        n, offset = n + n_tokens, end
    return _joined(numbers)


def visible_spans(excerpt: Excerpt, vocabulary: TokenSpans) -> list[tuple[int, int]]:
    """For each of the excerpt's tokens, in order, its characters (start, end) in `excerpt.text`."""
    starts = np.cumsum([0, *(end - start for start, end in excerpt.stretches)])
    spans = []
    offset = 0
    for text in excerpt.texts:
        for low, high in vocabulary.token_spans(text):
            inside = [
                (int(before) + max(offset + low, start) - start, int(before) + min(offset + high, end) - start)
                for before, (start, end) in zip(starts, excerpt.stretches, strict=False)
                if start < offset + high and offset + low < end
            ]
            if inside:
                spans.append((inside[0][0], inside[-1][1]))
        offset += len(text)
    return spans


def expanded(
    prompt: Prompt, vocabulary: Tokenizer, piece: Callable[[Excerpt], Piece] | None
) -> list[PromptSpan | Tokens]:
    """The prompt with cells of pieces in the place of its excerpts, or where `piece` is None with their tokens."""
    spans: list[PromptSpan | Tokens] = []
    for span in prompt:
        if not isinstance(span, Excerpt):
            spans.append(span)
            continue
        ranges = token_ranges(span, vocabulary)
        if piece is None:
            tokens = np.concatenate([vocabulary.tokenize(text) for text in span.texts])
            spans += [Tokens(tokens[low:high], span.part) for low, high in ranges]
            continue
        whole, n_left = piece(span), span.reread
        for low, high in ranges:
            middle = min(high, low + n_left)
            n_left -= middle - low
            if low < middle:
                spans.append(Tokens(whole.tokens[low:middle], span.part))
            if middle < high:
                spans.append(Cached(whole, middle, high, span.part))
    return spans


def _touches(excerpt: Excerpt, offset: int, span: tuple[int, int]) -> bool:
    """Whether characters of the text that begins at `offset` lie in a stretch."""
    return any(start < offset + span[1] and offset + span[0] < end for start, end in excerpt.stretches)


def _joined(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending numbers as ranges without gaps."""
    ranges: list[tuple[int, int]] = []
    for n in numbers:
        if ranges and ranges[-1][1] == n:
            ranges[-1] = ranges[-1][0], n + 1
        else:
            ranges.append((n, n + 1))
    return ranges
