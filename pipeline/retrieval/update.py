"""Brings an index to the files on the disk: reads what is new or changed, forgets what is gone.

Files are taken in groups of some hundred chunks. Of each group the vectors are stored first, and then its rows, in one
transaction: from there on its files are done, whatever happens to the process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pipeline.contracts import Embedder, Progress
from pipeline.documents.formats import reader_version
from pipeline.documents.load import load
from pipeline.errors import DocumentError, LongthreadError
from pipeline.models.piece_store import delete_texts
from pipeline.retrieval import token_vectors
from pipeline.retrieval.manifest import FileState, IndexedFile, Manifest
from pipeline.retrieval.plan import Look, Plan, printable, state_of, unread_of
from pipeline.storage.cache import cache_folder
from pipeline.text.counting import counted
from pipeline.types import Document, Passage

if TYPE_CHECKING:
    from pipeline.documents.discover import Discovery
    from pipeline.retrieval.vectors import Vectors

FIRST_GROUP_CHUNKS = 64
GROUP_CHUNKS = 1024
"""A group is closed when it holds so many chunks: enough to sort them by length, little enough to lose by a kill. The
first is small, and each takes twice as many as the one before: so that a small folder is not lost whole.
"""
_SLICE_CHUNKS = 2048  # how many chunks of one giant file are embedded at once


class Chunks(Protocol):
    """What an index asks of a chunker."""

    @property
    def settings(self) -> dict[str, str | int]: ...
    def chunk(
        self,
        document: Document,
        count: Callable[[Sequence[str]], list[int]],
        max_tokens: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Passage]: ...
    def for_index(self, settings: Mapping[str, object]) -> Chunks:
        """The chunker that goes on with an index of these settings."""


@dataclass(frozen=True)
class IndexReport:
    """What an update did. The counts are of files; each file of `failed` and of `skipped` comes with the reason.

    `notes` say what a loader left out, and what else is worth knowing, by file. `n_chunks` is of the whole index.
    `compared` of the unchanged files were compared by their bytes, the others by size, times and inode.
    """

    added: int
    changed: int
    removed: int
    unchanged: int
    failed: tuple[tuple[str, str], ...]
    skipped: tuple[tuple[str, str], ...]
    notes: tuple[tuple[str, str], ...]
    n_chunks: int
    seconds: float
    compared: int = 0

    @classmethod
    def of_nothing_new(cls, plan: Plan, discovery: Discovery, n_chunks: int) -> IndexReport:
        """The report where nothing had to be done."""
        return cls(0, 0, 0, plan.n_unchanged, plan.failed, discovery.skipped, (), n_chunks, 0.0, plan.n_compared)


@dataclass
class Updater:
    """One update of an open index. `vectors` is None for an embedder without vectors. `stored` are their ids."""

    manifest: Manifest
    vectors: Vectors | None
    embedder: Embedder
    chunker: Chunks
    progress: Progress
    ocr: bool = True
    done: set[str] = field(default_factory=set)
    stored: set[str] = field(default_factory=set)
    failed: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)
    """Texts of passages that are in the index no more."""

    def plan(self, discovery: Discovery, torn: frozenset[str] | None, extra: Iterable[str] = ()) -> Plan:
        """What an update has to do; heals nothing and writes nothing. `torn` and `extra` as in Look.plan."""
        return Look(self.manifest, self.progress, self.error_of, self.ocr).plan(discovery, torn, extra)

    def run(self, plan: Plan, discovery: Discovery, given: Sequence[Document] = ()) -> IndexReport:
        """Does what a plan for this index says."""
        before = self.manifest.states()
        self.failed += plan.failed
        self.notes += [(source, "some of its vectors were missing: read again") for source in sorted(plan.torn)]
        self.drop_orphans()
        self.manifest.touch(plan.touched)
        for group in self.groups(plan.todo):
            self.commit(group)
        self.forget(plan.gone)  # last, so that the texts of a renamed file keep their vectors
        if given:
            self.commit([self.cut(document, FileState(document.sha256, 0, 0)) for document in given])
        self.keep_unread(discovery)
        delete_texts(cache_folder() / "pieces", self.lost)
        token_vectors.delete_vectors(self.lost)
        return IndexReport(
            added=len(self.done - set(before)),
            changed=len(self.done & set(before)),
            removed=len(plan.gone),
            unchanged=plan.n_unchanged,
            failed=tuple(self.failed),
            skipped=discovery.skipped,
            notes=tuple(self.notes),
            n_chunks=self.manifest.n_chunks,
            seconds=0.0,
            compared=plan.n_compared,
        )

    def keep_unread(self, discovery: Discovery) -> None:
        """Stores what was not read, and why, beside what earlier updates from other paths did not read."""
        sources = set(self.manifest.sources()) | {printable(path) for path in discovery.files}
        self.manifest.set_unread(unread_of(self.manifest.unread(), sources, discovery, self.failed))

    def torn(self, is_exact: bool) -> frozenset[str] | None:
        """The sources whose vectors are missing; None where each row has its vector, and each vector its row.

        Without `is_exact` they are counted only: a published generation has one for each, and only damage changes that.
        """
        if self.vectors is None or (not is_exact and self.vectors.count() == self.manifest.n_ids):
            return None
        stored, owned = self.vectors.ids(), set(self.manifest.ids())
        return None if stored == owned else frozenset(self.manifest.sources_of(owned - stored))

    def drop_orphans(self) -> None:
        """Deletes vectors that no row owns, as a killed writer leaves them."""
        if self.vectors is not None:
            self.stored = self.vectors.ids()
            self.drop(sorted(self.stored - set(self.manifest.ids())))

    def error_of(self, path: Path) -> str | None:
        """Why a file cannot be read; None for one that can."""
        if self.load(path) is not None:
            return None
        return self.failed.pop()[1]

    def forget(self, sources: Sequence[str]) -> None:
        if sources:
            ids = self.manifest.ids(sources)
            texts = self.texts(ids)
            self.manifest.replace(sources, [])
            self.lose(ids, texts)

    @cached_property
    def keeps_passages(self) -> bool:
        """Whether cells or token vectors are kept on disk, so that those of lost passages have to be looked for."""
        return any(any((cache_folder() / name).glob("*/*.kv")) for name in ("pieces", token_vectors.NAME))

    def texts(self, ids: Sequence[str]) -> dict[str, str]:
        """The texts of passages by id; none where nothing is kept of passages."""
        if not self.keeps_passages:
            return {}
        return {id_: passages[0][1].text for id_ in ids if (passages := self.manifest.passages_of_id(id_))}

    def lose(self, ids: Sequence[str], texts: Mapping[str, str]) -> None:
        """Drops the vectors of those ids that no row has any more; `texts` are theirs from before."""
        gone = self.manifest.without_rows(ids)
        self.lost |= {texts[id_] for id_ in gone if id_ in texts}
        self.drop(gone)

    def drop(self, ids: Sequence[str]) -> None:
        if self.vectors is not None and ids:
            self.vectors.delete(ids)
            self.stored -= set(ids)

    def groups(self, files: Sequence[Path]) -> Iterator[list[IndexedFile]]:
        """The files, read and cut, in groups of FIRST_GROUP_CHUNKS to GROUP_CHUNKS chunks but for the last."""
        sizes = {path: self.state(path).size for path in files}
        self.meter = _Meter(self.progress, sum(sizes.values()))
        group: list[IndexedFile] = []
        n_chunks, limit = 0, min(FIRST_GROUP_CHUNKS, GROUP_CHUNKS)
        for path in files:
            self.meter.reading += sizes[path]
            file = self.read(path)
            if file is not None:
                group.append(file)
                n_chunks += len(file.chunks)
            if n_chunks >= limit:
                yield group
                group, n_chunks, limit = [], 0, min(2 * limit, GROUP_CHUNKS)
        yield group

    def read(self, path: Path) -> IndexedFile | None:
        """The file as a document in chunks; None where it cannot be read, and then its old passages go."""
        loaded = self.load(path)
        if loaded is None:
            self.forget_failed(path)
            return None
        document, state = loaded
        self.notes += [(document.source, note) for note in document.notes]
        return self.cut(document, state)

    def load(self, path: Path) -> tuple[Document, FileState] | None:
        """The file, and its state before it was read; None, with an entry in `failed`, where it cannot be read."""
        try:
            if not _is_utf8(path.as_posix()):
                raise DocumentError("its name is not UTF-8: rename it")
            state = self.state(path)
            document = load(path, self.ocr)
            if not _is_utf8(document.text):
                raise DocumentError("holds halves of characters (lone surrogates): save it as UTF-8 again")
        except LongthreadError as error:
            self.failed.append((printable(path), str(error).removeprefix(f"{path.as_posix()}: ")))
            return None
        reader = reader_version(path, self.ocr, document.limits, document.format)
        return document, replace(state, sha256=document.sha256, reader=reader)

    def state(self, path: Path) -> FileState:
        """A file's stamps; zeros for one that cannot be looked at: reading it will say why."""
        try:
            return state_of(path, self.ocr)
        except OSError:
            return FileState("", 0, 0, reader=reader_version(path, self.ocr))

    def cut(self, document: Document, state: FileState) -> IndexedFile:
        def progress(done: int, total: int) -> None:
            self.progress("cut a long text (kB)", done // 1000, -(-total // 1000))

        embedder = self.embedder
        chunks = self.chunker.chunk(document, embedder.count_tokens, embedder.max_tokens, progress)
        return IndexedFile(document, state, tuple(chunks))

    def forget_failed(self, path: Path) -> None:
        source = printable(path)
        old = self.manifest.ids([source])
        if old:
            self.forget([source])
            self.notes.append((source, f"its earlier {counted(len(old), 'passage')} left the index"))

    def commit(self, group: Sequence[IndexedFile]) -> None:
        """Stores the vectors of a group, then its rows; then what its files had before can go.

        A text that is stored already has its vector, whichever file it stands in.
        """
        if self.vectors is not None:
            chunks = {id_: chunk for file in group for id_, chunk in zip(file.ids, file.chunks, strict=True)}
            new = {id_: chunk for id_, chunk in chunks.items() if id_ not in self.stored}
            self.embed(self.vectors, list(new.values()), list(new))
            self.stored |= set(new)
        old = self.manifest.ids([file.document.source for file in group])
        if group:
            texts = self.texts(old)
            self.manifest.replace([], group)
            self.lose(old, texts)
            self.done |= {file.document.source for file in group}
        self.meter.commit()

    def embed(self, store: Vectors, chunks: Sequence[Passage], ids: Sequence[str]) -> None:
        for start in range(0, len(chunks), _SLICE_CHUNKS):
            part = slice(start, start + _SLICE_CHUNKS)
            progress = self.meter.of_slice(start, len(chunks))
            vectors = self.embedder.embed([chunk.text for chunk in chunks[part]], progress)
            store.add(ids[part], [chunk.source for chunk in chunks[part]], vectors)


class _Meter:
    """One figure for reading, embedding and storing: kilobytes of files, whose total is known from the start."""

    def __init__(self, progress: Progress, total: int) -> None:
        self.progress = progress
        self.total = total
        self.committed = 0
        self.reading = 0

    def of_slice(self, start: int, n_chunks: int) -> Progress:
        """For embedding some of a group's chunks, from `start` on."""

        def embedded(what: str, done: int, total: int) -> None:
            self.show(self.committed + (self.reading - self.committed) * (start + done) // n_chunks)

        return embedded

    def commit(self) -> None:
        self.committed = self.reading
        self.show(self.committed)

    def show(self, done: int) -> None:
        if self.total:
            self.progress("index files (kB)", -(-done // 1000), -(-self.total // 1000))


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
