"""A run's folder: `run.json` describes the run, `records.jsonl` has one line per finished sample.

A line is appended and fsynced before the sample counts as done. A killed process therefore leaves whole lines and at
most one torn line at the end, which the next run drops. No sample has two records.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline.errors import DataError, RunError
from pipeline.records import Record
from pipeline.storage.checked_json import parse_object, read_object, with_checksum
from pipeline.storage.locks import HeldError, acquire
from pipeline.storage.whole import new_file, write_whole
from pipeline.text.counting import counted

RUN = "run.json"
RECORDS = "records.jsonl"
LOCK = ".longthread.lock"
DAMAGED = "records.damaged.jsonl"
"""Damaged lines of records.jsonl, moved here unchanged so that the run can resume."""
FORMAT = 2
"""Version of the folder's format. Version 1 has no checksums."""
_RUN_AGAIN = "run the same 'longthread run' or 'longthread eval' command again"
_MUST_AGREE = {
    "config_hash": "another pipeline",
    "index_hash": "another index",
    "model": "another model file",
    "input": "another input",
    "seed": "another seed of `sample`",
}


class _DamagedRunError(DataError):
    """A run.json that is missing or damaged; the records can replace it."""


class _NoRunError(_DamagedRunError):
    """A run.json that may be another program's; it is replaced only if our records lie beside it."""


@dataclass(frozen=True)
class Run:
    """The contents of a run's folder: `about` is run.json; `records` are in input order, one per sample."""

    folder: Path
    about: dict[str, Any]
    records: tuple[Record, ...]
    torn_bytes: int = 0

    @property
    def ok(self) -> tuple[Record, ...]:
        return tuple(record for record in self.records if record.status == "ok")

    @property
    def failed(self) -> tuple[Record, ...]:
        return tuple(record for record in self.records if record.status == "error")


def read_run(folder: Path) -> Run:
    """Reads a run's folder, finished or not. Raises DataError if there is no run, or if it is damaged."""
    about = read_about(folder)
    records = read_records(folder, needs_checksum=about["format"] > 1)
    if records.damaged:
        raise DataError(records.damaged[0].message(folder))
    return Run(folder, about, tuple(sorted(records.whole, key=lambda record: record.n)), records.torn_bytes)


def read_about(folder: Path) -> dict[str, Any]:
    """Reads the folder's run.json. Raises DataError if it is missing, damaged, or of a newer longthread."""
    path = folder / RUN
    try:
        about = read_object(path)
    except FileNotFoundError:
        raise _DamagedRunError(f"{folder}: there is no run in this folder ({RUN} is missing)") from None
    except (OSError, ValueError) as error:
        raise _DamagedRunError(f"{path}: cannot be read: {error}: {_RUN_AGAIN}") from None
    version = about.get("format")
    if type(version) is int and version > FORMAT:
        raise DataError(f"{path}: is of a newer longthread (format {version}, this one reads {FORMAT}): update it")
    if type(version) is not int or version < 1:
        raise _NoRunError(f"{path}: is no run of longthread")
    if not isinstance(about.get("started"), str):
        raise _DamagedRunError(f"{path}: is damaged ('started' is missing): {_RUN_AGAIN}")
    return about


def n_records(folder: Path) -> int:
    """Counts the records in a folder, without a torn last line; 0 if there is no run."""
    path = folder / RECORDS
    return path.read_bytes().count(b"\n") if path.exists() else 0


@dataclass(frozen=True)
class DamagedLine:
    """A damaged line of records.jsonl. `number` counts from 1; `line` has no newline."""

    number: int
    why: str
    line: bytes

    def message(self, folder: Path) -> str:
        return (
            f"{folder / RECORDS}:{self.number}: the line is damaged ({self.why}): {_RUN_AGAIN}: it answers this "
            "question again"
        )


@dataclass(frozen=True)
class Records:
    """The lines of a records.jsonl, in the order of the file."""

    whole: list[Record]
    damaged: list[DamagedLine]
    torn_bytes: int


def read_records(folder: Path, needs_checksum: bool) -> Records:
    """Reads every line of the folder's records, whole or damaged. Raises DataError for an unreadable file."""
    path = folder / RECORDS
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        data = b""
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    lines, newline, torn = data.rpartition(b"\n")
    records = Records([], [], len(torn))
    numbers: dict[str, int] = {}
    for number, line in enumerate(lines.split(b"\n") if newline else [], 1):
        try:
            record = parse_record(line, needs_checksum)
            first = numbers.setdefault(record.key, number)
            if first != number:
                raise ValueError(f"line {first} has the same key")
        except ValueError as error:
            records.damaged.append(DamagedLine(number, str(error), line))
        else:
            records.whole.append(record)
    return records


def parse_record(line: bytes, needs_checksum: bool) -> Record:
    """Parses the record of a line. Raises ValueError with what is wrong with the line."""
    return Record.from_dict(parse_object(line, needs_checksum))


class RunFolder:
    """The output folder of a run in progress, locked for one process."""

    def __init__(
        self,
        folder: Path,
        about: dict[str, Any],
        places: Mapping[str, int],
        on_note: Callable[[str], None],
        update: bool = False,
    ) -> None:
        """Opens a folder for samples of these keys, each with its place in the input.

        Raises RunError, with a remedy, for a folder in use by another process, and for one of another run. With
        `update` the valid records of another run stay, and the rest is dropped.
        """
        self.folder = folder
        self.about = about
        known = [_identity(about.get(name)) for name in ("config_hash", "index_hash", "model", "input")]
        self._fingerprint = hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = acquire(folder / LOCK)
        except HeldError:
            raise RunError(f"{folder}: another process is running into this folder: wait, or name another") from None
        except OSError as error:
            raise RunError(
                f"{folder}: cannot be used ({error.strerror or error}): name another `output` folder"
            ) from None
        try:
            self.done = self._begin(about, places, on_note, update)
            self._file = os.open(folder / RECORDS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        except BaseException as error:
            self._lock.release()
            if isinstance(error, OSError):
                raise RunError(_cannot_write(Path(error.filename or folder), error)) from None
            raise

    def _begin(
        self, about: dict[str, Any], places: Mapping[str, int], on_note: Callable[[str], None], update: bool
    ) -> dict[str, str]:
        """Prepares the folder; returns the status of each recorded sample, by key."""
        damage: _DamagedRunError | None = None
        before: dict[str, Any] = {}
        try:
            before = read_about(self.folder)
        except _DamagedRunError as error:
            damage = error
        read = read_records(self.folder, needs_checksum=before.get("format") != 1)
        records = read.whole
        if damage is not None:
            records = self._still_hold(read, damage, update)
        differs = "" if damage is not None else self._what_differs(before, about)
        if differs and not update:
            raise RunError(f"{differs}: name another `output` folder, or bring this one up to date with `update`")
        self._set_aside(read, on_note)
        for path in self.folder.iterdir():
            if _is_left_over(path.name):
                path.unlink()
        if differs:
            is_same_model = _identity(before.get("model")) == _identity(about.get("model"))
            valid = [replace(record, n=places[record.key]) for record in records if record.key in places]
            valid = valid if is_same_model else []
            total = counted(len(records), "record")
            on_note(f"{differs}: {len(valid)} of {total} still hold and are kept, the others are dropped")
            records = valid
        if differs or read.damaged or len(records) < len(read.whole) or before.get("format") == 1:
            self._rewrite(records)
        if damage is not None and records:
            total = counted(len(records), "record")
            on_note(f"{self.folder / RUN}: was missing or damaged, and is made again from {total}")
        first = min((record.started for record in records if record.started), default=about["started"])
        self.about = {**about, "started": before.get("started", first)}
        if before or records:
            self.about["resumed"] = about["started"]
        self._write_about()
        return {record.key: record.status for record in records}

    def _still_hold(self, read: Records, damage: _DamagedRunError, update: bool) -> list[Record]:
        """Returns this run's records if run.json is lost: each record names its run as well.

        Raises RunError for a folder of other files, and for records of another run.
        """
        records = read.whole
        own_records = [record for record in records if record.run == self._fingerprint]
        strange = sorted(path.name for path in self.folder.iterdir() if not _is_ours(path.name))
        if read.damaged or read.torn_bytes:
            strange.append(RECORDS)
        if isinstance(damage, _NoRunError):
            strange.append(RUN)
        if strange and not records:
            raise RunError(
                f"{self.folder}: holds no run, but other files ({', '.join(strange)[:80]}): name a folder that is "
                "new or empty"
            )
        if len(own_records) < len(records) and not update:
            raise RunError(
                f"{damage}, and {len(records) - len(own_records)} of {len(records)} records are of another pipeline, "
                f"index, model or input: name another `output` folder, or keep the {len(own_records)} of this one with "
                "`update`"
            )
        return own_records

    def _set_aside(self, read: Records, on_note: Callable[[str], None]) -> None:
        """Removes a torn last line and damaged lines from the records; moves the damaged ones to another file."""
        path = self.folder / RECORDS
        if read.torn_bytes:
            os.truncate(path, path.stat().st_size - read.torn_bytes)
            on_note(
                f"{path}: the last line was torn ({read.torn_bytes} bytes, as a crash leaves it): it was dropped, "
                "and its sample is answered again"
            )
        if not read.damaged:
            return
        aside = self.folder / DAMAGED
        try:
            with aside.open("ab") as file:
                file.write(b"".join(damaged.line + b"\n" for damaged in read.damaged))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise RunError(_cannot_write(aside, error)) from None
        first = read.damaged[0]
        on_note(
            f"{path}:{first.number}: the line is damaged ({first.why})"
            + (f", and {len(read.damaged) - 1} more" if len(read.damaged) > 1 else "")
            + f": moved to {aside.name}; the samples that have no record are answered again"
        )

    def _what_differs(self, before: Mapping[str, object], now: Mapping[str, object]) -> str:
        """Describes the first difference between the folder's run and this one; empty if they agree."""
        for name, other in _MUST_AGREE.items():
            was, is_now = _identity(before.get(name)), _identity(now.get(name))
            if name == "seed" and None in (was, is_now):  # all samples hold any choice of them
                continue
            if was != is_now:
                return (
                    f"{self.folder}: holds a run of {other} ({_short(before.get(name))}; now: {_short(now.get(name))})"
                )
        return ""

    def forget_errors(self) -> int:
        """Removes the records of failed samples, so that these are retried; returns their number."""
        path = self.folder / RECORDS
        records = read_records(self.folder, needs_checksum=True).whole
        successes = [record for record in records if record.status == "ok"]
        if len(successes) < len(records):
            os.close(self._file)
            self._rewrite(successes)
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND)
            self.done = {record.key: record.status for record in successes}
        return len(records) - len(successes)

    def _rewrite(self, records: Sequence[Record]) -> None:
        """The file with these records alone: wholly there, or still the one before."""
        path = self.folder / RECORDS
        try:
            with new_file(path) as part, part.open("wb") as file:
                file.writelines(map(self._line, records))
        except OSError as error:
            raise RunError(_cannot_write(path, error)) from None

    def append(self, record: Record) -> None:
        """Writes one record to the disk. Raises RunError where that fails; what was written before stays whole."""
        size = os.fstat(self._file).st_size
        line = self._line(record)
        try:
            written = 0
            while written < len(line):
                written += os.write(self._file, line[written:])
            os.fsync(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, size)
            raise RunError(_cannot_write(self.folder / RECORDS, error)) from None
        self.done[record.key] = record.status

    def _line(self, record: Record) -> bytes:
        """Encodes a record as a line of the file, with the fingerprint of the run and a checksum."""
        whole = with_checksum(replace(record, run=self._fingerprint).to_dict())
        try:
            return json.dumps(whole, ensure_ascii=False).encode() + b"\n"
        except UnicodeEncodeError:  # half a character, as a broken document may hold it
            return json.dumps(whole).encode() + b"\n"

    def describe(self, entries: Mapping[str, object]) -> None:
        """Adds or replaces entries of run.json that become known during the run."""
        self.about = {**self.about, **entries}
        self._write_about()

    def _write_about(self) -> None:
        path = self.folder / RUN
        try:
            write_whole(path, json.dumps(with_checksum({**self.about, "format": FORMAT}), indent=1))
        except OSError as error:
            raise RunError(_cannot_write(path, error)) from None

    def close(self) -> None:
        os.close(self._file)
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _identity(value: object) -> object:
    """Returns the part of a value that has to agree: the hash of a file, wherever it lies."""
    return value.get("sha256") if isinstance(value, dict) else value


def _short(value: object) -> str:
    if isinstance(value, dict):
        return f"{value.get('path') or value.get('name')}, sha256 {str(value.get('sha256'))[:12]}"
    return str(value)


def _cannot_write(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"{path}: the disk is full: the records so far are whole; make room and run the same command again"
    return f"{path}: cannot be written ({error.strerror or error}): the records so far are whole"


def _is_ours(name: str) -> bool:
    """Whether a run makes a file of this name."""
    return _is_left_over(name) or name in (RUN, RECORDS, DAMAGED, LOCK)


def _is_left_over(name: str) -> bool:
    """Whether the name is that of a file that a killed process left unfinished."""
    return name.endswith(".part") and name.removeprefix(".").startswith(("run.", f"{RECORDS}."))
