"""Context attribution: which passages and sentences an answer rests on, by how much less likely it is without them.

Leave-one-out: the drop in log-probability, in nats, of each answer sentence when one passage is left out of the prompt.
In a second round, sentences of the best passages are left out one at a time: those that share most words with the
answer. Passages first is the hierarchy of AttriBoT (Liu et al. 2024, arXiv 2411.15102). The measure is the one that
ContextCite (Cohen-Wang et al. 2024, arXiv 2409.00729) approximates by random ablations.

Ours differs in cost. The method `cells` reads the prompt once, as it was when the question was answered, and leaves a
passage out by hiding its cells (pipeline/models/ablation.py). Only the question and the answer are read again, for all
variants in one batch. This is an approximation: the cells of later passages keep what they attended to in the hidden
one. Where the layout repeats sentences after the question, the end of the prompt is read as it would be without the
part. The method `prompts` assembles each prompt again without the passage and reads it from the first difference. It is
exact, and for five passages it reads about twice the tokens of the prompt. `cells` is the default. `prompts` serves
models with recurrent layers, whose cells cannot be hidden. Figures: docs/experiments.md. Fidelity: inspired.

Where several passages say the same, leaving one out changes little: all drops are small, and `drop_without_all` is
large. For an answer that the model knows by itself, `drop_without_all` is small as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING

from pipeline.answers.left_out import ALL, Method, Part, Variants, variants_of
from pipeline.contracts import Assembler, Model, Runtime
from pipeline.errors import ModelError
from pipeline.models.capabilities import Metered, before_answer
from pipeline.text.sentences import sentences as sentence_spans
from pipeline.text.words import content_words
from pipeline.types import Passage, Prompt, StageEntry, State, Text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_OPENED = 2
"""Passages per answer sentence whose sentences are left out one at a time ("opened")."""
MAX_SENTENCES = 3
"""Sentences tried per opened passage: those that share most words with the answer, then with the question."""
MIN_SHARE = 0.5
"""A second passage is opened from this share of the largest drop."""
MIN_DROP = 0.5
"""Threshold in nats: smaller drops are noise, and no passage is opened for them."""


@dataclass(frozen=True, slots=True)
class QuoteDrop:
    """A sentence of a passage, and by how many nats the answer's sentence becomes less likely without it."""

    quote: Passage
    drop: float


@dataclass(frozen=True, slots=True)
class PassageDrop:
    """A passage of the prompt, and by how many nats the answer's sentence becomes less likely without it.

    `number` counts from 1, as in the prompt. `sentences` are its sentences that were left out too, largest drop first;
    empty for a passage that was not opened.
    """

    number: int
    passage: Passage
    drop: float
    sentences: tuple[QuoteDrop, ...] = ()


@dataclass(frozen=True, slots=True)
class Grounds:
    """A sentence of the answer and all passages of the prompt, largest drop first.

    `logprob` is that of the sentence's tokens after the whole prompt. `drop_without_all` is the drop without any
    passage; it is computed only where no single passage makes a difference, else None.
    """

    text: str
    logprob: float
    drop_without_all: float | None
    passages: tuple[PassageDrop, ...]

    @property
    def best(self) -> PassageDrop | None:
        """The passage that the sentence rests on; None if no passage makes a difference."""
        best = self.passages[0] if self.passages else None
        return best if best is not None and best.drop >= MIN_DROP else None

    @property
    def quote(self) -> QuoteDrop | None:
        """The source sentence that it rests on; None if no single sentence makes a difference."""
        first = self.best.sentences[0] if self.best is not None and self.best.sentences else None
        return first if first is not None and first.drop >= MIN_DROP else None


@dataclass(frozen=True, slots=True)
class Attribution:
    """The grounds of each sentence of an answer. `n_tokens` were decoded for it; None if the model does not count."""

    sentences: tuple[Grounds, ...]
    method: Method
    n_variants: int
    n_tokens: int | None
    seconds: float

    @property
    def account(self) -> str:
        """The cost, as a line of the ledger."""
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
    """Attributes each sentence of an answer to the passages in `state.shown`.

    `assembler` made `state.prompt`. That prompt is used even if the answer came from a second attempt. `sentences` are
    those of the answer, in order; by default the model's text, split into sentences. The default method is `cells`
    where the model can hide cells.

    Raises ModelError for a model without probabilities, and for a state without prompt or answer.
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
    """Returns the state with the attribution's cost in its ledger."""
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
    """Returns the sentences as spans of an answer, with the gaps of `text` between them, and each one's token range."""
    spans: list[Text] = []
    slices: list[slice] = []
    n_tokens = offset = 0
    for sentence in sentences:
        start = text.find(sentence, offset)
        gap = text[offset:start] if start >= 0 else " "
        offset = start + len(sentence) if start >= 0 else offset
        spans.append(Text(f"{gap if spans else gap.lstrip()}{sentence}", "answer"))
        n_new = reader.count((spans[-1],))
        slices.append(slice(n_tokens, n_tokens + n_new))
        n_tokens += n_new
    return tuple(spans), slices


# --------------------------------------------------------------------------------------------- the two rounds of it
def _left_out(state: State, texts: Sequence[str], slices: Sequence[slice], variants: Variants) -> list[Grounds]:
    """Leaves out passages, then sentences of the best ones. All sentences of the answer share both rounds."""
    shown = state.shown
    base, *rows = variants.score([None, *(Part(n) for n in range(len(shown)))])
    by_passage = [_drops(base, row, slices) for row in rows]
    opened = [_opened([drops[n] for drops in by_passage]) for n in range(len(texts))]
    units: dict[int, list[tuple[int, int]]] = {}
    for number in sorted({number for numbers in opened for number in numbers}):
        standing = [text for text, numbers in zip(texts, opened, strict=True) if number in numbers]
        units[number] = _likeliest(shown[number], _units(shown[number]), standing, state.question.query)
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
        passages.sort(key=lambda passage_drop: -passage_drop.drop)
        without_all = None if opened[n] else by_part[ALL][n]
        grounds.append(Grounds(text, round(float(base[tokens].sum()), 4), without_all, tuple(passages)))
    return grounds


def _drops(base: NDArray[np.float32], row: NDArray[np.float32], slices: Sequence[slice]) -> list[float]:
    """Returns the drop of each answer sentence in nats, to four places."""
    return [round(float(base[tokens].sum() - row[tokens].sum()), 4) for tokens in slices]


def _opened(drops: Sequence[float]) -> list[int]:
    """Returns the positions of the passages to open for one answer sentence."""
    best = sorted(range(len(drops)), key=lambda n: -drops[n])[:MAX_OPENED]
    return [n for n in best if drops[n] >= max(MIN_DROP, MIN_SHARE * drops[best[0]])]


def _units(passage: Passage) -> list[tuple[int, int]]:
    """Returns the character spans of a passage's sentences, as the compressor split it if one did.

    Empty for a passage whose text differs from its source's.
    """
    if passage.spans or passage.soft is not None or passage.end - passage.start != len(passage.text):
        return []
    cut = [(sentence.start - passage.start, sentence.end - passage.start) for sentence in passage.sentences]
    return [span for span in cut if 0 <= span[0] < span[1] <= len(passage.text)] or sentence_spans(passage.text)


def _likeliest(
    passage: Passage, units: list[tuple[int, int]], answer: Sequence[str], question: str
) -> list[tuple[int, int]]:
    """Picks at most MAX_SENTENCES units, in order: by overlap with the answer's new words, then with the question."""
    question_words = set(content_words(question))
    answer_words = set(content_words(" ".join(answer))) - question_words

    def rank(n: int) -> tuple[int, int, int]:
        words = set(content_words(passage.text[slice(*units[n])]))
        return -len(words & answer_words), -len(words & question_words), n

    return [units[n] for n in sorted(sorted(range(len(units)), key=rank)[:MAX_SENTENCES])]
