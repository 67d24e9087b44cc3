"""SQLite databases: transactions, read-only connections, and copies of open databases."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Commits all of it or, on an error, nothing. A nested transaction belongs to the outer one.

    The connection is in autocommit mode (`isolation_level=None`).
    """
    if db.in_transaction:
        yield
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # or the next statements would join it, and never be committed
            db.execute("ROLLBACK")
        raise


@contextmanager
def read_only(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that cannot write. The database may be open elsewhere. Raises sqlite3.Error."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        yield db


def copy_database(source: Path, target: Path) -> None:
    """Copies a database that may be open elsewhere: SQLite copies whole transactions. Raises sqlite3.Error."""
    with closing(sqlite3.connect(source)) as reading, closing(sqlite3.connect(target)) as writing:
        reading.backup(writing)
