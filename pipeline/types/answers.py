"""Answers with their citations, and the state of a question in a pipeline."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pipeline.types.ledger import Ledger
from pipeline.types.passages import Passage, Question
from pipeline.types.prompts import Part, Prompt
from pipeline.types.turns import Recalled, Turn

CiteBy = Literal["evidence", "model", "both"]
"""The source of citations: evidence, the model's own numbers, or both."""


Lead = Literal["generate", "quote"]
"""What an answer shows first: the model's words, or a sentence of the documents."""


CitedBy = Literal["model", "match", "attribution", "question"]
"""How a citation was found.

`model`: the model wrote the passage's number, and the passage holds its words. `match`: the quote holds words, numbers
or names of the answer's sentence. `attribution`: leaving the passage out makes the answer less likely. `question`: the
quote is the sentence nearest to the question, and nothing ties the answer to it.
"""


@dataclass(frozen=True, slots=True)
class Citation:
    """A pointer from the answer to a passage.

    `number` is the passage's number in the prompt. `passage` is None if the model wrote a number that no passage has;
    such a citation is invalid. `quote` lies in the passage: quote.text == source[quote.start:quote.end]. `support` is
    the share, in [0, 1], of the content words of the answer's sentence that the quote holds. `drop` is by how many nats
    the answer becomes less likely without the quote; None if it was not computed.
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
    """The final answer, with checked citations.

    `by` is the author of `text`: `model` for the model's repaired words, `quote` for a sentence of the documents (`why`
    gives the reason; it is empty if quotes lead all answers of this model), `gate` if the pipeline refused before or
    after the model answered. `said` holds the model's own words if `text` does not. `model_text` is the one of the two
    that the model wrote.

    `is_abstention` is true if the documents do not hold the answer, by the pipeline's rule or the model's own words;
    `why` then gives the reason, and `citations` hold the nearest sentence, if any. `unsupported` lists the answer's
    names and numbers that no quote holds. `faults` lists the repairs of the model's words, and whether the answer is
    truncated.
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
    """The value that passes from stage to stage. `passages` are ordered by rank until `assemble` numbers them.

    `found` holds the result of retrieval, best first, unchanged by later stages. `shown` are the passages of the
    prompt, in the order of their numbers, which count from 1. `shown_before` are those of the previous turn, which keep
    their places. `turns` (verbatim) and `recalled` come from memory; `has_memory` says that a memory stage ran, even if
    it recalled nothing.

    `second_prompt` is the prompt of a second attempt, in another layout; empty if there is none. `second_parts` and
    `second_layout` are its entries in the ledger. `stop` are stop strings of these prompts, in addition to those of the
    settings. `candidates` are the passages that a compressor which chooses again was given; empty if none does.
    `cite_by` is the source of citations, `lead` what the answer shows first. `answerable` is the gate's
    probability that the documents hold the answer.
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
    candidates: tuple[Passage, ...] = ()
