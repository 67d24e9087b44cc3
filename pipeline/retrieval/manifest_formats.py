"""What tells the formats of a manifest apart, and how an older one becomes one of today.

Format 2 has none of the columns below. 3: places as programs show them (`labels`), stamps and readers.
4: author, date, language; several chunks may share an id, which is that of their text.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

ADDED = {
    "ctime_ns": "INTEGER NOT NULL DEFAULT 0",
    "inode": "INTEGER NOT NULL DEFAULT 0",
    "labels": "TEXT NOT NULL DEFAULT '[]'",
    "reader": "TEXT NOT NULL DEFAULT ''",
    "author": "TEXT NOT NULL DEFAULT ''",
    "date": "TEXT NOT NULL DEFAULT ''",
    "language": "TEXT NOT NULL DEFAULT ''",
}
"""Columns of `files` that came after format 2."""


def columns(db: sqlite3.Connection, *names: str) -> str:
    """Columns of `files` for a query: what an older format lacks has its default."""
    present = _present(db)
    return ", ".join(name if name in present else ADDED[name].rpartition("DEFAULT ")[2] for name in names)


def add_columns(db: sqlite3.Connection) -> None:
    for name in sorted(ADDED.keys() - _present(db)):
        db.execute(f"ALTER TABLE files ADD COLUMN {name} {ADDED[name]}")


def note_languages(db: sqlite3.Connection, languages: Mapping[str, str]) -> None:
    """Of the documents that were read before languages were noted, by source."""
    db.executemany("UPDATE files SET language = ? WHERE source = ?", [(code, s) for s, code in languages.items()])


def allow_copies(db: sqlite3.Connection, schema: Iterable[str]) -> None:
    """Makes the table of chunks anew, without the rule that every id stands once."""
    for name in ("chunks_by_place", "chunks_by_id"):
        db.execute(f"DROP INDEX IF EXISTS {name}")
    db.execute("ALTER TABLE chunks RENAME TO chunks_before")
    for statement in schema:
        if "chunks" in statement:
            db.execute(statement)
    db.execute("INSERT INTO chunks SELECT * FROM chunks_before")
    db.execute("DROP TABLE chunks_before")


def _present(db: sqlite3.Connection) -> set[str]:
    return {str(row[1]) for row in db.execute("PRAGMA table_info(files)")}
