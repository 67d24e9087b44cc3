"""The transcript: every turn of a conversation, in one SQLite file, durable before its answer counts as shown.

It is the truth about a session; whatever else a memory keeps in the folder can be made again from it. A memory may add
tables of its own to the same file, so that one transaction holds both. What is deleted is overwritten with zeros and
the file is written anew: no byte of it stays.

While nobody has it open, a file beside it holds its checksum: a byte that changes then is noticed.
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
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Transcript:
    """The open transcript of a folder, made where there is none.

    Raises StoreError for a file that a newer longthread wrote, for one that is no session, and for a damaged one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with told(folder):
            folder.mkdir(parents=True, exist_ok=True)
            check_unchanged(folder)
            _drop_checksum(folder)
            os.close(os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite's log takes the mode over
            self.db = sqlite3.connect(folder / NAME, isolation_level=None, check_same_thread=False, factory=_Connection)
            self.db.folder = folder
        try:
            with told(folder):
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
        (state,) = self.db.execute("PRAGMA quick_check(1)").fetchone()  # else a damaged page shows only when it is read
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
        found = self.get("format", None)
        if not isinstance(found, int) or found > FORMAT:
            raise StoreError(
                f"{self.folder}: the session was written by a newer longthread (format {found}, this one reads "
                f"{FORMAT}): update longthread, or begin another session"
            )

    @property
    def turns(self) -> tuple[Turn, ...]:
        if self._turns is None:
            with told(self.folder):
                rows = self.db.execute("SELECT number, question, answer, time, finish FROM turns ORDER BY number")
                self._turns = tuple(Turn(*row) for row in rows)
        return self._turns

    @property
    def next_number(self) -> int:
        return int(self.get("next_number", 1))

    def commit(self, turn: Turn) -> None:
        """Durable when it returns. Raises ValueError for a turn that is not the next."""
        before = self.turns
        with told(self.folder), self.transaction():
            if turn.number != self.next_number:
                raise ValueError(f"the next turn is number {self.next_number}, was: {turn.number}")
            self.put(turn)
        self._turns = (*before, turn)

    def put(self, turn: Turn) -> None:
        """Inside a transaction: writes a turn, whose number may leave some out."""
        row = (turn.number, turn.question, turn.answer, turn.time, turn.finish)
        self.db.execute("INSERT INTO turns VALUES (?, ?, ?, ?, ?)", row)
        self.set("next_number", turn.number + 1)
        self._turns = None

    def delete(self, numbers: Sequence[int], next_number: int | None = None) -> None:
        """Inside a transaction: takes turns out. `scrub` afterwards, so that their bytes are gone too."""
        self.db.executemany("DELETE FROM turns WHERE number = ?", [(number,) for number in numbers])
        if next_number is not None:
            self.set("next_number", next_number)
        self._turns = None

    def scrub(self) -> None:
        """Leaves no byte of what was deleted: not in the file, and not in its log."""
        with told(self.folder):
            self._empty_log()
            self.db.execute("VACUUM")
            self._empty_log()

    def _empty_log(self) -> None:
        # A reader in another process holds the log: the pragma then waits, and in the end reports it without an error.
        is_busy, *_ = self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if is_busy:
            raise sqlite3.OperationalError("another process is reading it")

    def get(self, key: str, default: Any = None) -> Any:
        found = self.db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        try:
            return default if found is None else json.loads(found[0])
        except (ValueError, TypeError, RecursionError) as error:
            raise StoreError(_unusable(self.folder, error)) from error

    def set(self, key: str, value: Any) -> None:
        self.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, json.dumps(value)))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or, on an error, nothing. One inside another belongs to the outer one."""
        if self.db.in_transaction:
            yield
            return
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.db.execute("COMMIT")
        except BaseException:
            if self.db.in_transaction:  # else what comes next would be inside this one, and never be committed
                self.db.execute("ROLLBACK")
            self._turns = None
            raise

    def close(self) -> None:
        self.db.close()
        if not has_log(self.folder):  # another process that reads the session keeps the log
            with contextlib.suppress(OSError):
                save_checksum(self.folder / NAME, private=True)


def has_log(folder: Path) -> bool:
    """Whether SQLite's log holds anything: the session is open, or was not closed by the last process that had it."""
    log = folder / f"{NAME}-wal"
    return log.exists() and log.stat().st_size > 0


def check_unchanged(folder: Path) -> None:
    """Raises StoreError where a byte of the file has changed since the session was closed. One that is open passes."""
    path = folder / NAME
    # The file goes before whoever opens the session writes: a checksum that is still there was not overtaken.
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
    """The turns of a session that may be open elsewhere; nothing is changed. Raises StoreError as `Transcript` does."""
    with told(folder):
        check_unchanged(folder)
        db = sqlite3.connect(f"{(folder / NAME).absolute().as_uri()}?mode=ro", uri=True)
        try:
            rows = db.execute("SELECT number, question, answer, time, finish FROM turns ORDER BY number").fetchall()
        finally:
            db.close()
    return tuple(Turn(*row) for row in rows)


@contextmanager
def told(folder: Path) -> Iterator[None]:
    """What goes wrong in a session's files becomes a StoreError with the way out."""
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
    """A connection of a session: what its queries meet in a damaged file is a StoreError, whoever asks."""

    folder: Path

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        with told(self.folder):
            return self.cursor(_Cursor).execute(*arguments)


class _Cursor(sqlite3.Cursor):
    """Rows are read after `execute`, and damaged ones show then."""

    connection: _Connection

    def fetchone(self) -> Any:
        with told(self.connection.folder):
            return super().fetchone()

    def __next__(self) -> Any:
        with told(self.connection.folder):
            return super().__next__()
