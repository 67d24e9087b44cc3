"""Leave-one-out scoring: how likely an answer is after a prompt without one of its passages or sentences.

There are two methods; attribution.py describes their cost and accuracy. `HiddenCells` reads the prompt once and hides
cells of it. `NewPrompts` assembles and reads each prompt again.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol

from pipeline.answers.reuse import read_anew
from pipeline.contracts import Assembler, Model, Runtime
from pipeline.errors import ModelError
from pipeline.models.capabilities import Ablates, Surprised, TokenSpans, before_answer
from pipeline.types import Excerpt, Passage, Prompt, Soft, State, Text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Method = Literal["cells", "prompts"]


@dataclass(frozen=True, slots=True)
class Part:
    """The omission of a variant: passage `number` (from 0), or only the characters [start, end) of its text."""

    number: int
    chars: tuple[int, int] | None = None


class Variants(Protocol):
    """Scores the prompt without each part: log P of the answer's tokens, float32 (n_parts, n_target).

    The part None leaves out nothing, `ALL` every passage.
    """

    method: Method
    n_scored: int

    def score(self, parts: Sequence[Part | None]) -> NDArray[np.float32]: ...


ALL = Part(-1)


def variants_of(
    state: State, assembler: Assembler, runtime: Runtime, target: Prompt, method: Method | None
) -> Variants:
    reader = runtime.reader
    state = replace(state, prompt=_with_read_ending(state.prompt))
    can_forget = isinstance(reader, Ablates) and isinstance(reader, TokenSpans) and reader.can_forget
    if method == "cells" and not can_forget:
        raise ModelError(f"the cells of {reader.name} cannot be hidden: take the method 'prompts'")
    if method != "prompts" and can_forget:
        places = _places(state.prompt, state.shown, reader)
        if places is not None:
            return HiddenCells(state, assembler, runtime, target, places)
        if method == "cells":
            raise ModelError("the passages cannot be found in the prompt as they were shown: take the method 'prompts'")
    if not isinstance(reader, Surprised):
        raise ModelError(f"{reader.name} gives no probabilities: what an answer stands on cannot be computed with it")
    return NewPrompts(state, assembler, runtime, target)


def _prompt_without(state: State, assembler: Assembler, runtime: Runtime, part: Part) -> Prompt:
    """Assembles the prompt again without the part."""
    shown = state.shown
    if part is ALL:
        left: tuple[Passage, ...] = ()
    else:
        without = _without(shown[part.number], part)
        left = (*shown[: part.number], *([without] if without else []), *shown[part.number + 1 :])
    state = replace(state, passages=left, shown=(), shown_before=left, prompt=(), answer=None)
    prompt = assembler.assemble(state, runtime, state.ledger.reserved).prompt
    return before_answer(runtime.reader, _with_read_ending(prompt))


def _ending(prompt: Prompt) -> Prompt:
    """Returns the prompt from its last question on."""
    start = _last_question(prompt)
    return () if start is None else prompt[start:]


def _with_read_ending(prompt: Prompt) -> Prompt:
    """Turns the excerpts behind the last question into texts: cells that are read again must be tokens."""
    start = _last_question(prompt)
    return prompt if start is None else read_anew(prompt, start)


def _last_question(prompt: Prompt) -> int | None:
    return max((n for n, span in enumerate(prompt) if span.part == "question"), default=None)


class NewPrompts:
    """Assembles each prompt without the part and reads it. Prompts share the cells of their common prefix."""

    method: Method = "prompts"

    def __init__(self, state: State, assembler: Assembler, runtime: Runtime, target: Prompt) -> None:
        self.state, self.assembler, self.runtime, self.target = state, assembler, runtime, target
        self.n_scored = 0

    def score(self, parts: Sequence[Part | None]) -> NDArray[np.float32]:
        import numpy as np

        rows = []
        for part in parts:
            prompt = self.state.prompt if part is None else self._without(part)
            n_prompt = self.runtime.reader.count(prompt)
            rows.append(self.runtime.reader.logprobs((*prompt, *self.target), n_prompt))  # type: ignore[attr-defined]
            self.n_scored += part is not None
        return np.array(rows)

    def _without(self, part: Part) -> Prompt:
        return _prompt_without(self.state, self.assembler, self.runtime, part)


def _without(passage: Passage, part: Part) -> Passage | None:
    """Cuts the part's characters from the passage; None if nothing is left. The text then differs from its source's."""
    if part.chars is None:
        return None
    text = _text_without(passage, part.chars)
    return replace(passage, text=text) if text.strip() else None


class HiddenCells:
    """Reads the prompt once, hides the part's cells, and reads the prompt's end and the answer again."""

    method: Method = "cells"

    def __init__(
        self, state: State, assembler: Assembler, runtime: Runtime, target: Prompt, places: Sequence[_Place]
    ) -> None:
        self.state, self.assembler, self.runtime, self.target, self.places = state, assembler, runtime, target, places
        self.tail = _tail(state.prompt, max(place.high for place in places), runtime.reader)
        self.ending = _ending(state.prompt)
        self.repeats = any(span.part == "passages" for span in self.ending)
        self.n_scored = 0

    def score(self, parts: Sequence[Part | None]) -> NDArray[np.float32]:
        self.n_scored += sum(part is not None for part in parts)
        cuts = [self._cut(part) for part in parts]
        endings = [self._ending(part) for part in parts] if self.repeats else None
        return self.runtime.reader.ablate(self.state.prompt, self.target, cuts, self.tail, endings)  # type: ignore[attr-defined,no-any-return]

    def _ending(self, part: Part | None) -> Prompt | None:
        """Returns the end of the prompt without the part's repeated sentences; None if it is unchanged."""
        if part is None:
            return None
        ending = _ending(_prompt_without(self.state, self.assembler, self.runtime, part))
        return None if ending == self.ending else ending

    def _cut(self, part: Part | None) -> tuple[int, int]:
        if part is None:
            return 0, 0
        if part is ALL:
            return min(place.low for place in self.places), max(place.high for place in self.places)
        place = self.places[part.number]
        return (place.low, place.high) if part.chars is None else place.cells(*part.chars)


@dataclass(frozen=True, slots=True)
class _Place:
    """The cells [low, high) of a passage in the prompt, including tags and title that belong to it alone.

    `cells` maps characters [start, end) of the passage's text to cells.
    """

    low: int
    high: int
    cells: Callable[[int, int], tuple[int, int]]


def _tail(prompt: Prompt, last: int, reader: Model) -> int:
    """Returns the cell from which a variant is read again: the start of the question if it follows the passages.

    Turns of a conversation between passages and question are not read again.
    """
    n = 0
    for span in prompt:
        if n >= last and span.part == "question":
            return n
        n += reader.count((span,))
    return last


def _places(prompt: Prompt, shown: Sequence[Passage], reader: Model) -> list[_Place] | None:
    """Locates each passage in the prompt, ignoring white space; None if one is not there verbatim."""
    owners: list[tuple[_Span, int]] = []
    spans = list(_spans(prompt, reader))
    first = end = 0
    for passage in shown:
        needle = "".join(passage.text.split())
        for n in range(first, len(spans)):
            offset = spans[n].find(passage, needle, end if n == first else 0)
            if offset >= 0:
                owners.append((spans[n], offset))
                first, end = n, offset + len(needle)
                break
        else:
            return None
    n_owners = [sum(other is span for other, _ in owners) for span, _ in owners]
    return [
        span.place(passage, offset, is_alone=n == 1)
        for (span, offset), passage, n in zip(owners, shown, n_owners, strict=True)
    ]


@dataclass(frozen=True, eq=False)
class _Span:
    """A span of the prompt that holds passages, from cell `low` to `high`.

    `dense` holds its characters without white space, `marks` their offsets.
    """

    span: Text | Soft | Excerpt
    low: int
    high: int
    reader: Model
    marks: tuple[int, ...] = ()
    dense: str = ""

    def find(self, passage: Passage, needle: str, start: int) -> int:
        """Returns the passage's offset in `dense`, from `start` on; -1 if it is not there."""
        if isinstance(self.span, Soft) or passage.soft is not None:
            return 0 if self.span is passage.soft else -1
        return self.dense.find(needle, start)

    def place(self, passage: Passage, offset: int, is_alone: bool) -> _Place:
        """Returns the passage's place: the whole span if it is alone in it."""
        inside = [n for n, char in enumerate(passage.text) if not char.isspace()]

        def cells(start: int, end: int) -> tuple[int, int]:
            if isinstance(self.span, Soft):
                return self.low, self.high
            first = self.marks[offset + bisect_left(inside, start)]
            last = self.marks[offset + bisect_left(inside, end) - 1]
            if isinstance(self.span, Excerpt):
                from pipeline.models.excerpts import visible_spans

                tokens = visible_spans(self.span, self.reader)  # type: ignore[arg-type]
            else:
                tokens = self.reader.token_spans(self.span.text)  # type: ignore[attr-defined]
            hit = [n for n, (low, high) in enumerate(tokens) if low <= last and high > first]
            return self.low + hit[0], self.low + hit[-1] + 1

        low, high = (self.low, self.high) if is_alone else cells(0, len(passage.text))
        return _Place(low, high, cells)


def _spans(prompt: Prompt, reader: Model) -> Iterator[_Span]:
    low = 0
    for span in prompt:
        high = low + reader.count((span,))
        if span.part == "passages" and isinstance(span, Soft):
            yield _Span(span, low, high, reader)
        elif span.part == "passages" and isinstance(span, Text | Excerpt):
            marks = tuple(n for n, char in enumerate(span.text) if not char.isspace())
            yield _Span(span, low, high, reader, marks, "".join(span.text[n] for n in marks))
        low = high


def _text_without(passage: Passage, chars: tuple[int, int]) -> str:
    return passage.text[: chars[0]] + passage.text[chars[1] :]
