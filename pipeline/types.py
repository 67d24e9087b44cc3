"""The values that travel through a pipeline: documents, passages, prompts, answers, and the ledger of it all.

This module imports nothing heavy, so that reading a type loads no model. Documents and places are defined in
pipeline/document.py. Offsets are always in characters of a document's text (Python `str` indices), end excluded. Tokens
are always those of the model that reads, unless a name says otherwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from pipeline.document import Document as Document
from pipeline.document import Heading as Heading
from pipeline.document import Place as Place

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Span:
    """Characters of one source: `start` included, `end` excluded."""

    source: str
    start: int
    end: int


Part = Literal["template", "system", "memory", "passages", "history", "question", "answer"]
"""What a span of a prompt is for: the context meter of ledger and chat adds tokens up by it."""


@dataclass(frozen=True, slots=True, eq=False)
class Soft:
    """Input embeddings in the place of tokens: `vectors` is float32 of shape (n, n_embd).

    `stands_for` is the number of tokens that the vectors were made from, for the ledger.
    """

    vectors: NDArray[np.float32]
    part: Part = "passages"
    stands_for: int = 0

    @property
    def n_cells(self) -> int:
        return len(self.vectors)


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """The cells of a text that a model read once, behind a prefix, to be placed in other prompts (models/pieces.py).

    `key` names it: a hash of everything that decides what the cells hold. `model` is the part of that which belongs to
    the model, its settings and the build of llama.cpp. `tokens` is int32 (n,), read at the positions from `position`
    on; `prefix` is the digest of the cells before them. `state` is uint8, the cells as llama.cpp saves them. `text` and
    `before` are the text of the piece and of its prefix: whoever forgets a text finds the cells that took it in.
    """

    key: str
    model: str
    prefix: str
    position: int
    tokens: NDArray[np.int32]
    state: NDArray[np.uint8]
    text: str
    before: str = ""
    seconds: float = 0.0
    """What reading it took; 0 where that is not known."""

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True, slots=True, eq=False)
class Cached:
    """Cells [start, end) of a piece in the place of tokens; `end` None: up to its last.

    Placed rather than read. Behind another prefix than its own, or moved, that is an approximation: the cells have not
    seen what stands before them in this prompt.
    """

    piece: Piece
    start: int = 0
    end: int | None = None
    part: Part = "passages"

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop <= len(self.piece):
            raise ValueError(f"cached cells must lie in [0, {len(self.piece)}), were: [{self.start}, {self.stop})")

    @property
    def stop(self) -> int:
        return len(self.piece) if self.end is None else self.end

    @property
    def n_cells(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class ScoredSentence:
    """A sentence of a source and how well it bears on the question: compare scores within one compressor's result."""

    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class Copy:
    """Where the same text stands once more: `start` is an offset into that source, `place` is its place."""

    source: str
    start: int
    place: Place


@dataclass(frozen=True, slots=True)
class Passage:
    """A span of one source document.

    `start` and `end` are character offsets into the source's text, end excluded, so text == source[start:end].
    `score` is the scale of whoever ranked it: compare scores within one result list only.
    `place` is that of `start`. `title` is the document's. An abstractive passage carries in `spans` what it was made
    from; an extractive one leaves it empty, and is its own span.
    `soft`, where there is one, is what the prompt holds in the place of the text.
    `sentences` holds the sentences inside that a compressor scored against the question, in their order; empty where
    none did. `copies` are the other places where the same text stands, and `near_copies` those of passages that were
    left out because this one says all that they say.
    """

    source: str
    start: int
    end: int
    text: str
    score: float = 0.0
    place: Place = field(default_factory=lambda: Place(1))
    title: str = ""
    spans: tuple[Span, ...] = ()
    soft: Soft | None = field(default=None, compare=False, repr=False)
    sentences: tuple[ScoredSentence, ...] = field(default=(), compare=False, repr=False)
    copies: tuple[Copy, ...] = field(default=(), repr=False)
    near_copies: tuple[Copy, ...] = field(default=(), compare=False, repr=False)

    @property
    def span(self) -> Span:
        return Span(self.source, self.start, self.end)

    def part(self, start: int, end: int, score: float | None = None) -> Passage:
        """The passage inside this one that covers [start, end) of the source, with its own place.

        It is text, also where this one is soft. It has no near copies, which may lack just this part.
        """
        if not self.start <= start <= end <= self.end:
            raise ValueError(f"a part must lie in [{self.start}, {self.end}), was: [{start}, {end})")
        n = start - self.start
        text, before = self.text[n : end - self.start], self.text[:n]
        place = self.place.after(before)
        score = self.score if score is None else score
        inside = tuple(one for one in self.sentences if start <= one.start and one.end <= end)
        copies = tuple(Copy(copy.source, copy.start + n, copy.place.after(before)) for copy in self.copies)
        return replace(
            self, start=start, end=end, text=text, place=place, score=score, soft=None, sentences=inside,
            copies=copies, near_copies=(),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. `glob` keeps retrieval to sources whose path matches it (fnmatch on the posix path), and `filter`
    to documents that match it (retrieval/filters.py); each narrows the retriever's own.

    `documents` are those that came with the question, for `retrieve.given`; empty where an index is searched.
    `asked` is what the person wrote, where `text` is another wording of it to search by; the prompt holds this one.
    `json_schema`, the text of a JSON schema, forces the form of the answer; empty for free text.
    """

    text: str
    id: str = ""
    glob: str | None = None
    documents: tuple[Document, ...] = ()
    asked: str = ""
    json_schema: str = ""
    filter: str = ""

    @property
    def wording(self) -> str:
        """What the model is asked."""
        return self.asked or self.text


# --------------------------------------------------------------------------------------------------------- prompts
@dataclass(frozen=True, slots=True)
class Text:
    """A span of a prompt, tokenised on its own.

    `special` allows the tokenizer to read `<|im_end|>` and the like as control tokens: true for the chat template's
    own text, never for anything that a person, a document or a model wrote.
    """

    text: str
    part: Part = "template"
    special: bool = False


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Stretches of a text that a model reads once, and whose cells it places in prompts from then on.

    The model reads `texts`, each tokenised apart, behind `home`, and keeps the cells. The prompt holds those of the
    tokens that touch a stretch: (start, end) in characters of the joined texts, ascending, none touching another. The
    first `reread` of them are read anew. A model whose cells cannot be put together reads the same tokens instead.
    """

    home: Prompt = field(repr=False)
    texts: tuple[str, ...]
    stretches: tuple[tuple[int, int], ...]
    reread: int = 0
    part: Part = "passages"

    @property
    def text(self) -> str:
        """The text of the stretches, one after the other."""
        whole = "".join(self.texts)
        return "".join(whole[start:end] for start, end in self.stretches)


PromptSpan = Text | Soft | Cached | Excerpt
Prompt = tuple[PromptSpan, ...]
"""Spans in the order in which the model reads them. Each Text is tokenised apart from its neighbours."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn for a chat template. The spans of its content are data: they keep `special=False`."""

    role: Literal["system", "user", "assistant"]
    content: Prompt


@dataclass(frozen=True, slots=True)
class LogitBias:
    """Makes a token more or less likely: `bias` is added to its logit, in [-100, 100]; -100 as good as forbids it.

    `token` is its number, or its text, which must be one token of the model's vocabulary.
    """

    token: int | str
    bias: float

    def __post_init__(self) -> None:
        if self.token == "" or (isinstance(self.token, int) and self.token < 0):
            raise ValueError(f"logit_bias.token must be a text or a number from 0 on, was: {self.token!r}")
        if not -100 <= self.bias <= 100:
            raise ValueError(f"logit_bias.bias must be in [-100, 100], was: {self.bias}")


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to choose the next tokens. `temperature` 0 is greedy: then only penalties, DRY and biases count.

    None stands for what the model's file recommends (`general.sampling.*`), and where it does not, for llama.cpp's
    usual value: temperature 0.8, top_k 40, top_p 0.95, min_p 0.05, repeat_penalty 1, repeat_last_n 64, no XTC, no
    mirostat (tau 5, eta 0.1). `pipeline.models.sampler.resolved` fills them in.

    `seed` fixes the choice at temperatures above 0. `stop` strings end the answer and are not part of it.
    `grammar` is GBNF with the rule `root`; `json_schema` is a JSON schema as a string; at most one of the two.
    Penalties and DRY look at what the model wrote, thoughts included, not at the prompt: `repeat_penalty` divides and
    `presence_penalty` and `frequency_penalty` lower the logits of tokens among its last `repeat_last_n` (-1: all).
    `thinking_tokens` is the budget of thoughts beside the answer's `max_tokens`, as far as the window has room; 0 is
    for prompts that were rendered without thinking. Stop strings and the grammar concern the answer alone.
    """

    max_tokens: int = 256
    temperature: float | None = 0.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float = 1.0
    top_n_sigma: float = 0.0
    xtc_probability: float | None = None
    xtc_threshold: float | None = None
    mirostat: Literal[0, 1, 2] | None = None
    mirostat_tau: float | None = None
    mirostat_eta: float | None = None
    repeat_penalty: float | None = 1.0
    repeat_last_n: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_last_n: int = -1
    logit_bias: tuple[LogitBias, ...] = ()
    seed: int = 0
    stop: tuple[str, ...] = ()
    grammar: str | None = None
    json_schema: str | None = None
    thinking_tokens: int = 0

    def __post_init__(self) -> None:
        for name, (low, high) in SAMPLING_RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                span = f"in [{low:g}, {high:g}]" if high < math.inf else f"at least {low:g}"
                raise ValueError(f"{name} must be {span}, was: {value}")
        if self.grammar is not None and self.json_schema is not None:
            raise ValueError("give a grammar or a json_schema, not both")
        if self.mirostat and (self.grammar is not None or self.json_schema is not None):
            raise ValueError(f"mirostat must be 0 with a grammar or a json_schema, was: {self.mirostat}")


SAMPLING_RANGES = {
    "max_tokens": (1, math.inf),
    "thinking_tokens": (0, math.inf),
    "temperature": (0, 5),
    "top_k": (0, math.inf),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "typical_p": (0, 1),
    "top_n_sigma": (0, 100),
    "xtc_probability": (0, 1),
    "xtc_threshold": (0, 1),
    "mirostat": (0, 2),
    "mirostat_tau": (0, 100),
    "mirostat_eta": (0, 1),
    "repeat_penalty": (0.01, 10),
    "repeat_last_n": (-1, math.inf),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
    "dry_multiplier": (0, 10),
    "dry_base": (1, 10),
    "dry_allowed_length": (1, math.inf),
    "dry_last_n": (-1, math.inf),
}
"""The least and the largest value of each setting, both allowed."""


Finish = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True)
class Generation:
    """What a model wrote for one prompt, and what that cost.

    `prompt_tokens` counts every cell of the prompt (soft vectors too); `reused_tokens` of them were in the KV cache
    already, `restored_tokens` were placed from cached pieces, and the rest was read. `shifted_tokens` of the restored
    ones were moved from where they were read. `is_composed`: some cells had not seen what stands before them, so that
    the answer is an approximation of reading everything. `stored_tokens` are those of passages that were read first,
    whole, so that their cells could be kept and placed, in `stored_s` seconds. `saved_s` estimates the seconds that
    reading the restored tokens would have taken, by what reading their passages took.

    `prefill_s` runs from the start of the prompt's work to its last prompt token, `stored_s` included, `decode_s` from
    there to the end.
    `finish`: `stop` (end of turn or a stop string), `length` (max_tokens), `cancelled`.

    `text` is the answer alone. `thoughts` is what the model wrote before it, in `thought_tokens` tokens with their
    marks; they are shown and never used. `is_thought_cut`: their budget ended them, or the end of the generation.
    """

    text: str
    finish: Finish
    prompt_tokens: int
    reused_tokens: int
    answer_tokens: int
    prefill_s: float
    decode_s: float
    thoughts: str = ""
    thought_tokens: int = 0
    is_thought_cut: bool = False
    restored_tokens: int = 0
    shifted_tokens: int = 0
    is_composed: bool = False
    stored_tokens: int = 0
    stored_s: float = 0.0
    saved_s: float = 0.0

    @property
    def read_tokens(self) -> int:
        """Tokens that were decoded for the prompt, those of passages that were read to be kept included."""
        return self.prompt_tokens - self.reused_tokens - self.restored_tokens + self.stored_tokens

    @property
    def prefill_tokens_per_s(self) -> float | None:
        n = self.read_tokens
        return n / self.prefill_s if self.prefill_s > 0 else None

    @property
    def decode_tokens_per_s(self) -> float | None:
        n = self.answer_tokens + self.thought_tokens
        return n / self.decode_s if self.decode_s > 0 else None


# ---------------------------------------------------------------------------------------------------------- memory
@dataclass(frozen=True, slots=True)
class Turn:
    """A question and its answer in a conversation. `number` counts from 1; `time` is ISO 8601 in UTC, to the second.

    `finish` says how the answer ended: one that was stopped keeps the text that had come.
    """

    number: int
    question: str
    answer: str
    time: str
    finish: Finish = "stop"


Tier = Literal["sensory", "summary", "unit", "fact"]
"""Where something is remembered: turns as they are, a running summary, long-term units, facts drawn from them."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """A text that memory puts into a prompt. `tokens` are the reader's, of the text alone.

    `turns` are the numbers of the turns that it stands for; `time` that of the last of them. `weight` is its share, in
    [0, 1], among the units that were recalled together (a softmax of their scores); None for the summary.
    """

    tier: Literal["summary", "unit"]
    text: str
    tokens: int
    weight: float | None
    turns: tuple[int, ...]
    time: str


@dataclass(frozen=True, slots=True)
class Recall:
    """What memory gives for one question: the turns to repeat word for word, oldest first, and the recalled texts.

    The summary, if any, comes first in `recalled`; then units in the order of their turns. `passages` are what was
    recalled of documents that were read, best first: their score is their weight, and they are cited as others are.
    """

    turns: tuple[Turn, ...] = ()
    recalled: tuple[Recalled, ...] = ()
    passages: tuple[Passage, ...] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that is remembered, as a person sees it. `superseded_by` is the text and date of what replaced it.

    A turn is listed once: as `sensory` as long as it is repeated word for word, later as part of a `unit`.
    """

    tier: Tier
    text: str
    turns: tuple[int, ...]
    time: str
    superseded_by: str = ""


# ---------------------------------------------------------------------------------------------------------- ledger
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


# --------------------------------------------------------------------------------------------------------- answers
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
