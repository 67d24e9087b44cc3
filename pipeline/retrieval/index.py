"""The index of documents: vectors in Chroma, words in bm25s, and a manifest that says what counts.

with open_index(folder, embedder, chunker, mode="write") as index:
    report = index.update(discover(["docs"]), progress)
index = open_index(folder, embedder, chunker)
index.search_dense("where does the ferry land?", k=8)

A folder has `manifest.sqlite`, `chroma/` and `bm25/`. With `embedder: none` there is no `chroma/`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import sqlite3
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from pipeline.contracts import Embedder, Progress
from pipeline.errors import LongthreadError, StoreError
from pipeline.retrieval.globs import Glob, matching
from pipeline.retrieval.lock import FILES as LOCK_FILES
from pipeline.retrieval.lock import lock_for_reading, lock_for_writing
from pipeline.retrieval.manifest import FORMAT, NAME, Manifest, Settings
from pipeline.retrieval.questions import question_vector
from pipeline.retrieval.update import PART_OF_INDEX, Chunks, IndexReport, Updater
from pipeline.retrieval.vectors import Vectors
from pipeline.retrieval.word_index import TEMPORARY, WordIndex
from pipeline.types import Document, Passage

if TYPE_CHECKING:
    import numpy as np
    from filelock import ReadWriteLock
    from numpy.typing import NDArray

    from pipeline.documents.discover import Discovery

__all__ = ["DocumentIndex", "IndexReport", "open_index"]

OUTDATED = "index words anew (an older longthread split them otherwise)"
"""The step of an update that replaces a word index of an older version."""
_CHROMA = "chroma"
_BM25 = "bm25"
_MANIFESTS = {NAME, f"{NAME}-wal", f"{NAME}-shm"}


def open_index(
    folder: str | Path,
    embedder: Embedder,
    chunker: Chunks,
    mode: Literal["read", "write"] = "read",
    rebuild: bool = False,
) -> DocumentIndex:
    """The index in a folder. To write makes a new one where there is none; `rebuild` wipes what is there first.

    Any number of processes may read, or one may write. Raises StoreError, with the way out, for an index that is
    missing, empty, unfinished, damaged, in use, of another format, embedder or chunker, and for a folder that is
    something else.
    """
    folder = Path(folder)
    asked = Settings(
        embedder=embedder.name,
        fingerprint=embedder.fingerprint,
        dimension=embedder.dimension,
        chunker=json.dumps(chunker.settings, sort_keys=True),
    )
    if mode == "read":
        return _open_to_read(folder, embedder, chunker, asked)
    return _open_to_write(folder, embedder, chunker, asked, rebuild)


def _open_to_read(folder: Path, embedder: Embedder, chunker: Chunks, asked: Settings) -> DocumentIndex:
    if not (folder / NAME).is_file():
        raise StoreError(f"{folder}: there is no index here: make one with longthread index PATH... --index {folder}")
    with _told(folder):
        lock = lock_for_reading(folder)
    index = _locked(folder, embedder, chunker, lock)
    try:
        with _told(folder):
            check_settings(folder, index.manifest.settings(), asked)
            if not index.manifest.is_finished:
                raise StoreError(
                    f"{folder}: the index is unfinished, as an interrupted run leaves it: run longthread index again "
                    "with the same paths, and it goes on from there"
                )
            if not index.n_chunks:
                raise StoreError(f"{folder}: the index is empty: add documents with longthread index PATH...")
    except BaseException:
        index.close()
        raise
    return index


def fingerprint(folder: str | Path) -> str:
    """The same for indexes that hold the same passages and vectors: of the settings and every file's hash.

    Raises StoreError for a folder without an index, and for one that is being written.
    """
    folder = Path(folder)
    if not (folder / NAME).is_file():
        raise StoreError(f"{folder}: there is no index here: make one with longthread index PATH... --index {folder}")
    with _told(folder):
        lock = lock_for_reading(folder)
        try:
            manifest = Manifest(folder / NAME)
            try:
                settings = manifest.settings()
                files = [(source, state.sha256) for source, state in manifest.states().items()]
            finally:
                manifest.close()
        finally:
            lock.close()
    known = [None if settings is None else asdict(settings), files]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]


def _open_to_write(folder: Path, embedder: Embedder, chunker: Chunks, asked: Settings, rebuild: bool) -> DocumentIndex:
    with _told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _check_is_ours(folder)
        lock = lock_for_writing(folder)
    index = _locked(folder, embedder, chunker, lock, wipe=rebuild or not (folder / NAME).is_file(), may_write=True)
    try:
        with _told(folder):
            found = index.manifest.settings()
            if found is None:
                index.manifest.begin_anew(asked)
            else:
                check_settings(folder, found, asked)
            _tidy(folder, index.n_chunks)
    except BaseException:
        index.close()
        raise
    return index


def _locked(
    folder: Path, embedder: Embedder, chunker: Chunks, lock: ReadWriteLock, wipe: bool = False, may_write: bool = False
) -> DocumentIndex:
    """The index of a folder that we hold the lock of; the lock is given back where that fails."""
    try:
        with _told(folder):
            if wipe:
                _wipe(folder)
            return DocumentIndex(folder, embedder, chunker, lock, may_write)
    except BaseException:
        lock.close()
        raise


def check_settings(folder: Path, found: Settings | None, asked: Settings) -> None:
    """Raises StoreError where an index was made otherwise than it is asked for."""
    way_out = f"use the settings that it was made with, or make it anew: longthread index PATH... --index {folder} "
    way_out += "--rebuild"
    if found is None:
        raise StoreError(f"{folder}: the index was never begun: run longthread index PATH... --index {folder}")
    if found.format != FORMAT:
        raise StoreError(
            f"{folder}: the index has format {found.format}, and this longthread reads {FORMAT}: {way_out}"
        )
    if (found.fingerprint, found.dimension) != (asked.fingerprint, asked.dimension):
        raise StoreError(
            f"{folder}: the index was made with the embedder {_embedder(found)}, and {_embedder(asked)} is asked for: "
            f"{way_out}"
        )
    if found.chunker != asked.chunker:
        raise StoreError(
            f"{folder}: the index was cut with {_chunker(found)}, and {_chunker(asked)} is asked for: {way_out}"
        )


def _embedder(settings: Settings) -> str:
    return f"{settings.embedder} ({settings.fingerprint[:12]}, {settings.dimension} dimensions)"


def _chunker(settings: Settings) -> str:
    return ", ".join(f"{name} {value}" for name, value in json.loads(settings.chunker).items())


class DocumentIndex:
    """An open index. Close it, or use it in a `with`: until then its folder is locked for writers."""

    def __init__(
        self, folder: Path, embedder: Embedder, chunker: Chunks, lock: ReadWriteLock, may_write: bool = False
    ) -> None:
        self.folder = folder
        self.embedder = embedder
        self.chunker = chunker
        self.may_write = may_write
        self.manifest = Manifest(folder / NAME)
        self._release = weakref.finalize(self, lock.close)

    @cached_property
    def n_chunks(self) -> int:
        return self.manifest.n_chunks

    @cached_property
    def sources(self) -> tuple[str, ...]:
        return tuple(self.manifest.sources())

    def search_dense(self, question: str, k: int, glob: Glob = None) -> list[Passage]:
        sources = None if glob is None else matching(self.sources, glob)
        if sources == []:
            return []
        vector = question_vector(self.embedder, question)
        with _told(self.folder):
            found = self._vectors.search(vector, k, sources)
            passages = self.manifest.passages_of_ids([id_ for id_, _ in found])
        scored = [
            replace(passage, score=score)
            for passage, (_, score) in zip(passages, found, strict=True)
            if passage is not None
        ]
        return sorted(scored, key=lambda passage: (-passage.score, passage.source, passage.start))[:k]

    def search_bm25(self, question: str, k: int, glob: Glob = None) -> list[Passage]:
        with _told(self.folder):
            rows = None if glob is None else self.manifest.rows(matching(self.sources, glob))
            found = self._words.search(question, k, rows)
            return [replace(self.manifest.passage_of_row(row), score=score) for row, score in found]

    def vectors(self, passages: Sequence[Passage]) -> NDArray[np.float32]:
        with _told(self.folder):
            return self._vectors.get([self.manifest.id_of(passage.span) for passage in passages])

    def document(self, source: str) -> Document:
        """Raises KeyError for a source that is not in the index."""
        with _told(self.folder):
            return self.manifest.document(source)

    def passages(self, source: str) -> list[Passage]:
        """All passages of one source in the order of the document; none for a source that is not in the index."""
        with _told(self.folder):
            return self.manifest.passages_of_source(source)

    @property
    def counts(self) -> dict[str, int]:
        """How many passages each source has, by source."""
        with _told(self.folder):
            return self.manifest.counts()

    @property
    def titles(self) -> dict[str, str]:
        """The title of each document, by source; empty where it has none."""
        with _told(self.folder):
            return self.manifest.titles()

    def update(self, discovery: Discovery, progress: Progress, given: Sequence[Document] = ()) -> IndexReport:
        """Brings the index to the files that were discovered, and adds the documents that are given: see IndexReport.

        Adds what is new, reads again what changed, and forgets files that are gone or are passed over now; a file
        that was indexed from another path, and is still there, stays. What cannot be read is listed, not raised.
        """
        if not self.may_write:
            raise StoreError(f"{self.folder}: the index is open to be searched: open it with mode='write' to update it")
        started = time.monotonic()
        with _told(self.folder):
            vectors = self._vectors if self.embedder.dimension else None
            report = Updater(self.manifest, vectors, self.embedder, self.chunker, progress).run(
                self._without_itself(discovery), given
            )
            self._forget_views()
            if self._saved_words is None:
                step = OUTDATED if WordIndex.is_outdated(self.folder / _BM25) else "index words"
                progress(step, 0, report.n_chunks)
                WordIndex.build(self.manifest.texts()).save(self.folder / _BM25, self.manifest.generation)
                progress(step, report.n_chunks, report.n_chunks)
            self.manifest.is_finished = True
        return replace(report, seconds=time.monotonic() - started)

    def _without_itself(self, discovery: Discovery) -> Discovery:
        """The index's own files are no documents, though its folder may lie among them."""
        own = self.folder.resolve()
        inside = [path for path in discovery.files if path.is_relative_to(own)]
        skipped = {path: PART_OF_INDEX if Path(path).is_relative_to(own) else why for path, why in discovery.skipped}
        skipped |= {path.as_posix(): PART_OF_INDEX for path in inside}
        files = tuple(path for path in discovery.files if path not in inside)
        return replace(discovery, files=files, skipped=tuple(sorted(skipped.items())))

    def close(self) -> None:
        """Lets others write. Closing twice does nothing."""
        if "_vectors" in self.__dict__:
            self._vectors.close()
        self._forget_views()
        self.__dict__.pop("_vectors", None)
        self.manifest.close()
        self._release()

    def _forget_views(self) -> None:
        for name in ("n_chunks", "sources", "_words"):
            self.__dict__.pop(name, None)

    @cached_property
    def _vectors(self) -> Vectors:
        if not self.embedder.dimension:
            raise StoreError(
                f"{self.folder}: the index has no vectors, because index.embedder is none: use retrieve.bm25"
            )
        if not self.may_write and not (self.folder / _CHROMA / "chroma.sqlite3").is_file():
            raise StoreError(f"{self.folder}: the index's vectors are missing: {_anew(self.folder)}")
        return Vectors(self.folder / _CHROMA, create=self.may_write)

    @property
    def _saved_words(self) -> WordIndex | None:
        return WordIndex.load(self.folder / _BM25, self.manifest.generation)

    @cached_property
    def _words(self) -> WordIndex:
        return self._saved_words or WordIndex.build(self.manifest.texts())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _check_is_ours(folder: Path) -> None:
    """Nothing is wiped that we did not make: a folder without a manifest must be empty, or hold our lock."""
    names = {path.name for path in folder.iterdir()}
    strange = sorted(name for name in names - LOCK_FILES - _MANIFESTS - {_CHROMA, _BM25} if not _is_temporary(name))
    if NAME in names or not names or (names & LOCK_FILES and not strange):
        return
    raise StoreError(
        f"{folder}: holds no index, but other files ({', '.join(strange or sorted(names))[:80]}): name a "
        "folder that is new or empty"
    )


def _is_temporary(name: str) -> bool:
    return name.startswith(TEMPORARY)


def _wipe(folder: Path) -> None:
    """Deletes what an index is made of. The manifest goes first: without it the rest counts for nothing."""
    for name in (NAME, f"{NAME}-wal", f"{NAME}-shm"):
        (folder / name).unlink(missing_ok=True)
    _tidy(folder, 0)
    if (folder / _BM25).exists():
        shutil.rmtree(folder / _BM25)


def _tidy(folder: Path, n_chunks: int) -> None:
    """Deletes what interrupted runs left: half-written word indexes, and vectors that belong to no chunk at all."""
    for path in folder.iterdir():
        if _is_temporary(path.name):
            shutil.rmtree(path)
    if not n_chunks and (folder / _CHROMA).exists():
        shutil.rmtree(folder / _CHROMA)


def _anew(folder: Path) -> str:
    return f"make it anew: longthread index PATH... --index {folder} --rebuild"


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """What goes wrong in a store's files becomes a StoreError with the way out."""
    try:
        yield
    except LongthreadError:
        raise
    except sqlite3.DatabaseError as error:
        if "disk is full" in str(error):
            raise _disk_full(folder) from error
        raise StoreError(f"{folder}: the index's files cannot be used ({error}): {_anew(folder)}") from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _disk_full(folder) from error
        raise StoreError(f"{folder}: {error.strerror or error}: give a folder that can be written to") from error
    except BaseException as error:
        if not _is_chromas(error):
            raise
        if "disk is full" in str(error):
            raise _disk_full(folder) from error
        raise StoreError(f"{folder}: the index's vectors cannot be used ({error}): {_anew(folder)}") from error


def _disk_full(folder: Path) -> StoreError:
    return StoreError(f"{folder}: the disk is full: make room and run it again, what is done stays done")


def _is_chromas(error: BaseException) -> bool:
    """Chroma's own errors, and the panics of its Rust part, which are no Exceptions."""
    return type(error).__module__.startswith("chromadb") or type(error).__name__ == "PanicException"
