"""MHTML: a page that a browser saved with all its parts in one file. Its page is read, its pictures are not."""

from __future__ import annotations

import email
import email.policy
from dataclasses import replace
from pathlib import Path

from pipeline.documents.html import load_html
from pipeline.errors import DocumentError
from pipeline.types import Document


def load_mhtml(path: Path, data: bytes) -> Document:
    """The page, which is the first part of HTML. Its lines are those of the page, so none is known in the file.

    Raises DocumentError for a file without a page.
    """
    message = email.message_from_bytes(data, policy=email.policy.default)
    page = next((part for part in message.walk() if part.get_content_type() == "text/html"), None)
    payload = page.get_payload(decode=True) if page is not None else None
    if page is None or not isinstance(payload, bytes):
        raise DocumentError(f"{path}: an MHTML file without a page: save the page again as HTML")
    document = load_html(path, payload, page.get_content_charset())
    return replace(document, kind="mhtml", lines=((0, None),))
