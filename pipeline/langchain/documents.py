"""Passages as LangChain's documents, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.documents import Document

from pipeline.documents.places import marks_to_json, place_from_json
from pipeline.types import Passage, Place


def to_document(passage: Passage) -> Document:
    """The passage's text, with where it stands as metadata: text == source's text[start:end]."""
    metadata = {
        "source": passage.source,
        "start": passage.start,
        "end": passage.end,
        "line": passage.place.line,
        "page": passage.place.page,
        "heading": list(passage.place.heading),
        "paragraph": passage.place.paragraph,
        "marks": marks_to_json(passage.place),
        "title": passage.title,
        "score": passage.score,
    }
    return Document(passage.text, id=f"{passage.source}:{passage.start}-{passage.end}", metadata=metadata)


def to_passage(document: Document, number: int) -> Passage:
    """The passage that a document is. One from elsewhere, without offsets, is its own source: `document NUMBER`."""
    told, text = document.metadata, document.page_content
    start, source = told.get("start"), told.get("source")
    if not isinstance(start, int) or not isinstance(source, str) or told.get("end") != start + len(text):
        return Passage(f"{source or 'document'} {number}", 0, len(text), text, title=str(told.get("title") or ""))
    return Passage(
        source=source,
        start=start,
        end=start + len(text),
        text=text,
        score=float(told.get("score") or 0.0),
        place=_place(told),
        title=str(told.get("title") or ""),
    )


def _place(metadata: Mapping[str, Any]) -> Place:
    line, page, paragraph = (_number(metadata.get(name)) for name in ("line", "page", "paragraph"))
    heading, marks = tuple(metadata.get("heading") or ()), metadata.get("marks")
    if isinstance(marks, str):
        return place_from_json(line, page, heading, paragraph, marks)
    return Place(line, page, heading, paragraph)


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None
