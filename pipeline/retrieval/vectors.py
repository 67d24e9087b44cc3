"""The vectors of chunks, in Chroma's persistent client: one collection, cosine space, our own vectors.

Chroma sees ids, vectors and the source of each chunk; it never gets a text, and never an embedder of its own.

Chroma logs what is added, and takes the log into its graph on the disk when `sync_threshold` entries are in it. Whoever
opens the folder before that inserts the logged vectors again, up to 3 s for each reader (measured, Chroma 1.5.9). With
fewer than its default of 1000 the graph is written so often that a kill was seen to leave half of it, and Chroma cannot
open that; readers of small indexes have a plain copy (saved_vectors.py) and do not wait.

To open a folder at all Chroma writes a row into its SQLite file, which several processes may do at once; where the file
cannot be written, a copy of it is opened, beside links to the graph.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_COLLECTION = "chunks"
# More neighbours and wider searches than Chroma's defaults (16, 100, 100): recall against the exact search is tested.
_HNSW = {"space": "cosine", "max_neighbors": 32, "ef_construction": 200, "ef_search": 400, "sync_threshold": 1000}
_DATABASE = "chroma.sqlite3"
_MARGIN = 16
"""How many more neighbours are fetched than asked for, so that ties at the edge are broken by us."""
_MOST_IDS = 10_000
"""How many ids Chroma is asked to look among; more are sifted here."""


def _connect(path: Path) -> sqlite3.Connection:
    """Opens a database to read it: for writing where that is allowed, since a killed process leaves a transaction that
    whoever comes next has to roll back.
    """
    can_write = os.access(path.parent, os.W_OK) and os.access(path, os.W_OK)
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={'rw' if can_write else 'ro'}", uri=True)


def _check(path: Path) -> None:
    """Raises sqlite3.DatabaseError for a damaged file: Chroma fails on it and then cannot open its folder again."""
    if path.is_file():
        db = _connect(path)
        try:
            db.execute("SELECT count(*) FROM sqlite_master")
        finally:
            db.close()


def copy_vectors(folder: Path, target: Path) -> None:
    """Copies a folder that others may have open: SQLite itself copies its file, so that no row is copied by half."""
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns(f"{_DATABASE}*"))
    _copy_database(folder, target)


def _copy_database(folder: Path, target: Path) -> None:
    if not (folder / _DATABASE).exists():
        return
    reading = _connect(folder / _DATABASE)
    writing = sqlite3.connect(target / _DATABASE)
    try:
        reading.backup(writing)
    finally:
        reading.close()
        writing.close()


def _writable_copy(folder: Path) -> tempfile.TemporaryDirectory[str]:
    """A temporary folder with a copy of Chroma's database, and links to its graph, which Chroma only reads."""
    copy = tempfile.TemporaryDirectory(prefix="longthread-")
    try:
        _copy_database(folder, Path(copy.name))
        for path in folder.iterdir():
            if path.is_dir():
                (Path(copy.name) / path.name).symlink_to(path.absolute())
    except BaseException:
        copy.cleanup()
        raise
    return copy


def load_library() -> None:
    """Imports Chroma, which takes a second. Whoever has time before the first search may do it then."""
    import chromadb.api.rust  # noqa: F401 - a client imports it when it is made


class Vectors:
    """The open collection of a folder. What Chroma raises goes through; the index says what it means."""

    def __init__(self, folder: Path, create: bool = False) -> None:
        _check(folder / _DATABASE)
        self.folder = folder
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        if not create and not (os.access(folder, os.W_OK) and os.access(folder / _DATABASE, os.W_OK)):
            self._copy = _writable_copy(folder)
            folder = Path(self._copy.name)
        try:
            self._open(folder, create)
        except BaseException:
            self._delete_copy()
            raise

    def _open(self, folder: Path, create: bool) -> None:
        import chromadb
        from chromadb.config import Settings

        self.client = chromadb.PersistentClient(str(folder), Settings(anonymized_telemetry=False, is_persistent=True))
        self.batch = self.client.get_max_batch_size()
        open_ = self.client.get_or_create_collection if create else self.client.get_collection
        options: dict[str, Any] = {"configuration": {"hnsw": _HNSW}} if create else {}
        try:
            self.collection = open_(_COLLECTION, embedding_function=None, **options)
        except BaseException:
            self.client.close()
            raise

    def close(self) -> None:
        self.client.close()
        self._delete_copy()

    def _delete_copy(self) -> None:
        if self._copy is not None:
            self._copy.cleanup()
            self._copy = None

    def count(self) -> int:
        return int(self.collection.count())

    def ids(self) -> set[str]:
        return set(self.collection.get(include=[])["ids"])

    def add(self, ids: Sequence[str], sources: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Durable when it returns: Chroma logs them in its SQLite file before its graph takes them in.

        An id that is there already keeps its vector. Not `upsert`: the first delete after one replays each logged
        upsert, 3 ms apiece (measured, Chroma 1.5.9).
        """
        for start in range(0, len(ids), self.batch):
            part = slice(start, start + self.batch)
            self.collection.add(
                ids=list(ids[part]),
                embeddings=vectors[part],
                metadatas=[{"source": source} for source in sources[part]],
            )

    def delete(self, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), self.batch):
            self.collection.delete(ids=list(ids[start : start + self.batch]))

    def get(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """In the order of the ids, which must be there: shape (n, dimension)."""
        import numpy as np

        stored = self.collection.get(ids=list(ids), include=["embeddings"])
        rows = {id_: row for row, id_ in enumerate(stored["ids"])}
        return np.asarray(stored["embeddings"], np.float32)[[rows[id_] for id_ in ids]]

    def search(
        self, vector: NDArray[np.float32], k: int, allowed: Collection[str] | None = None
    ) -> list[tuple[str, float]]:
        """(id, cosine) of at least the k nearest, best first, and of a few more; of the allowed ids only, if given.

        Cosines are rounded to 6 places, where float32 ends, so that equal texts have equal cosines.
        """
        if allowed is not None and len(allowed) > _MOST_IDS:
            return self._sifted(vector, k, frozenset(allowed))
        ids = None if allowed is None else list(allowed)
        nearest = self.collection.query(
            query_embeddings=vector[None], n_results=k + _MARGIN, ids=ids, include=["distances"]
        )
        return [
            (id_, round(1 - float(d), 6)) for id_, d in zip(nearest["ids"][0], nearest["distances"][0], strict=True)
        ]

    def _sifted(self, vector: NDArray[np.float32], k: int, allowed: frozenset[str]) -> list[tuple[str, float]]:
        """As `search`, for many ids: more and more neighbours, sifted here."""
        n_stored, n_results = self.collection.count(), 0
        while True:
            n_results = min(max(2 * n_results, 4 * (k + _MARGIN)), n_stored)
            nearest = self.collection.query(query_embeddings=vector[None], n_results=n_results, include=["distances"])
            columns = zip(nearest["ids"][0], nearest["distances"][0], strict=True)
            kept = [(id_, round(1 - float(d), 6)) for id_, d in columns if id_ in allowed]
            if len(kept) >= k + _MARGIN or n_results == n_stored:
                return kept
