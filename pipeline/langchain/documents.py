"""Passages as LangChain's documents, and back."""

from __future__ import annotations

from langchain_core.documents import Document

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
    page = told.get("page")
    return Passage(
        source=source,
        start=start,
        end=start + len(text),
        text=text,
        score=float(told.get("score") or 0.0),
        place=Place(
            int(told.get("line") or 1), page if isinstance(page, int) else None, tuple(told.get("heading") or ())
        ),
        title=str(told.get("title") or ""),
    )
