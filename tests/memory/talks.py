"""Conversations for tests: turns by number, and pipelines with a memory that need no weights."""

from __future__ import annotations

from pathlib import Path

from pipeline.config import IndexSettings, PipelineConfig
from pipeline.contracts import Component
from pipeline.documents.discover import discover
from pipeline.pipeline import Pipeline, chunker
from pipeline.registry import make
from pipeline.retrieval.open_index import open_index
from pipeline.types import Turn
from tests.compressors.workbench import WordCounts

FACTS = {
    "ferry.md": "The ferry leaves at nine. A child pays six marks on the ferry.",
    "garden.md": "The garden has four beehives. Dogs may not enter the garden.",
    "tower.md": "The tower was built in 1702. Its clock was repaired by Ruth Ebel.",
}
SETTINGS = IndexSettings(embedder="none", chunk_tokens=32)
SMALL_TIERS: Component = make(
    "memory.hierarchical", {"sensory_tokens": 60, "segment_tokens": 30, "summary_tokens": 30, "recall_tokens": 60}
)


def turn(number: int, question: str = "", answer: str = "", day: int = 1) -> Turn:
    """On the given day of January 2026; the minute is the turn's number."""
    time = f"2026-01-{day:02}T10:{number % 60:02}:00+00:00"
    return Turn(number, question or f"question {number}", answer or f"answer {number}", time)


def pipeline_with(
    memory: Component | None, docs: Path | None = None, n_ctx: int = 2048, max_tokens: int = 32, k: int = 2
) -> Pipeline:
    """Words find, the scripted model answers, and an embedder counts words for whoever needs vectors."""
    stages = (
        *([make("retrieve.bm25", {"k": k})] if docs else []),
        *([memory] if memory else []),
        make("assemble.cited", {"instructions": "Answer.", "memory_instructions": "", "show_titles": False}),
        make("generate.scripted", {"n_ctx": n_ctx, "max_tokens": max_tokens}),
    )
    pipeline = Pipeline(PipelineConfig("talk.yaml", stages, SETTINGS), docs / "index" if docs else Path("nowhere"))
    pipeline.use(embedder=WordCounts())
    return pipeline


def indexed(folder: Path) -> Path:
    """A folder with an index of the facts, for `pipeline_with`."""
    for name, text in FACTS.items():
        (folder / "docs").mkdir(parents=True, exist_ok=True)
        (folder / "docs" / name).write_text(text)
    with open_index(folder / "index", WordCounts(), chunker(SETTINGS), mode="write") as index:
        index.update(discover([str(folder / "docs")]), lambda *_: None)
    return folder
