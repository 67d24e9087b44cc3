"""Keeps an index current: watches the documents, updates the index, and reports the changes.

for news in watch(folder, ["docs"], settings, stop): ...

watchfiles watches folders (by inotify and the like, or by polling if the system's limit of watches is reached). Named
files are polled once a second, because an editor that replaces a file removes its watch.
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
_DEBOUNCE_MS = 400  # changes within this time make one update
_MAX_NAMED = 3


@dataclass(frozen=True, slots=True)
class News:
    """The result of one index update by file paths, or the reason why it failed.

    `renamed` holds (old, new) paths: one file disappeared and another with the same bytes appeared. `failed` holds
    (path, reason) of unreadable files.
    """

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    problem: str = ""

    def __bool__(self) -> bool:
        return any((self.added, self.changed, self.removed, self.renamed, self.failed, self.problem))

    def describe(self, shorten: Callable[[str], str]) -> str:
        """Formats the news as a line: `documents changed: added a.md; renamed b.md to c.md`. `shorten` is for paths."""
        if self.problem:
            return f"the documents' index was not updated: {self.problem}"
        parts = [
            f"{verb} {_named([shorten(path) for path in paths])}"
            for verb, paths in (("added", self.added), ("changed", self.changed), ("removed", self.removed))
            if paths
        ]
        if self.renamed:
            parts.append(f"renamed {_named([f'{shorten(old)} to {shorten(new)}' for old, new in self.renamed])}")
        if self.failed:
            parts.append(f"not read {_named([f'{shorten(path)} ({why})' for path, why in self.failed])}")
        return f"documents changed: {'; '.join(parts)}"


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> News:
    """Compares two states of an index, each the SHA-256 by source."""
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
    """Updates the index once, and again after each change, until `stop` is set; yields the news of each update.

    The first update always yields, the others only if there is news. An error is yielded once, as a problem, and the
    watch continues.
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
    """Runs updates, and remembers what it reported last."""

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
    """Returns the SHA-256 of each file in an index's newest generation, by source; empty without an index."""
    if not folder.is_dir():
        return {}
    with translate_errors(folder), holding(folder) as path:
        manifest = Manifest(path / MANIFEST)
        try:
            return {source: state.sha256 for source, state in manifest.states().items()}
        finally:
            manifest.close()


class _Named:
    """The files that the user named, and their stamps."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.files = [Path(path) for path in paths if not os.path.isdir(path) and not glob.has_magic(path)]
        self.stamps = self._look()

    def have_changed(self) -> bool:
        before, self.stamps = self.stamps, self._look()
        return before != self.stamps

    def _look(self) -> list[tuple[int, ...] | None]:
        stamps: list[tuple[int, ...] | None] = []
        for file in self.files:
            try:
                status = file.stat()
                stamps.append((status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
            except OSError:
                stamps.append(None)
        return stamps


def _roots(paths: Sequence[str]) -> dict[str, int]:
    """Returns the existing folders to watch, with their inodes: named folders, and the fixed parts of patterns."""
    from pipeline.documents.discover import fixed_part

    inodes: dict[str, int] = {}
    for path in paths:
        place = Path(path)
        if not place.exists() and glob.has_magic(path):
            place = fixed_part(place)
        if place.is_dir():
            inodes[str(place)] = place.stat().st_ino
    return inodes


def _changes(roots: Mapping[str, int], stop: Event) -> Iterator[set[tuple[Change, str]]]:
    """Yields the changes below the folders; an empty set after each second without changes."""
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
    """Whether a change may concern the documents; the index itself and hidden files do not."""
    return not path.is_relative_to(folder.absolute()) and (path.name == IGNORE_FILE or not path.name.startswith("."))


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(names[:_MAX_NAMED]) + more
