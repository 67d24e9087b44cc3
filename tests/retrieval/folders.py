"""What the tests of the index share: documents on the disk, opened indexes, and an index as plain values."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.contracts import Embedder
from pipeline.documents.chunking import Chunker
from pipeline.documents.discover import discover
from pipeline.retrieval.generations import MANIFEST, newest
from pipeline.retrieval.index import DocumentIndex, IndexReport
from pipeline.retrieval.open_index import open_index
from pipeline.storage.checksums import checksum_file

CHUNKER = Chunker(tokens=32)
QUESTIONS = ("where is the harbour", "seven grey herons", "the keeper of the lamp", "salt")


def write(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def silent(what: str, done: int, total: int) -> None:
    pass


def read(index: Path, embedder: Embedder) -> DocumentIndex:
    return open_index(index, embedder, CHUNKER)


def update(index: Path, docs: Path, embedder: Embedder, rebuild: bool = False) -> IndexReport:
    with open_index(index, embedder, CHUNKER, mode="write", rebuild=rebuild) as opened:
        return opened.update(discover([str(docs)]), silent)


def generation(index: Path) -> Path:
    """The folder of the newest generation."""
    path = newest(index)
    assert path is not None
    return path


def flatten(index: Path) -> None:
    """Gives an index the layout of an older longthread: the files of its newest generation in its own folder."""
    path = generation(index)
    checksum_file(path / MANIFEST).unlink()
    for part in path.iterdir():
        part.rename(index / part.name)
    path.rmdir()


def make_old(manifest: Path, format_: int) -> None:
    """Gives a manifest the tables of an older format, and its readers their versions of then."""
    db = sqlite3.connect(manifest)
    lacking = ["author", "date", "language"] + (["ctime_ns", "inode", "labels", "reader"] if format_ == 2 else [])
    for name in lacking:
        db.execute(f"ALTER TABLE files DROP COLUMN {name}")
    if format_ == 3:
        db.execute("UPDATE files SET reader = kind || '/2' WHERE kind IN ('markdown', 'pdf')")
    db.executescript(
        "DROP INDEX chunks_by_id; DROP INDEX chunks_by_place; ALTER TABLE chunks RENAME TO c; "
        "CREATE TABLE chunks (row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, source TEXT NOT NULL, start INTEGER "
        "NOT NULL, stop INTEGER NOT NULL, text TEXT NOT NULL, line INTEGER, page INTEGER, heading TEXT NOT NULL, "
        "paragraph INTEGER, marks TEXT NOT NULL); INSERT INTO chunks SELECT * FROM c GROUP BY id; DROP TABLE c; "
        "CREATE INDEX chunks_by_place ON chunks (source, start, stop)"
    )
    db.execute("UPDATE settings SET value = ? WHERE key = 'format'", (str(format_),))
    db.commit()
    db.close()
    checksum_file(manifest).unlink()  # which older formats do not have


def counts(report: IndexReport) -> tuple[int, int, int, int, int]:
    return report.added, report.changed, report.removed, report.unchanged, len(report.failed)


def contents(index: Path, embedder: Embedder) -> dict[str, Any]:
    """All that an index says, as values that compare: two equal ones cannot be told apart by a search."""
    with read(index, embedder) as opened:
        chunks = [chunk for source in opened.sources for chunk in opened.passages(source)]
        found: dict[str, Any] = {
            "documents": [opened.document(source) for source in opened.sources],
            "chunks": chunks,
            "ids": opened.manifest.ids(),
            "bm25": [opened.search_bm25(question, 10) for question in QUESTIONS],
        }
        if embedder.dimension:
            found["vectors"] = np.asarray(opened.vectors(chunks)).tolist()
            found["stored"] = sorted(opened._vectors.ids())
            found["dense"] = [opened.search_dense(question, 10) for question in QUESTIONS]
        return found
