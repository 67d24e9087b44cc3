"""The index behind `--docs`: made in the cache for these paths and settings, and brought up to date before each use."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.build import chunker, open_embedder
from pipeline.cache import cache_folder, make_private
from pipeline.config import IndexSettings
from pipeline.contracts import Progress
from pipeline.errors import StoreError
from pipeline.retrieval.manifest import FORMAT, NAME, Manifest
from pipeline.types import Document

if TYPE_CHECKING:
    from pipeline.retrieval.index import IndexReport


@dataclass(frozen=True, slots=True)
class Unread:
    """What an index lacks of the files that it was made from.

    `files` holds (path, reason) of each file that was passed over or could not be read, `notes` holds (path, note) of
    each thing that was left out of a file that was read. Both are sorted by path.
    """

    files: tuple[tuple[str, str], ...] = ()
    notes: tuple[tuple[str, str], ...] = ()


def docs_folder(paths: Sequence[str], settings: IndexSettings) -> Path:
    """The cache folder of the index of these paths, cut and embedded in this way."""
    key = json.dumps([sorted(str(Path(path).resolve()) for path in paths), settings.to_dict()])
    return cache_folder() / "indexes" / hashlib.sha256(key.encode()).hexdigest()[:16]


def update_index(
    folder: Path,
    paths: Sequence[str],
    settings: IndexSettings,
    progress: Progress,
    rebuild: bool = False,
    given: Sequence[Document] = (),
) -> IndexReport:
    """Brings the index in a folder up to date with the files under the paths, and adds the given documents.

    An index in the cache that an older longthread made is made again, and a note of the report says so. One that the
    user named is not, since it may hold files of other paths: it raises StoreError with the command.
    """
    from pipeline.documents.discover import Discovery, discover
    from pipeline.retrieval.index import open_index

    if folder.parent == cache_folder() / "indexes":
        make_private(folder.parent)
    discovery = Discovery(()) if given and not paths else discover(paths)
    is_old = not rebuild and folder.parent == cache_folder() / "indexes" and _format(folder) not in (None, FORMAT)
    with open_index(folder, open_embedder(settings), chunker(settings), "write", rebuild or is_old) as index:
        report = index.update(discovery, progress, given)
    if is_old:
        note = (folder.as_posix(), "the index of an older longthread was made again")
        report = replace(report, notes=(note, *report.notes))
    return report


def unread(folder: Path) -> Unread:
    """What the index in a folder lacks, as its last updates found it, without opening its vectors or its embedder.

    Raises StoreError for a folder without an index, and for an index of another format.
    """
    found = _format(folder)
    if found is None:
        raise StoreError(f"{folder}: there is no index here: make one with longthread index PATH... --index {folder}")
    if found != FORMAT:
        raise StoreError(
            f"{folder}: the index has format {found}, and this longthread reads {FORMAT}: make it again with "
            f"longthread index PATH... --index {folder} --rebuild"
        )
    manifest = Manifest(folder / NAME)
    try:
        return Unread(tuple(manifest.unread()), tuple(manifest.notes()))
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{folder}: the index's files cannot be used ({error})") from error
    finally:
        manifest.close()


def _format(folder: Path) -> int | None:
    """The format of the index in a folder; None where there is no index, or one that was never begun."""
    if not (folder / NAME).is_file():
        return None
    try:
        manifest = Manifest(folder / NAME)
        try:
            settings = manifest.settings()
        finally:
            manifest.close()
    except sqlite3.DatabaseError:
        return None  # open_index says what is wrong with it
    return None if settings is None else settings.format
