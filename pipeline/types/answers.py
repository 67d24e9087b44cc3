"""Answers with their citations, and the state of a question on its way through a pipeline."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pipeline.types.ledger import Ledger
from pipeline.types.passages import Passage, Question
from pipeline.types.prompts import Part, Prompt
from pipeline.types.turns import Recalled, Turn

CiteBy = Literal["evidence", "model", "both"]
"""Whose citations count: found by evidence, the model's own numbers alone, or both."""


Lead = Literal["generate", "quote"]
"""What leads an answer: the model's words, or a sentence of the documents."""


CitedBy = Literal["model", "match", "attribution", "question"]
"""How a citation was found.

`model`: the model wrote the passage's number, and its words stand there. `match`: the words, numbers or names of the
answer's sentence stand in the quote. `attribution`: leaving the passage out makes the answer less likely. `question`:
the quote is the sentence nearest to the question, and nothing ties the answer to it.
"""


@dataclass(frozen=True, slots=True)
class Citation:
    """A pointer from the answer to a passage.

    `number` is the passage's number in the prompt. `passage` is None for a number that the model wrote and that no
    passage has: such a citation is shown as invalid. `quote` lies in the passage:
    quote.text == source[quote.start:quote.end]. `support` is the share, in [0, 1], of the content words of the answer's
    sentence that stand in the quote. `drop` is by how many nats the answer becomes less likely without the quote; None
    where that was not computed.
    """

    number: int
    by: CitedBy
    passage: Passage | None
    quote: Passage | None
    support: float = 0.0
    drop: float | None = None

    @property
    def is_valid(self) -> bool:
        return self.passage is not None


@dataclass(frozen=True, slots=True)
class Answer:
    """What is shown as the answer, with checked citations.

    `by` is `model` where `text` is what the model wrote (without repetitions), `quote` where a sentence of the
    documents takes its place (`why` says why, and is empty where sentences lead all answers of this model), and `gate`
    where the pipeline refused before or after the model answered. `said` then
    holds the model's own words; it is empty where `text` has them. `model_text` is whichever of the two the model
    wrote.

    `is_abstention` is true where the documents do not hold the answer, by the pipeline's rule or the model's own
    words; `why` then says how that was decided, and `citations` hold the nearest sentence, if any. `unsupported` lists
    the answer's names and numbers that stand in none of the quotes. `faults` says what was wrong with what the model
    wrote and how it was mended, and whether the answer is cut.
    """

    text: str
    citations: tuple[Citation, ...] = ()
    is_abstention: bool = False
    why: str = ""
    unsupported: tuple[str, ...] = ()
    by: Literal["model", "quote", "gate"] = "model"
    said: str = ""
    faults: tuple[str, ...] = ()

    @property
    def model_text(self) -> str:
        return self.text if self.by == "model" else self.said


@dataclass(frozen=True, slots=True)
class State:
    """What one stage hands to the next. `passages` are in the order of their rank until `assemble` numbers them.

    `found` is what retrieval gave, best first, whatever later stages made of it. `shown` are the passages of the
    prompt, in the order of their numbers, which count from 1. `shown_before` are those of the turn before this one,
    whose places are kept. `turns` (repeated word for word) and `recalled` come from memory; `has_memory` says that a
        memory stage ran, though it may have had nothing to give.

    `second_prompt` is the prompt of a second attempt, in another layout; empty where there is none. `second_parts` and
    `second_layout` are what the ledger says of it. `stop` are strings
    that end an answer to these prompts, beside those of the settings. `cite_by` says whose citations count, `lead` what
    is shown first.
    `answerable` is the probability that the documents hold the answer, as a gate that judges left it.
    """

    question: Question
    passages: tuple[Passage, ...] = ()
    shown: tuple[Passage, ...] = ()
    prompt: Prompt = ()
    second_prompt: Prompt = ()
    second_parts: tuple[tuple[Part, int], ...] = ()
    second_layout: str = ""
    stop: tuple[str, ...] = ()
    cite_by: CiteBy = "evidence"
    lead: Lead = "generate"
    answer: Answer | None = None
    ledger: Ledger = field(default_factory=Ledger)
    found: tuple[Passage, ...] = ()
    shown_before: tuple[Passage, ...] = ()
    turns: tuple[Turn, ...] = ()
    recalled: tuple[Recalled, ...] = ()
    has_memory: bool = False
    answerable: float | None = None
