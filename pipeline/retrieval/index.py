"""The index of documents: vectors in Chroma, words in bm25s, and a manifest that says what counts.

with open_index(folder, embedder, chunker, mode="write") as index:
    report = index.update(discover(["docs"]), progress)
index = open_index(folder, embedder, chunker)
index.search_dense("where does the ferry land?", k=8)

A generation of an index (generations.py) has `manifest.sqlite`, `chroma/` and `bm25/`. With `embedder: none` there is
no `chroma/`.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
import weakref
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pipeline.contracts import Embedder, Progress
from pipeline.errors import StoreError
from pipeline.retrieval import saved_vectors
from pipeline.retrieval.generations import (
    BM25,
    CHROMA,
    MANIFEST,
    UNFINISHED,
    Held,
    begin_from,
    newest,
    publish,
    sweep,
)
from pipeline.retrieval.lock import WriteLock
from pipeline.retrieval.manifest import Manifest
from pipeline.retrieval.metadata import Metadata
from pipeline.retrieval.plan import PART_OF_INDEX, Plan
from pipeline.retrieval.questions import question_vector
from pipeline.retrieval.saved_vectors import SavedVectors
from pipeline.retrieval.scope import Scope
from pipeline.retrieval.searching import by_vectors, by_words, kept
from pipeline.retrieval.store_errors import rebuild_hint, translate_errors
from pipeline.retrieval.update import Chunks, IndexReport, Updater
from pipeline.retrieval.vectors import Vectors
from pipeline.retrieval.word_index import TEMPORARY, WordIndex
from pipeline.types import Document, Passage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipeline.documents.discover import Discovery

__all__ = ["DocumentIndex", "IndexReport"]

OUTDATED = "index words anew (an older longthread split them otherwise)"
"""The step of an update that replaces a word index of an older version."""


class DocumentIndex:
    """An open index. Close it, or use it in a `with`: until then the generation that it reads is kept for it.

    With a `lock` it may be updated, and others wait who would update it too. `is_superseded` says that another process
    has published a newer generation: open the index again to search that.
    """

    def __init__(
        self, folder: Path, embedder: Embedder, chunker: Chunks, held: Held, lock: WriteLock | None = None
    ) -> None:
        self.folder = folder
        self.embedder = embedder
        self.chunker = chunker
        self._lock = lock
        self._held = held
        self.manifest = Manifest(held.path / MANIFEST, held.is_unfinished)
        self._release = ExitStack()
        self._release.callback(held.release)
        if lock is not None:
            self._release.callback(lock.release)
        weakref.finalize(self, self._release.close)

    @property
    def path(self) -> Path:
        """The folder of the generation that is open."""
        return self._held.path

    @property
    def is_superseded(self) -> bool:
        return newest(self.folder) != self.path

    @property
    def has_saved_words(self) -> bool:
        """Whether the words are indexed on the disk; else they are indexed in memory when they are first searched."""
        with translate_errors(self.folder):
            return self._saved_words is not None

    @property
    def is_behind(self) -> bool:
        """Whether a newer state is being made, or was begun and not finished."""
        return (self.folder / UNFINISHED).exists()

    @cached_property
    def n_chunks(self) -> int:
        return self.manifest.n_chunks

    @cached_property
    def sources(self) -> tuple[str, ...]:
        return tuple(self.manifest.sources())

    @cached_property
    def metadata(self) -> dict[str, Metadata]:
        with translate_errors(self.folder):
            return self.manifest.metadata()

    def pages(self, source: str) -> tuple[int, ...]:
        """The pages that its passages stand on."""
        with translate_errors(self.folder):
            return self.manifest.pages(source)

    def search_dense(self, question: str, k: int, scope: Scope | None = None) -> list[Passage]:
        with translate_errors(self.folder):
            chunks = kept(self.manifest, lambda: self.metadata, scope)
        if chunks is not None and not chunks.ids:
            return []
        vector = question_vector(self.embedder, question)
        with translate_errors(self.folder):
            return by_vectors(self.manifest, self._saved_vectors or self._vectors, vector, k, chunks)

    def search_bm25(self, question: str, k: int, scope: Scope | None = None) -> list[Passage]:
        with translate_errors(self.folder):
            return by_words(self.manifest, self._words, question, k, kept(self.manifest, lambda: self.metadata, scope))

    def vectors(self, passages: Sequence[Passage]) -> NDArray[np.float32]:
        with translate_errors(self.folder):
            vectors = self._saved_vectors or self._vectors
            return vectors.get([self.manifest.id_of(passage.span) for passage in passages])

    def document(self, source: str) -> Document:
        """Raises KeyError for a source that is not in the index."""
        with translate_errors(self.folder):
            return self.manifest.document(source)

    def passages(self, source: str) -> list[Passage]:
        """All passages of one source in the order of the document; none for a source that is not in the index."""
        with translate_errors(self.folder):
            return self.manifest.passages_of_source(source)

    @property
    def counts(self) -> dict[str, int]:
        """How many passages each source has, by source."""
        with translate_errors(self.folder):
            return self.manifest.counts()

    @property
    def titles(self) -> dict[str, str]:
        """The title of each document, by source; empty where it has none."""
        with translate_errors(self.folder):
            return self.manifest.titles()

    def plan(self, discovery: Discovery, progress: Progress) -> Plan:
        """What an update would have to do. Only looks."""
        with translate_errors(self.folder):
            extra = set(self.manifest.sources()) - self._published_sources() if self._held.is_unfinished else ()
            if self._has_lost_vectors:
                updater = self._updater(progress, discovery.ocr, with_vectors=False)
                torn: frozenset[str] | None = frozenset(source for source, n in self.manifest.counts().items() if n)
            elif self._is_whole and self._saved_vectors is not None:
                updater, torn = self._updater(progress, discovery.ocr, with_vectors=False), None
            else:
                updater = self._updater(progress, discovery.ocr)
                torn = updater.torn(is_exact=not self._is_whole)
            return updater.plan(self._without_itself(discovery), torn, extra)

    def update(self, discovery: Discovery, progress: Progress, given: Sequence[Document] = ()) -> IndexReport:
        """Brings the index to the files that were discovered, and adds the documents that are given: see IndexReport.

        Adds what is new, reads again what changed, and forgets files that are gone or are passed over now; a file
        that was indexed from another path, and is still there, stays. What cannot be read is listed, not raised.
        Others see nothing of it until it is published as a whole, at the end. Where nothing is new, nothing is written.
        """
        lock = self._lock
        if lock is None:
            raise StoreError(f"{self.folder}: the index is open to be searched: open it with mode='write' to update it")
        started = time.monotonic()

        def beat(what: str, done: int, total: int) -> None:
            progress(what, done, total)
            lock.beat(what, done, total)

        plan = self.plan(discovery, beat)
        discovery = self._without_itself(discovery)
        with translate_errors(self.folder):
            if self._is_whole and not given and not plan.is_worth_writing and self._saved_words is not None:
                report = IndexReport.of_nothing_new(plan, discovery, self.n_chunks)
            else:
                if not self._held.is_unfinished:
                    self._move(begin_from(self.folder, self.path))
                    if self._updater(beat).torn(is_exact=False) is not None:
                        plan = self.plan(discovery, beat)
                self.manifest.upgrade()
                report = self._updater(beat, discovery.ocr).run(plan, discovery, given)
                self._forget_views()
                self._save_words(beat, report.n_chunks)
                self._publish()
        return replace(report, seconds=time.monotonic() - started)

    @property
    def _is_whole(self) -> bool:
        """Whether this is a published state, which an older longthread may have left unfinished."""
        return not self._held.is_unfinished and self.manifest.is_finished

    @property
    def _has_lost_vectors(self) -> bool:
        is_there = (self.path / CHROMA / "chroma.sqlite3").is_file()
        return bool(self.embedder.dimension) and not self._held.is_unfinished and not is_there

    def _updater(self, progress: Progress, ocr: bool = True, with_vectors: bool = True) -> Updater:
        vectors = self._vectors if with_vectors and self.embedder.dimension else None
        return Updater(self.manifest, vectors, self.embedder, self.chunker, progress, ocr)

    def _published_sources(self) -> set[str]:
        """Those of the newest generation; where that is missing or damaged, those of this one."""
        path = newest(self.folder)
        if path is not None:
            manifest = Manifest(path / MANIFEST)
            try:
                return set(manifest.sources())
            except sqlite3.DatabaseError:
                pass
            finally:
                manifest.close()
        return set(self.manifest.sources())

    def _save_words(self, progress: Progress, n_chunks: int) -> None:
        if self._saved_words is None:
            step = OUTDATED if WordIndex.is_outdated(self.path / BM25) else "index words"
            progress(step, 0, n_chunks)
            WordIndex.build(self.manifest.texts()).save(self.path / BM25, self.manifest.generation)
            progress(step, n_chunks, n_chunks)

    def _publish(self) -> None:
        if self.embedder.dimension:
            saved_vectors.save(self.path, sorted(self.manifest.ids()), self._vectors.get)
        self._close_stores()
        self.manifest.finish()
        self._move(publish(self.folder))

    def _move(self, held: Held) -> None:
        """Goes on with another state of the index."""
        self._close_stores()
        self.manifest.close()
        self._held.release()
        self._held = held
        self._release.callback(held.release)
        self.manifest = Manifest(held.path / MANIFEST, held.is_unfinished)

    def _without_itself(self, discovery: Discovery) -> Discovery:
        """The index's own files are no documents, though its folder may lie among them."""
        root = self.folder.resolve()
        inside = {path for path in discovery.files if path.is_relative_to(root)}
        skipped = {path: PART_OF_INDEX if Path(path).is_relative_to(root) else why for path, why in discovery.skipped}
        skipped |= {path.as_posix(): PART_OF_INDEX for path in inside}
        files = tuple(path for path in discovery.files if path not in inside)
        return replace(discovery, files=files, skipped=tuple(sorted(skipped.items())))

    def close(self) -> None:
        """Lets others write, and delete what this read. Closing twice does nothing."""
        self._close_stores()
        self.manifest.close()
        self._release.close()
        with suppress(OSError):
            sweep(self.folder)

    def _close_stores(self) -> None:
        if "_vectors" in self.__dict__:
            self._vectors.close()
        self._forget_views()
        self.__dict__.pop("_vectors", None)

    def _forget_views(self) -> None:
        for name in ("n_chunks", "sources", "metadata", "_words", "_saved_vectors"):
            self.__dict__.pop(name, None)

    @cached_property
    def _vectors(self) -> Vectors:
        if not self.embedder.dimension:
            raise StoreError(
                f"{self.folder}: the index has no vectors, because index.embedder is none: use retrieve.bm25"
            )
        if self._has_lost_vectors:
            raise StoreError(f"{self.folder}: the index's vectors are missing: {rebuild_hint(self.folder)}")
        return Vectors(self.path / CHROMA, create=self._held.is_unfinished)

    @cached_property
    def _saved_vectors(self) -> SavedVectors | None:
        """Of a published generation, the plain copy of its vectors."""
        return saved_vectors.load(self.path, self.manifest.n_ids) if self._is_whole else None

    @property
    def _saved_words(self) -> WordIndex | None:
        return WordIndex.load(self.path / BM25, self.manifest.generation)

    @cached_property
    def _words(self) -> WordIndex:
        return self._saved_words or WordIndex.build(self.manifest.texts())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def tidy(path: Path) -> None:
    """Deletes what an interrupted writer left: half-written word indexes, and vectors without any chunk."""
    for part in path.iterdir():
        if part.name.startswith(TEMPORARY):
            shutil.rmtree(part)
    manifest = Manifest(path / MANIFEST)
    try:
        n_chunks = manifest.n_chunks
    finally:
        manifest.close()
    if not n_chunks and (path / CHROMA).exists():
        shutil.rmtree(path / CHROMA)
