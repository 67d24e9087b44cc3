"""The index behind `--docs`: cached by paths and settings, and updated before each use."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config import IndexSettings
from pipeline.contracts import Embedder, Progress
from pipeline.documents.left_out import LEFT_OUT
from pipeline.errors import StoreError
from pipeline.pipeline import chunker, open_embedder
from pipeline.retrieval.generations import FIRST, MANIFEST, copy_generation, hold_newest, holding, missing
from pipeline.retrieval.manifest import FORMAT, READABLE, Manifest
from pipeline.storage.cache import cache_folder, make_private
from pipeline.storage.folders import delete_folder
from pipeline.types import Document

if TYPE_CHECKING:
    from pipeline.documents.discover import Discovery
    from pipeline.retrieval.update import Chunks, IndexReport


@dataclass(frozen=True, slots=True)
class Unread:
    """The content that an index lacks.

    `files` holds (path, reason) of each file that was skipped or unreadable. `notes` holds (path, note) of each
    omission from a file that was read. Both are sorted by path.
    """

    files: tuple[tuple[str, str], ...] = ()
    notes: tuple[tuple[str, str], ...] = ()

    @property
    def n_unread(self) -> int:
        """Number of files that were not read, except those left out on purpose (left_out.py)."""
        return len(self.files) - self.n_left_out

    @property
    def n_left_out(self) -> int:
        return sum(why.startswith(LEFT_OUT) for _, why in self.files)


def docs_folder(paths: Sequence[str], settings: IndexSettings) -> Path:
    """Returns the cache folder of the index of these paths with these settings."""
    key = json.dumps([sorted(os.path.realpath(path) for path in paths), settings.to_dict()])
    return cache_folder() / "indexes" / hashlib.sha256(key.encode()).hexdigest()[:16]


def update_index(
    folder: Path,
    paths: Sequence[str],
    settings: IndexSettings,
    progress: Progress,
    rebuild: bool = False,
    given: Sequence[Document] = (),
) -> IndexReport:
    """Updates the index in a folder with the files under the paths, and adds the given documents.

    Any number of processes may call this at once. If nothing has changed, none writes; otherwise one writes while the
    others wait and check again. A read-only index is left unchanged if no answer would change; otherwise this raises
    StoreError.

    A cached index is rebuilt if an older longthread made it and this one cannot read it, or if its manifest is damaged;
    a note of the report says so. An index that the user named may hold files of other paths, so it raises StoreError
    with the command instead. If no passage was read, the cache keeps no index.
    """
    from pipeline.documents.discover import Discovery, discover
    from pipeline.retrieval.lock import wait_for_writer
    from pipeline.retrieval.open_index import open_index
    from pipeline.retrieval.store_errors import translate_errors

    is_cached = folder.parent == cache_folder() / "indexes"
    if is_cached:
        make_private(folder.parent)
    discovery = Discovery(()) if given and not paths else discover(paths, settings.ocr != "off", progress)
    embedder, cutter = open_embedder(settings), chunker(settings)
    while True:
        unusable = _why_unusable(folder) if is_cached else ""
        if not (rebuild or unusable or given):
            report = _report_if_current(folder, embedder, cutter, discovery, progress)
            if report is not None:
                return report
        with translate_errors(folder):
            had_to_wait = wait_for_writer(folder, progress)
        if not had_to_wait:
            break
    with open_index(folder, embedder, cutter, "write", rebuild or bool(unusable), progress) as index:
        report = index.update(discovery, progress, given)
        if not report.n_chunks and is_cached:
            with translate_errors(folder):  # while others wait for the lock
                delete_folder(folder)
    if unusable:
        note = (folder.as_posix(), f"{unusable}: it was made again")
        report = replace(report, notes=(note, *report.notes))
    return report


def _report_if_current(
    folder: Path, embedder: Embedder, cutter: Chunks, discovery: Discovery, progress: Progress
) -> IndexReport | None:
    """Returns the report of an index that is current, without writing; None if it needs an update or is missing.

    Raises StoreError for an index that needs an update and cannot be written.
    """
    from pipeline.retrieval.open_index import open_index
    from pipeline.retrieval.update import IndexReport

    try:
        index = open_index(folder, embedder, cutter)
    except StoreError:
        return None  # opening it for writing creates it, or raises the error
    with index:
        plan = index.plan(discovery, progress)
        can_write = os.access(folder, os.W_OK)
        if plan.changes_answers and not can_write:
            n = len(plan.todo) + len(plan.gone)
            first = (plan.todo[0].as_posix() if plan.todo else plan.gone[0]) if n else "its vectors are damaged"
            raise StoreError(
                f"{folder}: {n} files are new, changed or gone ({first}, ...), and the index cannot be written: "
                f"search it as it is (`index`: {folder}), or copy it to a folder that can be written to"
            )
        if can_write and (plan.is_worth_writing or not index.has_saved_words):
            return None
        return IndexReport.of_nothing_new(plan, discovery, index.n_chunks)


def unread(folder: Path) -> Unread:
    """Reads what the index lacks, as its last updates recorded it. Loads neither vectors nor embedder.

    Raises StoreError for a folder without an index, and for an index of another format.
    """
    from pipeline.retrieval.store_errors import translate_errors

    with translate_errors(folder), holding(folder) as path:
        manifest = Manifest(path / MANIFEST)
        try:
            settings = manifest.settings()
            if settings is None:
                raise missing(folder)
            if settings.format not in READABLE:
                raise StoreError(
                    f"{folder}: the index has format {settings.format}, and this longthread reads {FORMAT}: make it "
                    f"again with longthread index PATH... --index {folder} --rebuild"
                )
            return Unread(tuple(manifest.unread()), tuple(manifest.notes()))
        finally:
            manifest.close()


def indexed_sources(folder: Path) -> list[str]:
    """Lists the documents of an index that have passages, sorted. Raises StoreError if there is no index."""
    from pipeline.retrieval.store_errors import translate_errors

    with translate_errors(folder), holding(folder) as path:
        manifest = Manifest(path / MANIFEST)
        try:
            return [source for source, n in manifest.counts().items() if n]
        finally:
            manifest.close()


def copy_index(source: Path, target: Path) -> None:
    """Copies an index's newest generation to another folder, atomically; does nothing if the target exists."""
    from pipeline.retrieval.store_errors import translate_errors

    with translate_errors(source):
        held = hold_newest(source)
    if held is None or target.exists():
        return
    part = target.with_name(f"{target.name}.copy-{os.getpid()}")
    try:
        copy_generation(held.path, part / FIRST)
        part.rename(target)
    except OSError:
        if not target.exists():  # else another process was faster
            raise
    finally:
        held.release()
        shutil.rmtree(part, ignore_errors=True)


def _why_unusable(folder: Path) -> str:
    """Returns why the index has to be rebuilt; empty if it need not be, or if there is none."""
    try:
        held = hold_newest(folder)
        if held is None:
            return ""
        try:
            manifest = Manifest(held.path / MANIFEST)
            try:
                settings = manifest.settings()
            finally:
                manifest.close()
        finally:
            held.release()
    except sqlite3.OperationalError:
        return ""  # opening the index reports this
    except sqlite3.DatabaseError as error:
        return f"the index was damaged ({error})"
    return "" if settings is None or settings.format in READABLE else "an older longthread made the index"
