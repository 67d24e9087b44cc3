"""Candidate passages in one prompt with the question behind them, and the place of each token in its passage.

A compressor that asks the reader's attention needs the prompt that the reader would get, with all candidates in it, and
has to know which cells belong to which sentence. assemble.cited lays it out, so that the passages' kept cells are those
that its own prompts take (pipeline/answers/reuse.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pipeline.errors import ModelError
from pipeline.models.capabilities import Tokenizing, TokenSpans
from pipeline.models.excerpts import visible_spans
from pipeline.types import Excerpt, Passage, Prompt, PromptSpan, Text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipeline.contracts import Model


@dataclass(frozen=True)
class Body:
    """A span of a prompt, and where in it the text of passage number `passage` stands: characters [start, end).

    `lead` is the number of characters of the passage before those. `passage` -1: the span holds no passage's text.
    """

    span: PromptSpan
    passage: int = -1
    start: int = 0
    end: int = 0
    lead: int = 0


@dataclass(frozen=True)
class Candidates:
    """A prompt with candidate passages, as `prefix` up to the end of the last passage and `query` behind it.

    `question` is the question's range [low, high) of the query's cells. `owners`, int64 (n_prefix,), holds for each
    cell of the prefix the number of its passage, -1 for none, and `characters` the last character of its token in that
    passage's text.
    """

    prefix: Prompt
    query: Prompt
    question: tuple[int, int]
    owners: NDArray[np.int64]
    characters: NDArray[np.int64]


@runtime_checkable
class ShowsCandidates(Protocol):
    """Lays out candidate passages with the question behind them, as its prompts do."""

    def candidates(self, question: str, passages: Sequence[Passage], reader: Model) -> Candidates: ...


def candidates_of(prompt: Prompt, bodies: Sequence[Body], reader: Model) -> Candidates:
    """The prompt, taken apart. `bodies` are its spans of the part `passages`, in their order.

    Raises ModelError for a reader that does not say where its tokens stand in a text, and for a chat template that
    takes a passage apart.
    """
    import numpy as np

    if not isinstance(reader, TokenSpans):
        raise ModelError(f"{reader.name} does not say where its tokens stand in a text")
    places = [n for n, span in enumerate(prompt) if span.part == "passages"]
    if len(places) != len(bodies):
        raise ModelError(
            f"{reader.name}: its chat template makes {len(places)} texts of the passages' {len(bodies)}: "
            "set 'chat_template' to a file with another one"
        )
    bodies_at = dict(zip(places, bodies, strict=True))
    end = places[-1] + 1 if places else 0
    owners: list[NDArray[np.int64]] = []
    characters: list[NDArray[np.int64]] = []
    for n, span in enumerate(prompt[:end]):
        n_cells, body = reader.count((span,)), bodies_at.get(n)
        cell_owners, last = np.full(n_cells, -1, np.int64), np.zeros(n_cells, np.int64)
        if body is not None and body.passage >= 0:
            spans = _token_spans(span, reader)
            if len(spans) == n_cells:
                last = np.array([high for _, high in spans], np.int64) - 1
                inside = (last >= body.start) & (last < body.end)
                cell_owners[inside] = body.passage
                last = last - body.start + body.lead
        owners.append(cell_owners)
        characters.append(last)
    query = prompt[end:]
    return Candidates(
        prompt[:end],
        query,
        _question_cells(query, reader),
        np.concatenate(owners) if owners else np.empty(0, np.int64),
        np.concatenate(characters) if characters else np.empty(0, np.int64),
    )


def _token_spans(span: PromptSpan, reader: Model) -> list[tuple[int, int]]:
    """Character span of each token of a span of a prompt; none for one without text."""
    assert isinstance(reader, TokenSpans)  # noqa: S101 - candidates_of checked it
    if isinstance(span, Text) or (isinstance(span, Excerpt) and not isinstance(reader, Tokenizing)):
        return reader.token_spans(span.text)
    return visible_spans(span, reader) if isinstance(span, Excerpt) else []


def _question_cells(query: Prompt, reader: Model) -> tuple[int, int]:
    low = high = 0
    for span in query:
        n_cells = reader.count((span,))
        if span.part == "question":
            return low, low + n_cells
        low += n_cells
        high = low
    return 0, high
