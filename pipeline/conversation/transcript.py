"""The transcript: every turn of a conversation, in one SQLite file, durable before its answer counts as shown.

Everything else that a memory keeps in the folder can be made again from it. A memory may add tables to the same file,
so that one transaction covers both. Deleted data is overwritten with zeros, and the file is rewritten: no byte stays.

While nobody has it open, a file beside it holds its checksum, which reveals changed bytes.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.errors import LongthreadError, StoreError
from pipeline.storage import sqlite
from pipeline.storage.checksums import agrees, checksum_file, save_checksum
from pipeline.storage.whole import flush
from pipeline.types import Turn

NAME = "session.sqlite"
FORMAT = 1
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE turns (
    number INTEGER PRIMARY KEY, question TEXT NOT NULL, answer TEXT NOT NULL, time TEXT NOT NULL, finish TEXT NOT NULL
);
"""


def now() -> str:
    """The current time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Transcript:
    """The open transcript of a folder, created if missing.

    Raises StoreError for a file of a newer longthread, a file that is no session, and a damaged file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with session_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            check_unchanged(folder)
            _drop_checksum(folder)
            os.close(os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite's log takes the mode over
            self.db = sqlite3.connect(folder / NAME, isolation_level=None, check_same_thread=False, factory=_Connection)
            self.db.folder = folder
        try:
            with session_errors(folder):
                self._open()
        except BaseException:
            self.db.close()
            raise
        self._turns: tuple[Turn, ...] | None = None

    def _open(self) -> None:
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = FULL")
        self.db.execute("PRAGMA secure_delete = ON")
        self.db.execute("PRAGMA temp_store = MEMORY")
        (state,) = self.db.execute("PRAGMA quick_check(1)").fetchone()  # a damaged page would show only when it is read
        if state != "ok":
            raise sqlite3.DatabaseError(state)
        tables = {name for (name,) in self.db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables:
            with self.transaction():
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    self.db.execute(statement)
                self.set("format", FORMAT)
                self.set("begun", now())
                self.set("next_number", 1)
        elif "meta" not in tables:
            raise StoreError(f"{self.folder}: {NAME} is not a session of longthread's: name another session")
        version = self.get("format", None)
        if not isinstance(version, int) or version > FORMAT:
            raise StoreError(
                f"{self.folder}: the session was written by a newer longthread (format {version}, this one reads "
                f"{FORMAT}): update longthread, or begin another session"
            )

    @property
    def turns(self) -> tuple[Turn, ...]:
        if self._turns is None:
            with session_errors(self.folder):
                rows = self.db.execute("SELECT number, question, answer, time, finish FROM turns ORDER BY number")
                self._turns = tuple(Turn(*row) for row in rows)
        return self._turns

    @property
    def next_number(self) -> int:
        return int(self.get("next_number", 1))

    def commit(self, turn: Turn) -> None:
        """Writes the next turn, durably. Raises ValueError for another number."""
        before = self.turns
        with session_errors(self.folder), self.transaction():
            if turn.number != self.next_number:
                raise ValueError(f"the next turn is number {self.next_number}, was: {turn.number}")
            self.put(turn)
        self._turns = (*before, turn)

    def put(self, turn: Turn) -> None:
        """Inside a transaction: writes a turn. Its number may skip some."""
        row = (turn.number, turn.question, turn.answer, turn.time, turn.finish)
        self.db.execute("INSERT INTO turns VALUES (?, ?, ?, ?, ?)", row)
        self.set("next_number", turn.number + 1)
        self._turns = None

    def delete(self, numbers: Sequence[int], next_number: int | None = None) -> None:
        """Inside a transaction: deletes turns. Call `scrub` afterwards, which removes their bytes."""
        self.db.executemany("DELETE FROM turns WHERE number = ?", [(number,) for number in numbers])
        if next_number is not None:
            self.set("next_number", next_number)
        self._turns = None

    def scrub(self) -> None:
        """Removes every byte of deleted data from the file and its log."""
        with session_errors(self.folder):
            self._empty_log()
            self.db.execute("VACUUM")
            self._empty_log()

    def _empty_log(self) -> None:
        # A reader in another process holds the log: the pragma then waits, and in the end reports it without an error.
        is_busy, *_ = self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if is_busy:
            raise sqlite3.OperationalError("another process is reading it")

    def get(self, key: str, default: Any = None) -> Any:
        row = self.db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        try:
            return default if row is None else json.loads(row[0])
        except (ValueError, TypeError, RecursionError) as error:
            raise StoreError(_unusable(self.folder, error)) from error

    def set(self, key: str, value: object) -> None:
        self.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, json.dumps(value)))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commits all of it or, on an error, nothing. A nested transaction belongs to the outer one."""
        try:
            with sqlite.transaction(self.db):
                yield
        except BaseException:
            self._turns = None
            raise

    def close(self) -> None:
        self.db.close()
        if not has_log(self.folder):  # another process that reads the session keeps the log
            with contextlib.suppress(OSError):
                save_checksum(self.folder / NAME, private=True)


def has_log(folder: Path) -> bool:
    """Whether SQLite's log is not empty: the session is open, or its last process did not close it."""
    log = folder / f"{NAME}-wal"
    return log.exists() and log.stat().st_size > 0


def check_unchanged(folder: Path) -> None:
    """Raises StoreError if a byte of the file changed since the session was closed. An open session passes."""
    path = folder / NAME
    # Opening a session deletes the checksum before anything is written: an existing checksum is up to date.
    if not has_log(folder) and path.exists() and not agrees(path) and checksum_file(path).exists():
        raise StoreError(
            f"{path} was changed since the session was closed (its checksum does not agree): restore it, or delete "
            f"{checksum_file(path).name} beside it, and it is used as it is"
        )


def _drop_checksum(folder: Path) -> None:
    path = checksum_file(folder / NAME)
    if path.exists():
        path.unlink()
        with contextlib.suppress(OSError):  # folders cannot be flushed everywhere
            flush(folder)


def read_turns(folder: Path) -> tuple[Turn, ...]:
    """The turns of a session that may be open elsewhere. Changes nothing. Raises StoreError like `Transcript`."""
    with session_errors(folder):
        check_unchanged(folder)
        with sqlite.read_only(folder / NAME) as db:
            rows = db.execute("SELECT number, question, answer, time, finish FROM turns ORDER BY number").fetchall()
    return tuple(Turn(*row) for row in rows)


def read_begun(folder: Path) -> str:
    """The time at which a session was begun, as `now` gives it. The session may be open, also in this process."""
    with session_errors(folder), sqlite.read_only(folder / NAME) as db:
        (begun,) = db.execute("SELECT value FROM meta WHERE key = 'begun'").fetchone()
        return str(json.loads(begun))


@contextmanager
def session_errors(folder: Path) -> Iterator[None]:
    """Converts errors of a session's files to StoreError."""
    try:
        yield
    except LongthreadError:
        raise
    except sqlite3.DatabaseError as error:
        if "disk is full" in str(error):
            raise StoreError(f"{folder}: the disk is full: make room; what was shown as done is kept") from error
        raise StoreError(_unusable(folder, error)) from error
    except OSError as error:
        raise StoreError(f"{folder}: {error.strerror or error}: give a folder that can be written to") from error


def _unusable(folder: Path, error: Exception) -> str:
    return f"{folder}: the session's file cannot be used ({error}): restore it, or begin another session"


class _Connection(sqlite3.Connection):
    """A connection of a session. Its queries raise StoreError for a damaged file."""

    folder: Path

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        with session_errors(self.folder):
            return self.cursor(_Cursor).execute(*arguments)


class _Cursor(sqlite3.Cursor):
    """Converts errors too, because rows are read after `execute`."""

    connection: _Connection

    def fetchone(self) -> Any:
        with session_errors(self.connection.folder):
            return super().fetchone()

    def __next__(self) -> Any:
        with session_errors(self.connection.folder):
            return super().__next__()
