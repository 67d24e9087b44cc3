"""The account of a question: what each stage got, kept and dropped."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pipeline.document import Place
from pipeline.types.passages import Span
from pipeline.types.prompts import Part
from pipeline.types.sampling import Generation
from pipeline.types.turns import Recalled


@dataclass(frozen=True, slots=True)
class Dropped:
    """Text that was there before a stage and is not after it. `tokens` as the reader counts the text alone."""

    span: Span
    text: str
    place: Place
    tokens: int
    why: str


@dataclass(frozen=True, slots=True)
class Ranked:
    """A passage that a stage let through, and its score there: compare scores within one stage only."""

    span: Span
    score: float


@dataclass(frozen=True, slots=True)
class StageEntry:
    """One stage's account. Tokens are the reader's, of the passages' texts alone (no numbering, no template).

    `ranked` holds what a stage that finds or chooses passages let through, in its order.
    """

    stage: str
    seconds: float
    passages_in: int
    passages_out: int
    tokens_in: int
    tokens_out: int
    dropped: tuple[Dropped, ...] = ()
    notes: tuple[str, ...] = ()
    ranked: tuple[Ranked, ...] = ()


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the model saw, what was left out and why, and what each step took.

    `parts` maps a part of the prompt to its tokens; they add up to the prompt's length exactly. `window` is the
    number of cells that the prompt and the answer share; `reserved` of them are kept for the answer. `recalled` is what
    the prompt holds from memory beside the turns of its history. `soft` is how many of the prompt's cells are soft
    vectors, and how many tokens they stand for. `layout` is the prompt's layout (pipeline/answers/layouts.py).
    """

    stages: tuple[StageEntry, ...] = ()
    parts: tuple[tuple[Part, int], ...] = ()
    window: int = 0
    reserved: int = 0
    model: str = ""
    generation: Generation | None = None
    notes: tuple[str, ...] = ()
    recalled: tuple[Recalled, ...] = ()
    soft: tuple[int, int] = (0, 0)
    layout: str = ""

    @property
    def prompt_tokens(self) -> int:
        return sum(tokens for _, tokens in self.parts)

    def with_stage(self, entry: StageEntry) -> Ledger:
        return replace(self, stages=(*self.stages, entry))
