"""One question's outcome as plain values for JSON: answer, citations, ledger, settings; nothing shortened."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from pipeline.config import PipelineConfig
from pipeline.types import Citation, Passage, State


def record(state: State, config: PipelineConfig) -> dict[str, Any]:
    """The outcome of one question, with the resolved settings that led to it."""
    answer = state.answer
    return {
        "question": {"id": state.question.id, "text": state.question.text},
        "answer": None if answer is None else answer.text,
        "is_abstention": answer is not None and answer.is_abstention,
        "why": "" if answer is None else answer.why,
        "unsupported": [] if answer is None else list(answer.unsupported),
        "citations": [] if answer is None else [_citation(citation) for citation in answer.citations],
        "found": [_found(passage) for passage in state.found],
        "shown": [_passage(passage) for passage in state.shown],
        "ledger": {
            **asdict(state.ledger),
            "parts": dict(state.ledger.parts),
            "prompt_tokens": state.ledger.prompt_tokens,
        },
        "config": config.resolved(),
        "config_hash": config.hash,
        "version": version("longthread"),
    }


def _citation(citation: Citation) -> dict[str, Any]:
    return {
        "number": citation.number,
        "by": citation.by,
        "is_valid": citation.is_valid,
        "support": round(citation.support, 4),
        "source": citation.passage.source if citation.passage else None,
        "quote": _passage(citation.quote) if citation.quote else None,
    }


def _found(passage: Passage) -> dict[str, Any]:
    """Where a retrieved passage stands and its score; its text is under `shown` or among what the ledger dropped."""
    return {"source": passage.source, "start": passage.start, "end": passage.end, "score": passage.score}


def _passage(passage: Passage) -> dict[str, Any]:
    return {
        "source": passage.source,
        "start": passage.start,
        "end": passage.end,
        "line": passage.place.line,
        "page": passage.place.page,
        "heading": list(passage.place.heading),
        "score": passage.score,
        "text": passage.text,
        "spans": [asdict(span) for span in passage.spans],
    }
