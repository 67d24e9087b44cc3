"""The documents of a data set as files in the cache, so that they are indexed like anybody's documents.

One text file a document, in a folder named after the data's own path and what it holds. The first line is the title,
from where the loader takes it. What a loader would change (Windows line ends, a NUL, a byte order mark) is replaced by
as many spaces, so that offsets into the text stay right.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.cache import cache_folder
from pipeline.contracts import Progress
from pipeline.errors import DataError
from pipeline.evaluation.data.dataset import DataSet
from pipeline.storage.whole import write_whole
from pipeline.types import Document

_DONE = "DONE"
_MAX_NAME = 80


@dataclass(frozen=True)
class Corpus:
    """The files of a data set's documents. A document's file is a function of its source alone."""

    folder: Path

    @property
    def documents(self) -> Path:
        return self.folder / "documents"

    def path_of(self, source: str) -> Path:
        digest = hashlib.sha256(source.encode("utf-8", "replace")).hexdigest()[:16]
        word = re.sub(r"[^A-Za-z0-9]+", "-", source).strip("-")[:_MAX_NAME]
        return self.documents / f"{word}-{digest}.txt"


def materialise(data: DataSet, progress: Progress) -> Corpus:
    """Writes the documents, unless a run before has written them all. Others may do the same at the same time."""
    corpus = Corpus((cache_folder() / "corpora" / f"{data.kind}-{_fingerprint(data.corpus())}").resolve())
    if (corpus.folder / _DONE).exists():
        return corpus
    if next(data.corpus(), None) is None:
        raise DataError(f"{data.name}: no documents come with its questions: name those to search with --docs PATH")
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
    """What stands in a file before the document's text."""
    return f"Title: {' '.join(plain(document.title or document.source).split())}\n\n"


def plain(text: str) -> str:
    """The text with spaces for what a loader of text files would drop, as long as before."""
    return text.replace("\r\n", " \n").replace("\r", "\n").replace("\0", " ").replace("\ufeff", " ")


def _fingerprint(documents: Iterable[Document]) -> str:
    digest = hashlib.sha256()
    for document in documents:
        for part in (document.source, document.title, document.text):
            digest.update(part.encode("utf-8", "replace") + b"\0")
    return digest.hexdigest()[:16]
