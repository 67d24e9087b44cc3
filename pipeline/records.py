"""One question's outcome as plain values for JSON: answer, citations, ledger, settings; nothing shortened."""

from __future__ import annotations

from dataclasses import asdict, replace
from importlib.metadata import version
from typing import Any

from pipeline.config import PipelineConfig
from pipeline.types import Citation, Copy, Ledger, Passage, Place, StageEntry, State


def record(state: State, config: PipelineConfig) -> dict[str, Any]:
    """The outcome of one question, with the resolved settings that led to it."""
    answer, generation = state.answer, state.ledger.generation
    return {
        "question": {"id": state.question.id, "text": state.question.text},
        "answer": None if answer is None else answer.text,
        "is_abstention": answer is not None and answer.is_abstention,
        "why": "" if answer is None else answer.why,
        "answerable": None if state.answerable is None else round(state.answerable, 4),
        "by": None if answer is None else answer.by,
        "said": "" if answer is None else answer.said,
        "thoughts": "" if generation is None else generation.thoughts,
        "thought_tokens": 0 if generation is None else generation.thought_tokens,
        "faults": [] if answer is None else list(answer.faults),
        "unsupported": [] if answer is None else list(answer.unsupported),
        "citations": [] if answer is None else [_citation(citation) for citation in answer.citations],
        "found": [_found(passage) for passage in state.found],
        "shown": [_passage(passage) for passage in state.shown],
        "ledger": _ledger(state.ledger),
        "config": config.resolved(),
        "config_hash": config.hash,
        "version": version("longthread"),
    }


def _ledger(ledger: Ledger) -> dict[str, Any]:
    account = asdict(replace(ledger, stages=()))
    stages = [_stage(entry) for entry in ledger.stages]
    return {**account, "stages": stages, "parts": dict(ledger.parts), "prompt_tokens": ledger.prompt_tokens}


def _stage(entry: StageEntry) -> dict[str, Any]:
    dropped = [
        {"span": asdict(one.span), "text": one.text, "place": _place(one.place), "tokens": one.tokens, "why": one.why}
        for one in entry.dropped
    ]
    return {**asdict(replace(entry, dropped=())), "dropped": dropped}


def _place(place: Place) -> dict[str, Any]:
    heading = list(place.heading)
    return {
        "line": place.line,
        "page": place.page,
        "heading": heading,
        "paragraph": place.paragraph,
        "label": place.label,
    }


def _citation(citation: Citation) -> dict[str, Any]:
    return {
        "number": citation.number,
        "by": citation.by,
        "is_valid": citation.is_valid,
        "support": round(citation.support, 4),
        "drop": None if citation.drop is None else round(citation.drop, 4),
        "source": citation.passage.source if citation.passage else None,
        "quote": _passage(citation.quote) if citation.quote else None,
    }


def _found(passage: Passage) -> dict[str, Any]:
    """Where a retrieved passage stands and its score; its text is under `shown` or among what the ledger dropped."""
    return {"source": passage.source, "start": passage.start, "end": passage.end, "score": passage.score}


def _copy(copy: Copy) -> dict[str, Any]:
    return {"source": copy.source, "start": copy.start, **_place(copy.place)}


def _passage(passage: Passage) -> dict[str, Any]:
    return {
        "source": passage.source,
        "start": passage.start,
        "end": passage.end,
        **_place(passage.place),
        "score": passage.score,
        "text": passage.text,
        "spans": [asdict(span) for span in passage.spans],
        **({"near_copies": [_copy(copy) for copy in passage.near_copies]} if passage.near_copies else {}),
        "copies": [_copy(copy) for copy in passage.copies],
    }
