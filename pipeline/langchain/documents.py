"""Converts passages to LangChain documents and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.documents import Document

from pipeline.documents.places import marks_to_json, place_from_json
from pipeline.types import Passage, Place


def to_document(passage: Passage) -> Document:
    """A document with the passage's text, and its place as metadata: text == source's text[start:end]."""
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
    """The passage of a document. A document without offsets becomes a separate source, `document NUMBER`."""
    metadata, text = document.metadata, document.page_content
    start, source = metadata.get("start"), metadata.get("source")
    if not isinstance(start, int) or not isinstance(source, str) or metadata.get("end") != start + len(text):
        return Passage(f"{source or 'document'} {number}", 0, len(text), text, title=str(metadata.get("title") or ""))
    return Passage(
        source=source,
        start=start,
        end=start + len(text),
        text=text,
        score=float(metadata.get("score") or 0.0),
        place=_place(metadata),
        title=str(metadata.get("title") or ""),
    )


def _place(metadata: Mapping[str, Any]) -> Place:
    line, page, paragraph = (_number(metadata.get(name)) for name in ("line", "page", "paragraph"))
    heading, marks = tuple(metadata.get("heading") or ()), metadata.get("marks")
    if isinstance(marks, str):
        return place_from_json(line, page, heading, paragraph, marks)
    return Place(line, page, heading, paragraph)


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None
