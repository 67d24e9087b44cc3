"""Runs as `longthread run` writes them, made by hand: for what only looks at records."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def passage(source: str, start: int, text: str, spans: Sequence[tuple[str, int, int]] = ()) -> dict[str, Any]:
    return {
        "source": source,
        "start": start,
        "end": start + len(text),
        "line": 1,
        "page": None,
        "heading": [],
        "score": 1.0,
        "text": text,
        "spans": [{"source": s, "start": a, "end": b} for s, a, b in spans],
    }


def citation(number: int, quote: dict[str, Any] | None) -> dict[str, Any]:
    source = quote["source"] if quote else None
    return {
        "number": number,
        "by": "model",
        "is_valid": quote is not None,
        "support": 1.0,
        "source": source,
        "quote": quote,
    }


def dropped(source: str, start: int, text: str) -> dict[str, Any]:
    span = {"source": source, "start": start, "end": start + len(text)}
    place: dict[str, Any] = {"line": 1, "page": None, "heading": []}
    return {"span": span, "text": text, "place": place, "tokens": len(text.split()), "why": "not kept"}


def record(
    answer: str,
    shown: Sequence[dict[str, Any]] = (),
    citations: Sequence[dict[str, Any]] = (),
    retrieved: Sequence[str] = (),
    is_abstention: bool = False,
    drops: Sequence[dict[str, Any]] = (),
    tokens: int = 100,
    seconds: float = 1.0,
) -> dict[str, Any]:
    generation = {
        "text": answer,
        "finish": "stop",
        "prompt_tokens": tokens,
        "reused_tokens": 20,
        "answer_tokens": 10,
        "prefill_s": 0.5,
        "decode_s": 0.25,
    }
    entry = {"passages_in": 2, "passages_out": 1, "tokens_in": 30, "tokens_out": 10, "notes": [], "dropped": []}
    return {
        "question": {"id": "", "text": ""},
        "answer": answer,
        "is_abstention": is_abstention,
        "why": "the model says so" if is_abstention else "",
        "unsupported": [],
        "citations": list(citations),
        "found": [{"source": source, "start": 0, "end": 1, "score": 1.0} for source in retrieved],
        "shown": list(shown),
        "ledger": {
            "stages": [
                {**entry, "stage": "retrieve.bm25", "seconds": seconds / 4},
                {**entry, "stage": "compress.sentences", "seconds": seconds / 4, "dropped": list(drops)},
                {**entry, "stage": "generate.scripted", "seconds": seconds / 2},
            ],
            "parts": {"passages": tokens},
            "window": 1000,
            "reserved": 50,
            "model": "m",
            "generation": generation,
            "notes": [],
            "prompt_tokens": tokens,
        },
        "config_hash": "c",
        "version": "0",
    }


def line(
    n: int,
    entry: dict[str, Any] | None,
    gold: Mapping[str, Any] | None = None,
    text: str = "",
    error: str = "",
) -> dict[str, Any]:
    return {
        "n": n,
        "id": f"q{n}",
        "key": f"k{n}",
        "status": "error" if error else "ok",
        "error": {"type": "ModelError", "message": error, "stage": "generate.llama"} if error else None,
        "retries": 0,
        "attempts": [],
        "seconds": 1.0,
        "started": "2026-01-01T00:00:00.000",
        "fields": {} if gold is None else {"gold": dict(gold)},
        "question": {"id": f"q{n}", "text": text or f"question {n}"},
        "record": entry,
    }


def write_run(folder: Path, lines: Sequence[dict[str, Any]], **about: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    run = {
        "format": 1,
        "config_hash": "c",
        "index_hash": "i",
        "model": {"name": "smol", "path": "/smol.gguf", "sha256": "aa"},
        "started": "2026-01-01",
        "version": "0",
        **about,
    }
    (folder / "run.json").write_text(json.dumps(run), "utf-8")
    (folder / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines), "utf-8")
    return folder
