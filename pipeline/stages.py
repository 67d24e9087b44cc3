"""Runs one stage: calls its component on a state, and enters the result into the ledger.

The ledger's entry comes from comparing the stage's input and output here, outside the component. So no component can
drop text silently, and all kinds are timed and counted alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from pipeline.answers.judging import (
    NO_EVIDENCE,
    Judged,
    attributed,
    is_asked_again,
    judge,
    second_sampling,
    settle,
)
from pipeline.answers.writing import Writing
from pipeline.contracts import (
    Assembler,
    ChoosesAgain,
    Component,
    Compressor,
    Explains,
    Gate,
    Generator,
    Memory,
    Model,
    NeedsEmbedder,
    Reranker,
    Retriever,
    Runtime,
)
from pipeline.registry import kind_of, stage_name
from pipeline.retrieval.embedder_languages import TRAINED_ON
from pipeline.retrieval.scope import check_scope, scope_of, size_of
from pipeline.text.counting import counted
from pipeline.text.words import content_words
from pipeline.types import Dropped, Ledger, Passage, Ranked, Sampling, Span, StageEntry, State


def run_stage(stage: Component, state: State, runtime: Runtime, reserve: int) -> State:
    """Runs one stage; returns the new state. `reserve`: tokens kept for the answer. A state with an answer is final."""
    if state.answer is not None:
        return state
    runtime.take_notes()  # drops the notes of a stage that failed
    start = time.perf_counter()
    after, notes, why = _RUN[kind_of(stage)](stage, state, runtime, reserve)
    seconds = time.perf_counter() - start
    notes = (*notes, *runtime.take_notes())
    entry = _entry(stage_name(stage), seconds, state, after, runtime.reader, why, notes)
    return replace(after, ledger=after.ledger.with_stage(entry))


def _retrieve(retriever: Retriever, state: State, runtime: Runtime, _: int) -> tuple[State, tuple[str, ...], str]:
    passages = tuple(retriever.search(state.question, runtime))
    searched = counted(len(passages), "passage")
    if retriever.searches_index:
        scope = scope_of(retriever, state.question)
        searched = f"{len(passages)} of {counted(size_of(runtime.index, scope)[0], 'passage')}"
        if not passages:
            check_scope(runtime.index, scope)
        note_language(retriever, state.question.query, runtime)
    elif state.question.filter:
        runtime.note("the question's filter was not applied: this pipeline's retriever searches no index")
    return replace(state, found=passages, passages=passages), (searched,), ""


def note_language(retriever: Retriever, question: str, runtime: Runtime) -> None:
    """Notes once if the question's language is not the one that the embedder was trained on."""
    if not (isinstance(retriever, NeedsEmbedder) and retriever.needs_embedder):
        return
    trained_on, language = TRAINED_ON.get(runtime.embedder.name), content_words(question).language
    if trained_on is not None and language != trained_on:
        runtime.note(
            f"the question looks {language.capitalize()}, and the embedder {runtime.embedder.name} was trained on "
            f"{trained_on.capitalize()}: words find more than meaning does; index.embedder takes a multilingual GGUF",
            once=True,
        )


def _rerank(reranker: Reranker, state: State, runtime: Runtime, _: int) -> tuple[State, tuple[str, ...], str]:
    passages = tuple(reranker.rerank(state.question, state.passages, runtime))
    return replace(state, passages=passages), (), reranker.why_dropped


def _compress(compressor: Compressor, state: State, runtime: Runtime, _: int) -> tuple[State, tuple[str, ...], str]:
    passages = tuple(compressor.compress(state.question, state.passages, runtime))
    why = _why_dropped(compressor)
    is_choosing = isinstance(compressor, ChoosesAgain) and compressor.again is not None
    candidates = state.passages if is_choosing else state.candidates
    return replace(state, passages=passages, candidates=candidates), (), why


def _why_dropped(compressor: object) -> str:
    return compressor.why_dropped if isinstance(compressor, Explains) else "not kept"


def _gate(gate: Gate, state: State, runtime: Runtime, _: int) -> tuple[State, tuple[str, ...], str]:
    verdict = gate.judge(state.question, state.passages, runtime)
    state = replace(state, answerable=verdict.probability)
    if verdict.why is None:
        return state, (), ""
    return replace(state, answer=verdict.answer(state.passages)), (verdict.why,), ""


def _remember(_: Memory, state: State, runtime: Runtime, reserve: int) -> tuple[State, tuple[str, ...], str]:
    """Recalls memory. It may take what the passages leave of the window, and at least half of it."""
    if runtime.recollection is None:
        return replace(state, has_memory=True), ("no conversation is open: nothing is remembered",), ""
    free = state.ledger.window - reserve - runtime.reader.count_text(state.question.text)
    room = max(free - _tokens(state.passages, runtime.reader), free // 2, 0)
    recall = runtime.recollection.recall(state.question, runtime, room)
    n_units = sum(memory.tier == "unit" for memory in recall.recalled)
    note = f"{counted(len(recall.turns), 'turn')} word for word, {n_units} recalled"
    note += ", and the summary" if len(recall.recalled) > n_units else ""
    note += f", {counted(len(recall.passages), 'passage')} of what was read" if recall.passages else ""
    passages = (*state.passages, *recall.passages)
    after = replace(state, passages=passages, turns=recall.turns, recalled=recall.recalled, has_memory=True)
    return after, (note,), ""


def _assemble(assembler: Assembler, state: State, runtime: Runtime, reserve: int) -> tuple[State, tuple[str, ...], str]:
    after = assembler.assemble(state, runtime, reserve)
    return after, (), "shed: it does not fit the window"


def _generate(generator: Generator, state: State, runtime: Runtime, _: int) -> tuple[State, tuple[str, ...], str]:
    sampling = sampling_for(generator, state)
    writing = Writing(state, sampling, runtime)
    while not writing.is_over:
        writing.take(generator.generate(writing.prompt, writing.runtime, writing.sampling))
        if not writing.is_over:
            writing.choose_again()
    state = _without_later_ones(writing, runtime)
    first = judge(state, writing.generation, is_formal(sampling))
    second = None
    if is_asked_again(state, first) and not runtime.is_cancelled:
        runtime.listener.on_retry(first.unusable)
        second = judge(state, generator.generate(state.second_prompt, runtime, second_sampling(sampling)))
    first, second = by_attribution(state, first, second, runtime)
    after, notes = settle(state, first, second)
    return after, (*writing.notes, *notes), ""


def _without_later_ones(writing: Writing, runtime: Runtime) -> State:
    """The state with the answer's whole prompt, in whose ledger nothing counts as dropped that was chosen later."""
    state, chooser = writing.state, runtime.chooser
    if state is writing.before or chooser is None:
        return state
    kept = (*writing.before.passages, *state.shown)
    left_out = dropped(state.candidates, kept, runtime.reader, _why_dropped(chooser))
    name = stage_name(chooser)
    stages = [replace(one, dropped=left_out) if one.stage == name else one for one in state.ledger.stages]
    return replace(state, ledger=replace(state.ledger, stages=tuple(stages)))


def by_attribution(
    state: State, first: Judged, second: Judged | None, runtime: Runtime
) -> tuple[Judged, Judged | None]:
    """Cites by attribution the attempt that no words tie to the passages, if neither attempt is usable."""
    if not first.unusable or (second is not None and not second.unusable) or state.lead == "quote":
        return first, second
    if second is not None and second.unusable == NO_EVIDENCE:
        return first, attributed(state, second, runtime)
    if first.unusable == NO_EVIDENCE:
        first = attributed(state, first, runtime)
    return first, second


def sampling_for(generator: Generator, state: State) -> Sampling:
    """Returns the generator's sampling, with the stop strings of the prompt and the schema of the question."""
    sampling = generator.sampling
    if state.question.json_schema:
        sampling = replace(sampling, json_schema=state.question.json_schema, grammar=None)
    return replace(sampling, stop=(*sampling.stop, *state.stop)) if state.stop else sampling


def is_formal(sampling: Sampling) -> bool:
    """Whether a grammar or schema constrains the answer."""
    return sampling.grammar is not None or sampling.json_schema is not None


def answered(
    generator: Generator,
    writing: Writing,
    first: Judged,
    second: Judged | None,
    runtime: Runtime,
    started: float,
) -> State:
    """Finishes a generate stage whose streams the caller read, from `started` on (perf_counter)."""
    state = _without_later_ones(writing, runtime)
    after, notes = settle(state, *by_attribution(state, first, second, runtime))
    seconds = time.perf_counter() - started
    notes = (*writing.notes, *notes, *runtime.take_notes())
    entry = _entry(stage_name(generator), seconds, writing.before, after, runtime.reader, "", notes)
    return replace(after, ledger=after.ledger.with_stage(entry))


_RUN: dict[str, Callable[[Any, State, Runtime, int], tuple[State, tuple[str, ...], str]]] = {
    "retrieve": _retrieve,
    "rerank": _rerank,
    "compress": _compress,
    "gate": _gate,
    "memory": _remember,
    "assemble": _assemble,
    "generate": _generate,
}


_RANKING = ("retrieve", "rerank", "compress")


def _entry(
    stage: str, seconds: float, before: State, after: State, reader: Model, why: str, notes: tuple[str, ...]
) -> StageEntry:
    came = before.shown or before.passages
    left = after.shown or after.passages
    return StageEntry(
        stage=stage,
        seconds=seconds,
        passages_in=len(came),
        passages_out=len(left),
        tokens_in=_tokens(came, reader),
        tokens_out=_tokens(left, reader),
        dropped=dropped(came, left, reader, why) if why else (),
        notes=notes,
        ranked=tuple(Ranked(p.span, p.score) for p in left) if stage.split(".")[0] in _RANKING else (),
    )


def _tokens(passages: Sequence[Passage], reader: Model) -> int:
    """Counts the cells that the passages take: tokens of the text, or soft vectors."""
    return sum(reader.count_text(p.text) if p.soft is None else len(p.soft.vectors) for p in passages)


def dropped(before: Sequence[Passage], after: Sequence[Passage], reader: Model, why: str) -> tuple[Dropped, ...]:
    """Returns every stretch of `before` that no passage of `after` covers, without white space, in order.

    A passage with spans covers those. An earlier passage with spans is dropped as a whole or not at all.
    """
    remaining: dict[str, list[tuple[int, int]]] = {}
    for passage in after:
        for span in passage.spans or (passage.span,):
            remaining.setdefault(span.source, []).append((span.start, span.end))
    gone: list[Dropped] = []
    for passage in before:
        if passage.spans:
            if passage not in after and not all(
                _is_kept(span, remaining.get(span.source, [])) for span in passage.spans
            ):
                n_tokens = reader.count_text(passage.text)
                gone.append(Dropped(passage.span, passage.text, passage.place, n_tokens, why))
            continue
        for start, end in uncovered(passage.start, passage.end, remaining.get(passage.source, [])):
            text = passage.text[start - passage.start : end - passage.start]
            if not text.strip():
                continue
            start += len(text) - len(text.lstrip())
            part = passage.part(start, start + len(text.strip()))
            gone.append(Dropped(part.span, part.text, part.place, reader.count_text(part.text), why))
    return tuple(gone)


def _is_kept(span: Span, intervals: Sequence[tuple[int, int]]) -> bool:
    return not uncovered(span.start, span.end, intervals)


def uncovered(start: int, end: int, intervals: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Returns the parts of [start, end) that no interval covers, in order."""
    gaps: list[tuple[int, int]] = []
    position = start
    for low, high in sorted(intervals):
        if low > position:
            gaps.append((position, min(low, end)))
        position = max(position, high)
        if position >= end:
            break
    if position < end:
        gaps.append((position, end))
    return [(low, high) for low, high in gaps if low < high]


def stage_ledger(window: int, reserved: int, model: str) -> Ledger:
    """Creates an empty ledger for one question."""
    return Ledger(window=window, reserved=reserved, model=model)
