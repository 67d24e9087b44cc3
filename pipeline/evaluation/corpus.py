"""Writes a data set's documents to files in the cache, so that they are indexed like any user's documents.

Each document is one text file. The folder is named after the data's kind and a hash of its content. The first line is
the title, where the loader looks for it. Characters that a loader would change (Windows line ends, a NUL, a byte order
mark) become spaces, one for each, so that offsets into the text stay right.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.contracts import Progress
from pipeline.errors import DataError
from pipeline.evaluation.data.dataset import DataSet
from pipeline.storage.cache import cache_folder
from pipeline.storage.whole import write_whole
from pipeline.types import Document

_DONE = "DONE"
_MAX_NAME = 80


@dataclass(frozen=True)
class Corpus:
    """The files of a data set's documents. A document's source alone decides the name of its file."""

    folder: Path

    @property
    def documents(self) -> Path:
        return self.folder / "documents"

    def path_of(self, source: str) -> Path:
        digest = hashlib.sha256(source.encode("utf-8", "replace")).hexdigest()[:16]
        word = re.sub(r"[^A-Za-z0-9]+", "-", source).strip("-")[:_MAX_NAME]
        return self.documents / f"{word}-{digest}.txt"


def materialise(data: DataSet, progress: Progress) -> Corpus:
    """Writes the documents, unless an earlier run has written all of them. Safe to run in several processes."""
    corpus = Corpus((cache_folder() / "corpora" / f"{data.kind}-{_fingerprint(data.corpus())}").resolve())
    if (corpus.folder / _DONE).exists():
        return corpus
    if next(data.corpus(), None) is None:
        raise DataError(f"{data.name}: no documents come with its questions: name those to search (`docs`)")
    corpus.documents.mkdir(parents=True, exist_ok=True)
    n = 0
    for n, document in enumerate(data.corpus(), 1):
        path = corpus.path_of(document.source)
        # Without fsync, which takes a minute for 20000 files: they count once _DONE is there.
        path.write_bytes((head(document) + plain(document.text)).encode("utf-8", "replace"))
        progress("write documents", n, 0)
    write_whole(corpus.folder / _DONE, f"{n} documents of {data.name}\n")
    return corpus


def head(document: Document) -> str:
    """The start of a document's file, before its text."""
    return f"Title: {' '.join(plain(document.title or document.source).split())}\n\n"


def plain(text: str) -> str:
    """The text with spaces in place of characters that a text loader would drop. Its length stays the same."""
    return text.replace("\r\n", " \n").replace("\r", "\n").replace("\0", " ").replace("\ufeff", " ")


def _fingerprint(documents: Iterable[Document]) -> str:
    digest = hashlib.sha256()
    for document in documents:
        for part in (document.source, document.title, document.text):
            digest.update(part.encode("utf-8", "replace") + b"\0")
    return digest.hexdigest()[:16]
