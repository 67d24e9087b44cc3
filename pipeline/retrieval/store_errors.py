"""What goes wrong with an index's files, said with the way out."""

from __future__ import annotations

import errno
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import LongthreadError, StoreError
from pipeline.retrieval.manifest import FORMAT, READABLE, Settings


def check_settings(folder: Path, settings: Settings | None, wanted: Settings) -> None:
    """Raises StoreError where an index was made with other settings than are wanted."""
    way_out = f"use the settings that it was made with, or make it anew: longthread index PATH... --index {folder} "
    way_out += "--rebuild"
    if settings is None:
        raise StoreError(f"{folder}: the index was never begun: run longthread index PATH... --index {folder}")
    if settings.format not in READABLE:
        raise StoreError(
            f"{folder}: the index has format {settings.format}, and this longthread reads {FORMAT}: {way_out}"
        )
    if (settings.fingerprint, settings.dimension) != (wanted.fingerprint, wanted.dimension):
        raise StoreError(
            f"{folder}: the index was made with the embedder {_embedder(settings)}, and {_embedder(wanted)} is asked "
            f"for: {way_out}"
        )
    if settings.chunker != wanted.chunker:
        raise StoreError(
            f"{folder}: the index was cut with {_chunker(settings)}, and {_chunker(wanted)} is asked for: {way_out}"
        )


def _embedder(settings: Settings) -> str:
    return f"{settings.embedder} ({settings.fingerprint[:12]}, {settings.dimension} dimensions)"


def _chunker(settings: Settings) -> str:
    """How an index's text is cut, in the words of a pipeline's `index` section."""
    values = json.loads(settings.chunker)
    name = str(values.pop("chunker", ""))
    values.pop("version", None)
    # The chunker of `chunks: tokens` has been stored as "structure" since before there were others.
    mode = {"structure": "tokens", "tree": "structure"}.get(name, name)
    return ", ".join([f"chunks: {mode}", *(f"{key} {value}" for key, value in values.items())])


def rebuild_hint(folder: Path) -> str:
    return f"make it anew: longthread index PATH... --index {folder} --rebuild"


@contextmanager
def translate_errors(folder: Path) -> Iterator[None]:
    """Converts errors of SQLite, Chroma and the file system to StoreError."""
    try:
        yield
    except LongthreadError:
        raise
    except sqlite3.DatabaseError as error:
        if "disk is full" in str(error):
            raise _disk_full(folder) from error
        raise StoreError(f"{folder}: the index's files cannot be used ({error}): {rebuild_hint(folder)}") from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _disk_full(folder) from error
        raise StoreError(f"{folder}: {error.strerror or error}: give a folder that can be written to") from error
    except BaseException as error:
        if not _is_chromas(error):
            raise
        if "disk is full" in str(error):
            raise _disk_full(folder) from error
        raise StoreError(f"{folder}: the index's vectors cannot be used ({error}): {rebuild_hint(folder)}") from error


def _disk_full(folder: Path) -> StoreError:
    return StoreError(f"{folder}: the disk is full: make room and run it again, what is done stays done")


def _is_chromas(error: BaseException) -> bool:
    """Chroma's own errors, and the panics of its Rust part, which are no Exceptions."""
    return type(error).__module__.startswith("chromadb") or type(error).__name__ == "PanicException"
