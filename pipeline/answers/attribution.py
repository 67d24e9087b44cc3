"""Which passages, and which of their sentences, an answer stands on: by how much less likely it becomes without them.

Leave-one-out: the log-probability of the tokens of each sentence of the answer, with everything that was shown, less
that with one passage left out, in nats. Then sentences of the best passages are left out, one at a time: those that
share most words with the answer. Passages first is the hierarchy of AttriBoT (Liu et al. 2024, arXiv 2411.15102); the
measure is the one that ContextCite (Cohen-Wang et al. 2024, arXiv 2409.00729) approximates by random ablations.

Ours differs in what it costs. By the method `cells` the prompt is read once, as it was when the question was answered,
and a passage is left out by hiding its cells (pipeline/models/ablation.py): only the question and the answer are read
again, for all variants in one batch. What this loses: the cells of later passages keep what they took in of the one
that is hidden. Where the layout repeats sentences after the question, the end of the prompt is read as it would be
without the part. By the method `prompts` each prompt is assembled anew without the passage and is read, from where it
differs: exact, and for five passages about twice the tokens of the prompt. `cells` is the default; `prompts` is what a
model with recurrent layers gets, whose cells cannot be hidden. Figures: docs/experiments.md. Fidelity: inspired.

Where several passages say the same, leaving one of them out changes little: then all drops are small, and
`drop_without_all` is large. Of an answer that the model knows by itself it is small as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING

from pipeline.answers.left_out import ALL, Method, Part, Variants, variants_of
from pipeline.contracts import Assembler, Model, Runtime
from pipeline.documents.sentences import sentences as sentence_spans
from pipeline.errors import ModelError
from pipeline.models.capabilities import Metered, before_answer
from pipeline.text.words import content_words
from pipeline.types import Passage, Prompt, StageEntry, State, Text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_OPENED = 2
"""Passages, for one sentence of the answer, whose own sentences are left out one at a time."""
MAX_SENTENCES = 3
"""Sentences of such a passage that are: those that share most words with the answer, then with the question."""
MIN_SHARE = 0.5
"""Share of the largest drop from which another passage is opened as well."""
MIN_DROP = 0.5
"""Nats below which a drop says nothing: no passage is opened for it."""


@dataclass(frozen=True, slots=True)
class QuoteDrop:
    """A sentence of a passage, and by how many nats the answer's sentence becomes less likely without it."""

    quote: Passage
    drop: float


@dataclass(frozen=True, slots=True)
class PassageDrop:
    """A passage that was shown, and by how many nats the answer's sentence becomes less likely without it.

    `number` counts from 1, as in the prompt. `sentences` are those of its own that were left out too, largest drop
    first; empty for a passage that was not among the best.
    """

    number: int
    passage: Passage
    drop: float
    sentences: tuple[QuoteDrop, ...] = ()


@dataclass(frozen=True, slots=True)
class Grounds:
    """A sentence of the answer and all passages that were shown, largest drop first.

    `logprob` is that of the sentence's tokens after the whole prompt; `drop_without_all` by how much less likely they
    are when no passage is seen: computed where none makes a difference by itself, else None.
    """

    text: str
    logprob: float
    drop_without_all: float | None
    passages: tuple[PassageDrop, ...]

    @property
    def best(self) -> PassageDrop | None:
        """The passage that it stands on; None where none makes a difference."""
        best = self.passages[0] if self.passages else None
        return best if best is not None and best.drop >= MIN_DROP else None

    @property
    def quote(self) -> QuoteDrop | None:
        """The sentence of that passage that it stands on; None where none makes a difference by itself."""
        first = self.best.sentences[0] if self.best is not None and self.best.sentences else None
        return first if first is not None and first.drop >= MIN_DROP else None


@dataclass(frozen=True, slots=True)
class Attribution:
    """Of each sentence of an answer what it stands on. `n_tokens` were decoded for it; None where nobody counts."""

    sentences: tuple[Grounds, ...]
    method: Method
    n_variants: int
    n_tokens: int | None
    seconds: float

    @property
    def account(self) -> str:
        """What it took, for the ledger."""
        tokens = "" if self.n_tokens is None else f", {self.n_tokens} tokens read again"
        how = "cells hidden" if self.method == "cells" else "prompts read anew"
        return f"{self.n_variants} passages and sentences left out in turn ({how}{tokens})"


def attribute(
    state: State,
    assembler: Assembler,
    runtime: Runtime,
    sentences: Sequence[str] | None = None,
    method: Method | None = None,
) -> Attribution:
    """What each sentence of an answer stands on, of the passages that `state` has as shown.

    `assembler` is the one that made `state.prompt`, which is the prompt that counts also where the answer is that of a
    second attempt. `sentences` are those of the answer, in their order; by default what the model wrote, cut into
    sentences. By default the method is `cells` where the model can hide them.

    Raises ModelError for a model that gives no probabilities, and for a state without prompt or answer.
    """
    start = perf_counter()
    reader = runtime.reader
    state = replace(state, prompt=before_answer(reader, state.prompt))
    texts = _answer_sentences(state) if sentences is None else [text.strip() for text in sentences if text.strip()]
    if not state.prompt or not texts:
        raise ModelError("there is no answer of the model here whose passages could be looked for")
    n_before = reader.n_decoded if isinstance(reader, Metered) else 0
    target, slices = _target(_original(state), texts, reader)
    variants = variants_of(state, assembler, runtime, target, method)
    grounds = _left_out(state, texts, slices, variants)
    n_tokens = reader.n_decoded - n_before if isinstance(reader, Metered) else None
    return Attribution(tuple(grounds), variants.method, variants.n_scored, n_tokens, perf_counter() - start)


def with_account(state: State, attribution: Attribution) -> State:
    """The state with a line on what the attribution took in its ledger."""
    n = len(state.shown)
    n_passage_tokens = dict(state.ledger.parts).get("passages", 0)
    entry = StageEntry(
        "why", attribution.seconds, n, n, n_passage_tokens, n_passage_tokens, notes=(attribution.account,)
    )
    return replace(state, ledger=state.ledger.with_stage(entry))


# ------------------------------------------------------------------------------------------------- the answer's tokens
def _original(state: State) -> str:
    return "" if state.answer is None else state.answer.model_text.strip()


def _answer_sentences(state: State) -> list[str]:
    text = _original(state)
    return [text[start:end] for start, end in sentence_spans(text)]


def _target(text: str, sentences: Sequence[str], reader: Model) -> tuple[Prompt, list[slice]]:
    """The sentences as spans of an answer, with what stands between them in `text`, and each one's tokens in it."""
    spans: list[Text] = []
    slices: list[slice] = []
    n_tokens = at = 0
    for sentence in sentences:
        start = text.find(sentence, at)
        gap = text[at:start] if start >= 0 else " "
        at = start + len(sentence) if start >= 0 else at
        spans.append(Text(f"{gap if spans else gap.lstrip()}{sentence}", "answer"))
        n_new = reader.count((spans[-1],))
        slices.append(slice(n_tokens, n_tokens + n_new))
        n_tokens += n_new
    return tuple(spans), slices


# --------------------------------------------------------------------------------------------- the two rounds of it
def _left_out(state: State, texts: Sequence[str], slices: Sequence[slice], variants: Variants) -> list[Grounds]:
    """The passages are left out, then sentences of the best of them; all sentences of the answer share both rounds."""
    shown = state.shown
    base, *rows = variants.score([None, *(Part(n) for n in range(len(shown)))])
    by_passage = [_drops(base, row, slices) for row in rows]
    opened = [_opened([drops[n] for drops in by_passage]) for n in range(len(texts))]
    units: dict[int, list[tuple[int, int]]] = {}
    for number in sorted({number for numbers in opened for number in numbers}):
        standing = [text for text, numbers in zip(texts, opened, strict=True) if number in numbers]
        units[number] = _likeliest(shown[number], _units(shown[number]), standing, state.question.text)
    parts = [Part(number, span) for number, spans in units.items() for span in spans]
    # a passage of one sentence was left out already
    by_part = {part: by_passage[part.number] for part in parts if len(units[part.number]) == 1}
    others = [part for part in parts if part not in by_part]
    if not all(opened):
        others.append(ALL)
    if others:
        scored = (_drops(base, row, slices) for row in variants.score(others))
        by_part.update(zip(others, scored, strict=True))
    grounds = []
    for n, (text, tokens) in enumerate(zip(texts, slices, strict=True)):
        passages = []
        for number, passage in enumerate(shown):
            quotes = [
                QuoteDrop(
                    passage.part(passage.start + low, passage.start + high), by_part[Part(number, (low, high))][n]
                )
                for low, high in (units[number] if number in opened[n] else ())
            ]
            quotes.sort(key=lambda quote: -quote.drop)
            passages.append(PassageDrop(number + 1, passage, by_passage[number][n], tuple(quotes)))
        passages.sort(key=lambda one: -one.drop)
        without_all = None if opened[n] else by_part[ALL][n]
        grounds.append(Grounds(text, round(float(base[tokens].sum()), 4), without_all, tuple(passages)))
    return grounds


def _drops(base: NDArray[np.float32], row: NDArray[np.float32], slices: Sequence[slice]) -> list[float]:
    """By how many nats each sentence of the answer is less likely, to four places."""
    return [round(float(base[tokens].sum() - row[tokens].sum()), 4) for tokens in slices]


def _opened(drops: Sequence[float]) -> list[int]:
    """The numbers of the passages whose sentences are looked at, for one sentence of the answer."""
    best = sorted(range(len(drops)), key=lambda n: -drops[n])[:MAX_OPENED]
    return [n for n in best if drops[n] >= max(MIN_DROP, MIN_SHARE * drops[best[0]])]


def _units(passage: Passage) -> list[tuple[int, int]]:
    """The sentences of a passage whose text is its source's as it stands, as the compressor cut them where one did:
    characters of its text.
    """
    if passage.spans or passage.soft is not None or passage.end - passage.start != len(passage.text):
        return []
    cut = [(one.start - passage.start, one.end - passage.start) for one in passage.sentences]
    return [span for span in cut if 0 <= span[0] < span[1] <= len(passage.text)] or sentence_spans(passage.text)


def _likeliest(
    passage: Passage, units: list[tuple[int, int]], answer: Sequence[str], question: str
) -> list[tuple[int, int]]:
    """At most MAX_SENTENCES of the units, in their order: those that hold most of the answer's words that the question
    does not have, then of the question's.
    """
    asked = set(content_words(question))
    said = set(content_words(" ".join(answer))) - asked

    def rank(n: int) -> tuple[int, int, int]:
        words = set(content_words(passage.text[slice(*units[n])]))
        return -len(words & said), -len(words & asked), n

    return [units[n] for n in sorted(sorted(range(len(units)), key=rank)[:MAX_SENTENCES])]
