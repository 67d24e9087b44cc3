"""One stage: a component called on a state, and its account entered into the ledger.

The account is made here, by comparing what went in with what came out, and not by the component: so no component can
drop text in silence, and every kind is timed and counted in the same way.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
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
from pipeline.contracts import Generator, Model, Runtime
from pipeline.registry import Spec
from pipeline.retrieval.embedder_languages import TRAINED_ON
from pipeline.retrieval.scope import check_scope, scope_of, size_of
from pipeline.text.counting import counted
from pipeline.text.words import content_words
from pipeline.types import Dropped, Ledger, Passage, Ranked, Sampling, Span, StageEntry, State


def run_stage(spec: Spec, component: Any, state: State, runtime: Runtime, reserve: int) -> State:
    """The state after one stage. `reserve`: tokens kept for the answer. After an answer nothing more is done."""
    if state.answer is not None:
        return state
    runtime.take_notes()  # of a stage that failed
    start = time.perf_counter()
    after, notes, why = _RUN[spec.kind](component, state, runtime, reserve)
    seconds = time.perf_counter() - start
    entry = _entry(spec.name, seconds, state, after, runtime.reader, why, (*notes, *runtime.take_notes()))
    return replace(after, ledger=after.ledger.with_stage(entry))


def _retrieve(component: Any, state: State, runtime: Runtime, _: int) -> tuple[State, tuple[str, ...], str]:
    passages = tuple(component.search(state.question, runtime))
    searched = counted(len(passages), "passage")
    if getattr(component, "searches_index", True):
        scope = scope_of(component, state.question)
        n = size_of(runtime.index, scope)[0]
        searched = f"{len(passages)} of {counted(n, 'passage')}"
        if not passages:
            check_scope(runtime.index, scope)
        note_language(component, state.question.text, runtime)
    return replace(state, found=passages, passages=passages), (searched,), ""


def note_language(component: Any, question: str, runtime: Runtime) -> None:
    """Notes once that the question is in another language than the embedder was trained on."""
    if "embedder" not in getattr(component, "needs", ()):
        return
    trained_on, language = TRAINED_ON.get(runtime.embedder.name), content_words(question).language
    if trained_on is not None and language != trained_on:
        runtime.note(
            f"the question looks {language.capitalize()}, and the embedder {runtime.embedder.name} was trained on "
            f"{trained_on.capitalize()}: words find more than meaning does; index.embedder takes a multilingual GGUF",
            once=True,
        )


def _rerank(component: Any, state: State, runtime: Runtime, _: int) -> tuple[State, tuple[str, ...], str]:
    passages = tuple(component.rerank(state.question, state.passages, runtime))
    return replace(state, passages=passages), (), component.why_dropped


def _compress(component: Any, state: State, runtime: Runtime, _: int) -> tuple[State, tuple[str, ...], str]:
    passages = tuple(component.compress(state.question, state.passages, runtime))
    return replace(state, passages=passages), (), getattr(component, "why_dropped", "not kept")


def _gate(component: Any, state: State, runtime: Runtime, _: int) -> tuple[State, tuple[str, ...], str]:
    verdict = component.judge(state.question, state.passages, runtime)
    state = replace(state, answerable=verdict.probability)
    if verdict.why is None:
        return state, (), ""
    return replace(state, answer=verdict.answer(state.passages)), (verdict.why,), ""


def _remember(component: Any, state: State, runtime: Runtime, reserve: int) -> tuple[State, tuple[str, ...], str]:
    """Memory may take what the passages leave of the window, and at least half of it."""
    if runtime.recollection is None:
        return replace(state, has_memory=True), ("no conversation is open: nothing is remembered",), ""
    free = state.ledger.window - reserve - runtime.reader.count_text(state.question.wording)
    room = max(free - _tokens(state.passages, runtime.reader), free // 2, 0)
    recall = runtime.recollection.recall(state.question, runtime, room)
    n_units = sum(one.tier == "unit" for one in recall.recalled)
    said = f"{counted(len(recall.turns), 'turn')} word for word, {n_units} recalled"
    said += ", and the summary" if len(recall.recalled) > n_units else ""
    said += f", {counted(len(recall.passages), 'passage')} of what was read" if recall.passages else ""
    passages = (*state.passages, *recall.passages)
    after = replace(state, passages=passages, turns=recall.turns, recalled=recall.recalled, has_memory=True)
    return after, (said,), ""


def _assemble(component: Any, state: State, runtime: Runtime, reserve: int) -> tuple[State, tuple[str, ...], str]:
    after = component.assemble(state, runtime, reserve)
    return after, (), "shed: it does not fit the window"


def _generate(component: Any, state: State, runtime: Runtime, _: int) -> tuple[State, tuple[str, ...], str]:
    sampling = sampling_for(component, state)
    first = judge(state, component.generate(state.prompt, runtime, sampling), is_formal(sampling))
    second = None
    if is_asked_again(state, first) and not runtime.is_cancelled:
        runtime.on_retry(first.unusable)
        second = judge(state, component.generate(state.second_prompt, runtime, second_sampling(sampling)))
    first, second = by_attribution(state, first, second, runtime)
    return *settle(state, first, second), ""


def by_attribution(
    state: State, first: Judged, second: Judged | None, runtime: Runtime
) -> tuple[Judged, Judged | None]:
    """The attempts, with the first of them that no words tie to the passages cited by attribution instead."""
    if not first.unusable or (second is not None and not second.unusable) or state.lead == "quote":
        return first, second
    if second is not None and second.unusable == NO_EVIDENCE:
        return first, attributed(state, second, runtime)
    if first.unusable == NO_EVIDENCE:
        first = attributed(state, first, runtime)
    return first, second


def sampling_for(component: Generator, state: State) -> Sampling:
    """The generator's sampling, with the strings that end an answer to this prompt, and the form that it must have."""
    sampling = component.sampling
    if state.question.json_schema:
        sampling = replace(sampling, json_schema=state.question.json_schema, grammar=None)
    return replace(sampling, stop=(*sampling.stop, *state.stop)) if state.stop else sampling


def is_formal(sampling: Sampling) -> bool:
    """Whether the form of the answer is prescribed."""
    return sampling.grammar is not None or sampling.json_schema is not None


def answered(spec: Spec, state: State, first: Judged, second: Judged | None, runtime: Runtime, started: float) -> State:
    """The state after a generate stage whose streams were read elsewhere, begun at `started` (perf_counter)."""
    after, notes = settle(state, *by_attribution(state, first, second, runtime))
    seconds = time.perf_counter() - started
    entry = _entry(spec.name, seconds, state, after, runtime.reader, "", (*notes, *runtime.take_notes()))
    return replace(after, ledger=after.ledger.with_stage(entry))


_RUN = {
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
    """What the passages take of the reader's window: tokens of the text, or vectors."""
    return sum(reader.count_text(p.text) if p.soft is None else len(p.soft.vectors) for p in passages)


def dropped(before: Sequence[Passage], after: Sequence[Passage], reader: Model, why: str) -> tuple[Dropped, ...]:
    """Every stretch of the passages before that no passage after covers, white space apart, in the order it had.

    A passage that stands on spans covers these; one that was there before is dropped as a whole or not at all.
    """
    kept: dict[str, list[tuple[int, int]]] = {}
    for passage in after:
        for span in passage.spans or (passage.span,):
            kept.setdefault(span.source, []).append((span.start, span.end))
    found: list[Dropped] = []
    for passage in before:
        if passage.spans:
            if passage not in after and not all(_is_kept(span, kept.get(span.source, [])) for span in passage.spans):
                n_tokens = reader.count_text(passage.text)
                found.append(Dropped(passage.span, passage.text, passage.place, n_tokens, why))
            continue
        for start, end in uncovered(passage.start, passage.end, kept.get(passage.source, [])):
            text = passage.text[start - passage.start : end - passage.start]
            if not text.strip():
                continue
            start += len(text) - len(text.lstrip())
            part = passage.part(start, start + len(text.strip()))
            found.append(Dropped(part.span, part.text, part.place, reader.count_text(part.text), why))
    return tuple(found)


def _is_kept(span: Span, intervals: Sequence[tuple[int, int]]) -> bool:
    return not uncovered(span.start, span.end, intervals)


def uncovered(start: int, end: int, intervals: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The parts of [start, end) that no interval covers, in order."""
    found: list[tuple[int, int]] = []
    at = start
    for low, high in sorted(intervals):
        if low > at:
            found.append((at, min(low, end)))
        at = max(at, high)
        if at >= end:
            break
    if at < end:
        found.append((at, end))
    return [(low, high) for low, high in found if low < high]


def stage_ledger(window: int, reserved: int, model: str) -> Ledger:
    """An empty ledger for one question."""
    return Ledger(window=window, reserved=reserved, model=model)
