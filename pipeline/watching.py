"""Keeps an index current while documents change: watches them, updates the index, and says what changed.

for news in watch(folder, ["docs"], settings, stop): ...

Folders are watched by watchfiles (inotify and the like, or polling where a system's limit of watches is reached). Named
files are looked at once a second: an editor that replaces a file takes its watch away.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from pipeline.config import IndexSettings
from pipeline.contracts import Progress
from pipeline.docs_index import update_index
from pipeline.documents.left_out import IGNORE_FILE
from pipeline.errors import LongthreadError
from pipeline.retrieval.generations import MANIFEST, holding
from pipeline.retrieval.manifest import Manifest
from pipeline.retrieval.store_errors import translate_errors

if TYPE_CHECKING:
    from watchfiles import Change

_LOOK_MS = 1000
_DEBOUNCE_MS = 400  # changes within this time are taken in at once
_MAX_NAMED = 3


@dataclass(frozen=True, slots=True)
class News:
    """What one update of an index did, by the paths of files, or why it failed.

    `renamed` holds (old, new) paths: a file that went while another with the same bytes came. `failed` holds (path,
    reason) of files that cannot be read now.
    """

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    problem: str = ""

    def __bool__(self) -> bool:
        return any((self.added, self.changed, self.removed, self.renamed, self.failed, self.problem))

    def said(self, shown: Callable[[str], str]) -> str:
        """In one line: `documents changed: added a.md; renamed b.md to c.md`. `shown` makes a path shorter."""
        if self.problem:
            return f"the documents' index was not updated: {self.problem}"
        parts = [
            f"{verb} {_named([shown(path) for path in paths])}"
            for verb, paths in (("added", self.added), ("changed", self.changed), ("removed", self.removed))
            if paths
        ]
        if self.renamed:
            parts.append(f"renamed {_named([f'{shown(old)} to {shown(new)}' for old, new in self.renamed])}")
        if self.failed:
            parts.append(f"not read {_named([f'{shown(path)} ({why})' for path, why in self.failed])}")
        return f"documents changed: {'; '.join(parts)}"


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> News:
    """What changed between two states of an index: SHA-256 by source."""
    gone = {source: before[source] for source in sorted(before.keys() - after.keys())}
    came = {source: after[source] for source in sorted(after.keys() - before.keys())}
    renamed: list[tuple[str, str]] = []
    for old, sha256 in gone.items():
        new = next((source for source, other in came.items() if other == sha256), None)
        if new is not None:
            renamed.append((old, new))
            del came[new]
    moved = {old for old, _ in renamed}
    return News(
        added=tuple(came),
        changed=tuple(source for source in sorted(before.keys() & after.keys()) if before[source] != after[source]),
        removed=tuple(source for source in gone if source not in moved),
        renamed=tuple(renamed),
    )


def watch(
    folder: Path, paths: Sequence[str], settings: IndexSettings, stop: Event, progress: Progress
) -> Iterator[News]:
    """Updates the index once, and again after each change, until `stop` is set; yields what each update did.

    The first is yielded in any case, the others only where there is something to tell. What goes wrong is yielded as a
    problem, once, and the watch goes on.
    """
    updates = _Updates(folder, paths, settings, progress)
    yield updates.run()
    named = _Named(paths)
    while not stop.is_set():
        roots = _roots(paths)
        is_new = True  # something may have changed before the watch began
        for changes in _changes(roots, stop):
            has_other_roots = _roots(paths) != roots  # a folder went, or came back
            is_new = is_new or any(_matters(Path(path), folder) for _, path in changes)
            if (named.have_changed() or is_new or has_other_roots) and (news := updates.run()):
                yield news
            is_new = False
            if has_other_roots:
                break


class _Updates:
    """Runs updates, and remembers what was said last."""

    def __init__(self, folder: Path, paths: Sequence[str], settings: IndexSettings, progress: Progress) -> None:
        self.folder, self.paths, self.settings, self.progress = folder, paths, settings, progress
        self.known = hashes(folder)
        self.failed: tuple[tuple[str, str], ...] | None = None
        self.problem = ""

    def run(self) -> News:
        try:
            report = update_index(self.folder, self.paths, self.settings, self.progress)
        except LongthreadError as error:
            before, self.problem = self.problem, str(error)
            return News(problem=self.problem if self.problem != before else "")
        self.problem = ""
        known, self.known = self.known, hashes(self.folder)
        failed, self.failed = self.failed, report.failed
        new = () if failed is None else tuple(failure for failure in report.failed if failure not in failed)
        return replace(differences(known, self.known), failed=new)


def hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file of an index's newest state, by source; none where there is no index."""
    if not folder.is_dir():
        return {}
    with translate_errors(folder), holding(folder) as path:
        manifest = Manifest(path / MANIFEST)
        try:
            return {source: state.sha256 for source, state in manifest.states().items()}
        finally:
            manifest.close()


class _Named:
    """The files that are named themselves, and their stamps."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.files = [Path(path) for path in paths if not os.path.isdir(path) and not glob.has_magic(path)]
        self.stamps = self._look()

    def have_changed(self) -> bool:
        before, self.stamps = self.stamps, self._look()
        return before != self.stamps

    def _look(self) -> list[tuple[int, ...] | None]:
        found: list[tuple[int, ...] | None] = []
        for file in self.files:
            try:
                status = file.stat()
                found.append((status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
            except OSError:
                found.append(None)
        return found


def _roots(paths: Sequence[str]) -> dict[str, int]:
    """The folders to watch that are there, with their inodes: those that are named, and the fixed parts of patterns."""
    from pipeline.documents.discover import fixed_part

    found: dict[str, int] = {}
    for path in paths:
        place = Path(path)
        if not place.exists() and glob.has_magic(path):
            place = fixed_part(place)
        if place.is_dir():
            found[str(place)] = place.stat().st_ino
    return found


def _changes(roots: Mapping[str, int], stop: Event) -> Iterator[set[tuple[Change, str]]]:
    """The changes below some folders; an empty set each second without any."""
    from watchfiles import watch as watch_files

    if not roots:
        while not stop.wait(_LOOK_MS / 1000):
            yield set()
        return
    options = {"debounce": _DEBOUNCE_MS, "rust_timeout": _LOOK_MS, "yield_on_timeout": True, "watch_filter": None}
    try:
        yield from watch_files(*roots, stop_event=stop, raise_interrupt=True, **options)  # type: ignore[arg-type]
    except FileNotFoundError:
        return
    except OSError:  # the system has no watches left
        yield from watch_files(*roots, stop_event=stop, raise_interrupt=True, force_polling=True, **options)  # type: ignore[arg-type]


def _matters(path: Path, folder: Path) -> bool:
    """Whether a change at a path may change the documents: not for the index itself, nor for what is hidden."""
    return not path.is_relative_to(folder.absolute()) and (path.name == IGNORE_FILE or not path.name.startswith("."))


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(names[:_MAX_NAMED]) + more
