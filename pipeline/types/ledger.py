"""The ledger of a question: the input, output and dropped text of each stage."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pipeline.document import Place
from pipeline.types.passages import Span
from pipeline.types.prompts import Part
from pipeline.types.sampling import Generation
from pipeline.types.turns import Recalled


@dataclass(frozen=True, slots=True)
class Dropped:
    """Text that a stage dropped. `tokens` counts the text alone, by the reader's tokenizer."""

    span: Span
    text: str
    place: Place
    tokens: int
    why: str


@dataclass(frozen=True, slots=True)
class Ranked:
    """A passage that a stage passed on, and its score there: compare scores within one stage only."""

    span: Span
    score: float


@dataclass(frozen=True, slots=True)
class StageEntry:
    """The entry of one stage. Tokens are the reader's, of the passages' texts alone (no numbering, no template).

    `ranked` holds the output of a stage that finds or chooses passages, in order.
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
    """The account of one question: the model's input, the dropped text with reasons, and the cost of each stage.

    `parts` maps a part of the prompt to its tokens; they add up to the prompt's length exactly. `window` is the
    number of cells that the prompt and the answer share; `reserved` of them are for the answer. `recalled` holds the
    prompt's texts from memory, without the turns of its history. `soft` holds the number of soft vectors in the prompt,
    and the number of tokens that they replace. `layout` is the prompt's layout (pipeline/answers/layouts.py).
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
