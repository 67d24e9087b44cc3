"""What an update would have to do, found by looking only: any number of processes may look at the same index.

A file is the same when its size, its times of change and of the inode's change (mtime, ctime), and its inode are: a
program can set mtime back, but not ctime. Where the stamps cannot tell, the bytes are compared: on file systems that
keep whole seconds, and for files that changed within moments of being read.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.contracts import Progress
from pipeline.documents.archives import container_of, is_member, read_member
from pipeline.documents.formats import reader_version, would_read_the_same
from pipeline.documents.left_out import BY_IGNORE_FILE, LEFT_OUT
from pipeline.errors import DocumentError
from pipeline.retrieval.manifest import FileState, Manifest
from pipeline.storage.hashes import sha256_of

if TYPE_CHECKING:
    from pipeline.documents.discover import Discovery

PART_OF_INDEX = "part of the index"
"""Why an index passes over its own files. They are no documents, and so not listed among what was not read."""
MAX_HASHED = 32 << 20
"""Bytes compared in one look from which on the new stamps are worth an update of their own."""
_SECOND_NS = 1_000_000_000
_TICK_NS = 100_000_000
"""Two changes of a file within a tick of the system's clock have the same stamps. A tick is 1 to 10 ms on Linux."""
_MAX_INODE = (1 << 63) - 1  # SQLite's integers are signed


@dataclass(frozen=True)
class Plan:
    """The difference between an index and the files that were discovered.

    `todo` are the files to read: new, changed, or with vectors missing (`torn`). `failed` could not be read before, nor
    now. `touched` have the same bytes and new stamps. `n_compared` files are the same by their bytes; `n_bytes` were
    read for that.
    """

    n_files: int
    todo: tuple[Path, ...]
    gone: tuple[str, ...]
    failed: tuple[tuple[str, str], ...] = ()
    touched: Mapping[str, FileState] = field(default_factory=dict)
    torn: frozenset[str] = frozenset()
    n_compared: int = 0
    n_bytes: int = 0
    has_new_unread: bool = False
    is_torn: bool = False

    @property
    def changes_answers(self) -> bool:
        """Whether a search would find other passages after the update."""
        return bool(self.todo or self.gone or self.is_torn)

    @property
    def is_worth_writing(self) -> bool:
        return self.changes_answers or self.has_new_unread or self.n_bytes > MAX_HASHED

    @property
    def n_unchanged(self) -> int:
        return self.n_files - len(self.todo) - len(self.failed)


@dataclass
class Look:
    """Compares an index with files. `read_error` gives the reason why a file cannot be read, or None.

    `ocr` says whether text in pictures is recognised.
    """

    manifest: Manifest
    progress: Progress
    read_error: Callable[[Path], str | None]
    ocr: bool = True
    n_compared: int = 0
    n_bytes: int = 0
    touched: dict[str, FileState] = field(default_factory=dict)

    def plan(self, discovery: Discovery, torn: frozenset[str] | None = None, extra: Iterable[str] = ()) -> Plan:
        """`torn` are the sources whose vectors are missing; None where vectors and rows agree.

        `extra` are sources that are in the index and in no published generation.
        """
        known = self.manifest.states()
        before = self.manifest.unread()
        gone = self._gone(known, discovery, frozenset(extra))
        missing = frozenset() if torn is None else torn
        files = list(dict.fromkeys([*discovery.files, *(Path(source) for source in sorted(missing - set(gone)))]))
        reasons = dict(before)
        todo: list[Path] = []
        failed: list[tuple[str, str]] = []
        for n, path in enumerate(files, 1):
            source = printable(path)
            state = known.get(source)
            if state is None and source in reasons and self.read_error(path) == reasons[source]:
                failed.append((source, reasons[source]))
            elif state is None or source in missing or not self._is_same(path, state):
                todo.append(path)
            self.progress("check files", n, len(files))
        sources = (set(known) - set(gone)) | {printable(path) for path in files}
        unread = unread_of(before, sources, discovery, failed)
        return Plan(
            n_files=len(files),
            todo=tuple(todo),
            gone=tuple(gone),
            failed=tuple(failed),
            touched=self.touched,
            torn=missing,
            n_compared=self.n_compared,
            n_bytes=self.n_bytes,
            has_new_unread=unread != before,
            is_torn=torn is not None,
        )

    def _is_same(self, path: Path, known: FileState) -> bool:
        if not would_read_the_same(known.reader, path, self.ocr):
            return False
        try:
            now = state_of(path, self.ocr)
            if now.ctime_ns and _stamps(now) == _stamps(known):
                return True
            if now.size != known.size:
                return False
            self.n_bytes += now.size
            if _sha256(path) != known.sha256:
                return False
        except (OSError, DocumentError):
            return False  # reading it will say why
        self.n_compared += 1
        if _stamps(now) != _stamps(known):
            self.touched[path.as_posix()] = now
        return True

    def _gone(self, known: Iterable[str], discovery: Discovery, extra: frozenset[str]) -> list[str]:
        """The sources that are no more, those that are passed over now, and those of `extra` that nobody asks for."""
        files = {path.as_posix() for path in discovery.files}
        skipped = {path for path, _ in discovery.skipped}
        ignored = tuple(f"{path}/" for path, why in discovery.skipped if why.startswith(BY_IGNORE_FILE))
        return [
            s
            for s in known
            if s not in files and (s in skipped or s in extra or s.startswith(ignored) or is_gone(Path(s)))
        ]


def unread_of(
    before: Sequence[tuple[str, str]],
    sources: set[str],
    discovery: Discovery,
    failed: Sequence[tuple[str, str]],
) -> list[tuple[str, str]]:
    """What is not read, and why, sorted: of these files, and of other paths as earlier updates found it.

    `sources` are those in the index, and those that were discovered.
    """
    is_needed = any(why.startswith(LEFT_OUT) for _, why in before)
    entered = {parent.as_posix() for path in discovery.files for parent in path.parents} if is_needed else set()
    earlier = [
        (s, why)
        for s, why in before
        if s not in sources and not is_gone(Path(s)) and not (why.startswith(LEFT_OUT) and s in entered)
    ]
    skipped = [(source, why) for source, why in discovery.skipped if why != PART_OF_INDEX]
    return sorted(dict([*earlier, *skipped, *failed]).items())


def state_of(path: Path, ocr: bool = True) -> FileState:
    """A file's stamps, its bytes unread; of a member of an archive, the archive's. Raises OSError where it cannot be
    looked at.
    """
    now_ns = time.time_ns()
    status = _file_of(path).stat()
    ctime_ns = status.st_ctime_ns
    is_coarse = not ctime_ns % _SECOND_NS
    is_recent = abs(now_ns - ctime_ns) < _TICK_NS
    return FileState(
        "",
        status.st_size,
        status.st_mtime_ns,
        0 if is_coarse or is_recent else ctime_ns,
        status.st_ino & _MAX_INODE,
        reader_version(path, ocr),
    )


def _file_of(path: Path) -> Path:
    """The file itself, or the archive on the disk that it is inside of."""
    try:
        path.stat()
    except NotADirectoryError:
        return container_of(path) or path
    return path


def is_gone(path: Path) -> bool:
    """False for a file that may be there, in a folder that may not be entered."""
    try:
        path.stat()
    except FileNotFoundError:
        return True
    except NotADirectoryError:
        return not is_member(path)
    except (OSError, ValueError):
        return False
    return False


def printable(path: Path) -> str:
    """The path as an index stores it; where it is not UTF-8, with question marks."""
    return path.as_posix().encode("utf-8", "replace").decode()


def _stamps(state: FileState) -> tuple[int, int, int, int]:
    return state.size, state.mtime_ns, state.ctime_ns, state.inode


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except NotADirectoryError:
        return hashlib.sha256(read_member(path)).hexdigest()
