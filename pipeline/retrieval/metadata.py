"""What is known about a document beside its text."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property


@dataclass(frozen=True)
class Metadata:
    """One document of an index.

    `document_date` is the one that the file itself gives, as a day, a month or a year in ISO 8601, or "". `mtime_ns` is
    when the file was changed, in nanoseconds since 1970. `language` is an ISO 639 code, or "". `n_pages` is 0 for
    formats without pages.
    """

    source: str
    kind: str = ""
    title: str = ""
    author: str = ""
    document_date: str = ""
    mtime_ns: int = 0
    language: str = ""
    n_pages: int = 0

    @cached_property
    def file_date(self) -> str:
        """The day on which the file was changed, in UTC; "" for a document that is no file."""
        if not self.mtime_ns:
            return ""
        try:
            return datetime.fromtimestamp(self.mtime_ns / 1e9, UTC).date().isoformat()
        except (ValueError, OverflowError, OSError):
            return ""

    @property
    def date(self) -> str:
        """The document's date, or the file's where the document has none."""
        return self.document_date or self.file_date
