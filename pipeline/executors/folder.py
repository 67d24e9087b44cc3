"""A run's folder: `run.json` says what ran, `records.jsonl` has one line for each finished sample.

A line is appended, flushed and on the disk before the sample counts as done. So a process that is killed leaves whole
lines and at most one torn one at the end, which the next run drops. Nothing is ever in there twice.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline.errors import DataError, RunError
from pipeline.storage.checked_json import parse_object, read_object, with_checksum
from pipeline.storage.whole import new_file, write_whole
from pipeline.text.counting import counted

RUN = "run.json"
RECORDS = "records.jsonl"
LOCK = ".longthread.lock"
DAMAGED = "records.damaged.jsonl"
"""Lines that were no records any more, as they were: taken out of records.jsonl so that the run can go on."""
FORMAT = 2
"""1 has no checksums."""
_RUN_AGAIN = "run the same 'longthread run' or 'longthread eval' command again"
_MUST_AGREE = {
    "config_hash": "another pipeline",
    "index_hash": "another index",
    "model": "another model file",
    "input": "another input",
    "seed": "another seed of `sample`",
}


class _DamagedRunError(DataError):
    """A run.json that is missing or damaged, and that the records can replace."""


class _NoRunError(_DamagedRunError):
    """A run.json that may be another program's: it is replaced where our records lie beside it, and only there."""


@dataclass(frozen=True)
class Run:
    """A folder as it was read: `about` is run.json; `records` are in the order of the input, one for each sample."""

    folder: Path
    about: dict[str, Any]
    records: tuple[dict[str, Any], ...]
    torn_bytes: int = 0

    @property
    def ok(self) -> tuple[dict[str, Any], ...]:
        return tuple(record for record in self.records if record["status"] == "ok")

    @property
    def failed(self) -> tuple[dict[str, Any], ...]:
        return tuple(record for record in self.records if record["status"] == "error")


def read_run(folder: Path) -> Run:
    """What a folder holds, whether or not its run has ended. Raises DataError for no run, and for a damaged one."""
    about = read_about(folder)
    records = read_records(folder, needs_checksum=about["format"] > 1)
    if records.damaged:
        raise DataError(records.damaged[0].message(folder))
    return Run(folder, about, tuple(sorted(records.whole, key=lambda record: record["n"])), records.torn_bytes)


def read_about(folder: Path) -> dict[str, Any]:
    """The folder's run.json. Raises DataError where it is missing, damaged, or of a newer longthread."""
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
    """How many records a folder holds, a torn last line not counted; 0 where there is no run."""
    path = folder / RECORDS
    return path.read_bytes().count(b"\n") if path.exists() else 0


@dataclass(frozen=True)
class DamagedLine:
    """A line of records.jsonl that is no record. `number` counts from 1; `line` has no newline."""

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

    whole: list[dict[str, Any]]
    damaged: list[DamagedLine]
    torn_bytes: int


def read_records(folder: Path, needs_checksum: bool) -> Records:
    """Every line of the folder's records, whole or damaged. Raises DataError for a file that cannot be read."""
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
            first = numbers.setdefault(record["key"], number)
            if first != number:
                raise ValueError(f"line {first} has the same key")
        except ValueError as error:
            records.damaged.append(DamagedLine(number, str(error), line))
        else:
            records.whole.append(record)
    return records


def parse_record(line: bytes, needs_checksum: bool) -> dict[str, Any]:
    """A record, without its checksum. Raises ValueError that says what is wrong with the line."""
    record = parse_object(line, needs_checksum)
    missing = {"id", "key", "n", "status", "record"} - set(record)
    if missing:
        raise ValueError(f"is no record: it has no {', '.join(sorted(missing))}")
    if not isinstance(record["id"], str) or not isinstance(record["key"], str) or type(record["n"]) is not int:
        raise ValueError("is no record: 'id', 'key' or 'n' has another type")
    if record["status"] == "ok" and isinstance(record["record"], dict):
        return record
    error = record.get("error")
    if record["status"] == "error" and isinstance(error, dict) and {"type", "message", "stage"} <= set(error):
        return record
    raise ValueError("is no record: 'status' does not agree with 'record' and 'error'")


class RunFolder:
    """A folder that is being run into, by one process at a time."""

    def __init__(
        self,
        folder: Path,
        about: dict[str, Any],
        places: Mapping[str, int],
        on_note: Callable[[str], None],
        update: bool = False,
    ) -> None:
        """Opens a folder for samples of these keys, each with its place in the input.

        Raises RunError, with the way out, for a folder that another process uses, and for one of another run; with
        `update` what still holds of that is kept, and the rest is dropped.
        """
        from filelock import FileLock, Timeout

        self.folder = folder
        self.about = about
        known = [_identity(about.get(name)) for name in ("config_hash", "index_hash", "model", "input")]
        self._fingerprint = hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(folder / LOCK)
            self._lock.acquire(timeout=0)
        except Timeout:
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
        """The status of each sample that is recorded, by its key."""
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
            kept = [{**record, "n": places[record["key"]]} for record in records if record["key"] in places]
            kept = kept if is_same_model else []
            total = counted(len(records), "record")
            on_note(f"{differs}: {len(kept)} of {total} still hold and are kept, the others are dropped")
            records = kept
        if differs or read.damaged or len(records) < len(read.whole) or before.get("format") == 1:
            self._rewrite(records)
        if damage is not None and records:
            on_note(
                f"{self.folder / RUN}: was missing or damaged, and is made again from {counted(len(records), 'record')}"
            )
        first = min((str(record.get("started")) for record in records), default=about["started"])
        self.about = {**about, "started": before.get("started", first)}
        if before or records:
            self.about["resumed"] = about["started"]
        self._write_about()
        return {record["key"]: record["status"] for record in records}

    def _still_hold(self, read: Records, damage: _DamagedRunError, update: bool) -> list[dict[str, Any]]:
        """The records of this run where run.json does not say what ran: each record says it as well.

        Raises RunError for a folder of other files, and where records are of another run.
        """
        records = read.whole
        kept = [record for record in records if record.get("run") == self._fingerprint]
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
        if len(kept) < len(records) and not update:
            raise RunError(
                f"{damage}, and {len(records) - len(kept)} of {len(records)} records are of another pipeline, index, "
                f"model or input: name another `output` folder, or keep the {len(kept)} of this one with `update`"
            )
        return kept

    def _set_aside(self, read: Records, on_note: Callable[[str], None]) -> None:
        """Takes a torn last line and damaged lines out of the records; the damaged ones are kept in another file."""
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

    def _what_differs(self, before: dict[str, Any], now: dict[str, Any]) -> str:
        """The first thing in which a folder's run is another one, in words; nothing if it is the same."""
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
        """Takes the failed samples' records out, so that they can be tried again, and says how many they were."""
        path = self.folder / RECORDS
        records = read_records(self.folder, needs_checksum=True).whole
        kept = [record for record in records if record["status"] == "ok"]
        if len(kept) < len(records):
            os.close(self._file)
            self._rewrite(kept)
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND)
            self.done = {record["key"]: record["status"] for record in kept}
        return len(records) - len(kept)

    def _rewrite(self, records: Sequence[dict[str, Any]]) -> None:
        """The file with these records alone: wholly there, or still the one before."""
        path = self.folder / RECORDS
        try:
            with new_file(path) as part, part.open("wb") as file:
                file.writelines(map(self._line, records))
        except OSError as error:
            raise RunError(_cannot_write(path, error)) from None

    def append(self, record: dict[str, Any]) -> None:
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
        self.done[record["key"]] = record["status"]

    def _line(self, record: Mapping[str, Any]) -> bytes:
        """A record as it stands in the file: with what it is a record of, and a checksum."""
        whole = with_checksum({**record, "run": self._fingerprint})
        try:
            return json.dumps(whole, ensure_ascii=False).encode() + b"\n"
        except UnicodeEncodeError:  # half a character, as a broken document may hold it
            return json.dumps(whole).encode() + b"\n"

    def describe(self, more: dict[str, Any]) -> None:
        """Adds to run.json, or replaces there, what is known only now."""
        self.about = {**self.about, **more}
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

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _identity(value: Any) -> Any:
    """What of a value has to agree: of a file its hash, wherever it lies."""
    return value.get("sha256") if isinstance(value, dict) else value


def _short(value: Any) -> str:
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
    """Whether it is the name of a file that a killed process had not finished."""
    return name.endswith(".part") and name.removeprefix(".").startswith(("run.", f"{RECORDS}."))
