"""Transactions are whole, also nested ones, and a copy of an open database has what was committed."""

import sqlite3
from pathlib import Path

import pytest

from pipeline.storage.sqlite import copy_database, read_only, transaction


@pytest.fixture
def db(tmp_path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(tmp_path / "a.sqlite", isolation_level=None)
    connection.execute("CREATE TABLE t (n INTEGER)")
    return connection


def numbers(db: sqlite3.Connection) -> list[int]:
    return [n for (n,) in db.execute("SELECT n FROM t ORDER BY n")]


def fail_inside(db: sqlite3.Connection) -> None:
    with transaction(db):
        db.execute("INSERT INTO t VALUES (2)")
        with transaction(db):
            db.execute("INSERT INTO t VALUES (3)")
        raise KeyError


def test_an_error_undoes_all_of_it(db: sqlite3.Connection) -> None:
    with transaction(db):
        db.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(KeyError):
        fail_inside(db)
    assert (numbers(db), db.in_transaction) == ([1], False)
    db.close()


def test_a_reader_cannot_write_and_a_copy_has_what_is_committed(db: sqlite3.Connection, tmp_path: Path) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("INSERT INTO t VALUES (1)")
    db.execute("BEGIN")
    db.execute("INSERT INTO t VALUES (2)")
    copy_database(tmp_path / "a.sqlite", tmp_path / "b.sqlite")
    with read_only(tmp_path / "b.sqlite") as copy:
        assert numbers(copy) == [1]
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            copy.execute("INSERT INTO t VALUES (3)")
    db.close()
