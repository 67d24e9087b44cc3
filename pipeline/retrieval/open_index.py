"""Opens an index: to read its newest state, or to write the next one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pipeline.contracts import Embedder, Progress
from pipeline.errors import StoreError
from pipeline.listener import silent
from pipeline.retrieval.generations import (
    MANIFEST,
    UNFINISHED,
    Held,
    begin,
    check_is_ours,
    discard,
    hold_newest,
    missing,
)
from pipeline.retrieval.index import DocumentIndex, tidy
from pipeline.retrieval.lock import WriteLock, lock_for_writing
from pipeline.retrieval.manifest import Manifest, Settings
from pipeline.retrieval.store_errors import check_settings, translate_errors
from pipeline.retrieval.update import Chunks


def open_index(
    folder: str | Path,
    embedder: Embedder,
    chunker: Chunks,
    mode: Literal["read", "write"] = "read",
    rebuild: bool = False,
    progress: Progress = silent,
) -> DocumentIndex:
    """The index in a folder. To write makes a new one where there is none; `rebuild` begins with an empty one.

    Any number of processes may read, while one writes; a second writer waits for the first, and `progress` says so.
    Raises StoreError, with the way out, for an index that is missing, empty, unfinished, damaged, of another format,
    embedder or chunker, and for a folder that is something else.
    """
    if mode == "read":
        return _open_to_read(Path(folder), embedder, chunker)
    return _open_to_write(Path(folder), embedder, chunker, rebuild, progress)


def _wanted(embedder: Embedder, chunker: Chunks, path: Path | None = None) -> Settings:
    """The settings of an index of this embedder and chunker, which may go on with how a generation was cut."""
    if path is not None:
        chunker = _as_cut(chunker, path)
    return Settings(
        embedder=embedder.name,
        fingerprint=embedder.fingerprint,
        dimension=embedder.dimension,
        chunker=json.dumps(chunker.settings, sort_keys=True),
    )


def _as_cut(chunker: Chunks, path: Path) -> Chunks:
    """The chunker for the generation in a folder: see Chunker.for_index."""
    settings = _settings_of(path)
    try:
        stored = json.loads(settings.chunker) if settings is not None else None
    except ValueError:
        return chunker  # a damaged manifest: check_settings says so
    return chunker.for_index(stored) if isinstance(stored, dict) else chunker


def _open_to_read(folder: Path, embedder: Embedder, chunker: Chunks) -> DocumentIndex:
    with translate_errors(folder):
        held = hold_newest(folder)
        if held is None:
            raise missing(folder)
        index = _opened(folder, embedder, chunker, held)
    try:
        with translate_errors(folder):
            check_settings(folder, index.manifest.settings(), _wanted(embedder, index.chunker))
            if not index.manifest.is_finished:
                raise missing(folder, is_unfinished=True)
            if not index.n_chunks:
                raise StoreError(f"{folder}: the index is empty: add documents with longthread index PATH...")
    except BaseException:
        index.close()
        raise
    return index


def _open_to_write(
    folder: Path, embedder: Embedder, chunker: Chunks, rebuild: bool, progress: Progress
) -> DocumentIndex:
    with translate_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        check_is_ours(folder)
        lock = lock_for_writing(folder, progress)
        try:
            held = _next_of(folder, embedder, chunker, rebuild)
            return _opened(folder, embedder, chunker, held, lock)
        except BaseException:
            lock.release()
            raise


def _next_of(folder: Path, embedder: Embedder, chunker: Chunks, rebuild: bool) -> Held:
    """What a writer begins from: what an interrupted one left, else the newest generation, else an empty one."""
    unfinished = folder / UNFINISHED
    if not rebuild and _settings_of(unfinished) == _wanted(embedder, chunker, unfinished):
        tidy(unfinished)
        return Held(unfinished)
    held = None if rebuild else hold_newest(folder)
    if held is not None:
        try:
            settings = _settings_of(held.path)
            if settings is not None:
                check_settings(folder, settings, _wanted(embedder, chunker, held.path))
                discard(folder)
                return held
        except BaseException:
            held.release()
            raise
        held.release()
    held = begin(folder)
    manifest = Manifest(held.path / MANIFEST, may_write=True)
    try:
        manifest.begin_anew(_wanted(embedder, chunker))
    finally:
        manifest.close()
    return held


def _settings_of(path: Path) -> Settings | None:
    """What the generation in a folder was made with; None where there is none. Raises sqlite3.DatabaseError."""
    if not (path / MANIFEST).is_file():
        return None
    manifest = Manifest(path / MANIFEST)
    try:
        return manifest.settings()
    finally:
        manifest.close()


def _opened(
    folder: Path, embedder: Embedder, chunker: Chunks, held: Held, lock: WriteLock | None = None
) -> DocumentIndex:
    try:
        return DocumentIndex(folder, embedder, _as_cut(chunker, held.path), held, lock)
    except BaseException:
        held.release()
        raise
