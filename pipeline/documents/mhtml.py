"""MHTML: a page that a browser saved with all its parts in one file. Read with its frames, without pictures."""

from __future__ import annotations

import email
import email.policy
from dataclasses import replace
from email.message import Message
from pathlib import Path

from pipeline.documents.html import load_html
from pipeline.errors import DocumentError
from pipeline.types import Document, Heading

_GAP = "\n\n"


def load_mhtml(path: Path, data: bytes) -> Document:
    """The page, which is the first part of HTML, and its frames behind it. No line of the file is known.

    Raises DocumentError for a file without a page.
    """
    message = email.message_from_bytes(data, policy=email.policy.default)
    pages = [part for part in message.walk() if part.get_content_type() == "text/html"]
    if not pages:
        raise DocumentError(f"{path}: an MHTML file without a page: save the page again as HTML")
    document, *frames = [_read(path, part) for part in pages]
    text, headings, paragraphs = document.text, list(document.headings), list(document.paragraphs)
    for frame in frames:
        if not frame.text.strip():
            continue
        start = len(text) + len(_GAP)
        text += _GAP + frame.text
        headings += [Heading(start + heading.start, heading.level, heading.title) for heading in frame.headings]
        paragraphs += [start + paragraph for paragraph in frame.paragraphs]
    notes = tuple(dict.fromkeys(note for page in (document, *frames) for note in page.notes))
    return replace(
        document,
        text=text,
        kind="mhtml",
        lines=((0, None),),
        headings=tuple(headings),
        paragraphs=tuple(paragraphs),
        notes=notes,
    )


def _read(path: Path, part: Message) -> Document:
    payload = part.get_payload(decode=True)
    return load_html(path, payload if isinstance(payload, bytes) else b"", part.get_content_charset())
