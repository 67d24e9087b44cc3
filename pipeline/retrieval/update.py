"""Brings an index to the files on the disk: reads what is new or changed, forgets what is gone.

Files are taken in groups of some hundred chunks. Of each group the vectors are stored first, and then its rows, in one
transaction: from there on its files are done, whatever happens to the process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pipeline.contracts import Embedder, Progress
from pipeline.documents.archives import container_of, is_member
from pipeline.documents.formats import reader_version
from pipeline.documents.load import load
from pipeline.errors import DocumentError, LongthreadError
from pipeline.retrieval.manifest import FileState, IndexedFile, Manifest
from pipeline.types import Document, Passage

if TYPE_CHECKING:
    from pipeline.documents.discover import Discovery
    from pipeline.retrieval.vectors import Vectors

GROUP_CHUNKS = 1024
"""A group is closed when it holds so many chunks: enough to sort them by length, little enough to lose by a kill."""
PART_OF_INDEX = "part of the index"
"""Why an index passes over its own files. They are no documents, and so not listed among what was not read."""
_SLICE_CHUNKS = 2048  # how many chunks of one giant file are embedded at once


class Chunks(Protocol):
    """What an index asks of a chunker."""

    @property
    def settings(self) -> dict[str, str | int]: ...
    def chunk(
        self, document: Document, count: Callable[[Sequence[str]], list[int]], max_tokens: int
    ) -> list[Passage]: ...


@dataclass(frozen=True)
class IndexReport:
    """What an update did. The counts are of files; each file of `failed` and of `skipped` comes with the reason.

    `notes` say what a loader left out, and what else is worth knowing, by file. `n_chunks` is of the whole index.
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


@dataclass
class Updater:
    """One update of an open index. `vectors` is None for an embedder without vectors."""

    manifest: Manifest
    vectors: Vectors | None
    embedder: Embedder
    chunker: Chunks
    progress: Progress
    done: set[str] = field(default_factory=set)
    failed: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)

    def run(self, discovery: Discovery, given: Sequence[Document] = ()) -> IndexReport:
        before = self.manifest.states()
        torn = self.heal()
        gone = self.gone(before, discovery)
        files = list(dict.fromkeys([*discovery.files, *(Path(source) for source in sorted(torn - set(gone)))]))
        todo = self.changed(files, {source: state for source, state in before.items() if source not in torn})
        if todo or gone or given:
            self.manifest.is_finished = False
        self.forget(gone)
        for group in self.groups(todo):
            self.commit(group)
        if given:
            self.commit([self.cut(document, FileState(document.sha256, 0, 0)) for document in given])
        self.keep_unread(discovery)
        return IndexReport(
            added=len(self.done - set(before)),
            changed=len(self.done & set(before)),
            removed=len(gone),
            unchanged=len(files) - len(todo),
            failed=tuple(self.failed),
            skipped=discovery.skipped,
            notes=tuple(self.notes),
            n_chunks=self.manifest.n_chunks,
            seconds=0.0,
        )

    def keep_unread(self, discovery: Discovery) -> None:
        """Stores what was not read, and why, beside what earlier updates from other paths did not read."""
        known = set(self.manifest.sources()) | {path.as_posix() for path in discovery.files}
        earlier = [(s, why) for s, why in self.manifest.unread() if s not in known and not _is_gone(Path(s))]
        skipped = [(source, why) for source, why in discovery.skipped if why != PART_OF_INDEX]
        self.manifest.set_unread([*earlier, *skipped, *self.failed])

    def heal(self) -> set[str]:
        """Deletes vectors that no row owns, as a killed run leaves them; the sources whose vectors are missing."""
        if self.vectors is None:
            return set()
        stored, owned = self.vectors.ids(), set(self.manifest.ids())
        self.drop(sorted(stored - owned))
        torn = set(self.manifest.sources_of(owned - stored))
        self.notes += [(source, "some of its vectors were missing: read again") for source in sorted(torn)]
        return torn

    def changed(self, files: Sequence[Path], known: dict[str, FileState]) -> list[Path]:
        """The files whose bytes differ from what the index knows. Same size and time: same bytes."""
        todo: list[Path] = []
        for n, path in enumerate(files, 1):
            state = known.get(path.as_posix())
            if state is None or not self.is_same(path, state):
                todo.append(path)
            self.progress("check files", n, len(files))
        return todo

    def is_same(self, path: Path, known: FileState) -> bool:
        if known.reader != reader_version(path):
            return False
        try:
            now = _state(path)
            if (now.size, now.mtime_ns) == (known.size, known.mtime_ns):
                return True
            if now.size != known.size or _sha256(path) != known.sha256:
                return False
        except OSError:
            return False  # reading it will say why
        self.manifest.touch(path.as_posix(), now)
        return True

    def gone(self, known: Iterable[str], discovery: Discovery) -> list[str]:
        """The sources that are no more, and those that are passed over now."""
        files = {path.as_posix() for path in discovery.files}
        skipped = {path for path, _ in discovery.skipped}
        return [s for s in known if s not in files and (s in skipped or _is_gone(Path(s)))]

    def forget(self, sources: Sequence[str]) -> None:
        if sources:
            ids = self.manifest.ids(sources)
            self.manifest.replace(sources, [])
            self.drop(ids)

    def drop(self, ids: Sequence[str]) -> None:
        if self.vectors is not None and ids:
            self.vectors.delete(ids)

    def groups(self, files: Sequence[Path]) -> Iterator[list[IndexedFile]]:
        """The files, read and cut, in groups of at least GROUP_CHUNKS chunks but for the last."""
        sizes = {path: _state(path).size for path in files}
        self.meter = _Meter(self.progress, sum(sizes.values()))
        group: list[IndexedFile] = []
        n_chunks = 0
        for path in files:
            self.meter.reading += sizes[path]
            file = self.read(path)
            if file is not None:
                group.append(file)
                n_chunks += len(file.chunks)
            if n_chunks >= GROUP_CHUNKS:
                yield group
                group, n_chunks = [], 0
        yield group

    def read(self, path: Path) -> IndexedFile | None:
        """The file as a document in chunks; None where it cannot be read, and then its old passages go."""
        if not _is_utf8(path.as_posix()):
            self.failed.append(
                (path.as_posix().encode("utf-8", "replace").decode(), "its name is not UTF-8: rename it")
            )
            return None
        try:
            state = _state(path)
            document = load(path)
            if not _is_utf8(document.text):
                raise DocumentError(f"{path}: holds halves of characters (lone surrogates): save it as UTF-8 again")
            file = self.cut(document, replace(state, sha256=document.sha256))
        except LongthreadError as error:
            self.fail(path, str(error))
            return None
        self.notes += [(document.source, note) for note in document.notes]
        return file

    def cut(self, document: Document, state: FileState) -> IndexedFile:
        chunks = self.chunker.chunk(document, self.embedder.count_tokens, self.embedder.max_tokens)
        return IndexedFile(document, state, tuple(chunks))

    def fail(self, path: Path, why: str) -> None:
        source = path.as_posix()
        self.failed.append((source, why.removeprefix(f"{source}: ")))
        old = self.manifest.ids([source])
        if old:
            self.forget([source])
            self.notes.append((source, f"its {len(old)} passages of before are no longer in the index"))

    def commit(self, group: Sequence[IndexedFile]) -> None:
        """Stores the vectors of a group, then its rows; then what its files had before can go."""
        if self.vectors is not None:
            chunks = [chunk for file in group for chunk in file.chunks]
            self.embed(self.vectors, chunks, [id_ for file in group for id_ in file.ids])
        old = self.manifest.ids([file.document.source for file in group])
        if group:
            self.manifest.replace([], group)
            self.drop(sorted(set(old) - {id_ for file in group for id_ in file.ids}))
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


def _state(path: Path) -> FileState:
    """Size and time of a file, its bytes unread; zeros for one that cannot be looked at: reading it will say why."""
    reader = reader_version(path)
    try:
        status = _file_of(path).stat()
    except OSError:
        return FileState("", 0, 0, reader)
    return FileState("", status.st_size, status.st_mtime_ns, reader)


def _file_of(path: Path) -> Path:
    """The file itself, or the one on the disk that it is inside of."""
    try:
        path.stat()
    except NotADirectoryError:
        return container_of(path) or path
    except OSError:
        pass
    return path


def _is_gone(path: Path) -> bool:
    """False for a file that may be there, in a folder that may not be entered."""
    try:
        path.stat()
    except FileNotFoundError:
        return True
    except NotADirectoryError:
        return not is_member(path)
    except OSError:
        return False
    return False


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
