"""A run's folder: `run.json` says what ran, `records.jsonl` has one line for each finished sample.

A line is appended, flushed and on the disk before the sample counts as done. So a process that is killed leaves whole
lines and at most one torn one at the end, which the next run drops. Nothing is ever in there twice.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline.errors import DataError, RunError
from pipeline.storage.whole import new_file, write_whole

RUN = "run.json"
RECORDS = "records.jsonl"
LOCK = ".longthread.lock"
FORMAT = 1
_MUST_AGREE = {
    "config_hash": "another pipeline",
    "index_hash": "another index",
    "model": "another model file",
    "input": "another input",
    "seed": "another seed of --sample",
}


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
    try:
        about = json.loads((folder / RUN).read_text("utf-8"))
    except FileNotFoundError:
        raise DataError(f"{folder}: there is no run in this folder ({RUN} is missing)") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / RUN}: cannot be read: {error}") from None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise DataError(f"{folder / RUN}: is no run of this longthread (format {FORMAT})")
    records, n_torn = _records(folder / RECORDS)
    return Run(folder, about, tuple(sorted(records, key=lambda record: record["n"])), n_torn)


def n_records(folder: Path) -> int:
    """How many records a folder holds, a torn last line not counted; 0 where there is no run."""
    path = folder / RECORDS
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _records(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The records, and the bytes of a torn last line. Raises DataError for a line that is damaged."""
    data = path.read_bytes() if path.exists() else b""
    whole, newline, torn = data.rpartition(b"\n")
    found = []
    for number, line in enumerate(whole.split(b"\n") if newline else [], 1):
        try:
            record = json.loads(line)
            if not {"id", "key", "n", "status", "record"} <= set(record):
                raise ValueError("it is no record")
        except (ValueError, TypeError) as error:
            raise DataError(
                f"{path}:{number}: the line is damaged ({error}): delete it, and 'longthread run' answers it again"
            ) from None
        found.append(record)
    return found, len(torn)


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
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(folder / LOCK)
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RunError(f"{folder}: another process is running into this folder: wait, or name another") from None
        except OSError as error:
            raise RunError(f"{folder}: cannot be used ({error.strerror or error}): name another --output") from None
        try:
            self.done = self._begin(about, places, on_note, update)
        except BaseException:
            self._lock.release()
            raise
        self._file = os.open(folder / RECORDS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)

    def _begin(
        self, about: dict[str, Any], places: Mapping[str, int], on_note: Callable[[str], None], update: bool
    ) -> dict[str, str]:
        """The status of each sample that is recorded, by its key."""
        if not (self.folder / RUN).exists():
            strange = sorted(path.name for path in self.folder.iterdir() if path.name not in (LOCK, RUN))
            if strange:
                raise RunError(
                    f"{self.folder}: holds no run, but other files ({', '.join(strange)[:80]}): name a folder that is "
                    "new or empty"
                )
            self._write_about()
            return {}
        before = read_run(self.folder)
        differs = self._what_differs(before.about, about)
        if differs and not update:
            raise RunError(f"{differs}: name another --output, or bring this one up to date with --update")
        if before.torn_bytes:
            path = self.folder / RECORDS
            os.truncate(path, path.stat().st_size - before.torn_bytes)
            on_note(
                f"{path}: the last line was torn ({before.torn_bytes} bytes, as a crash leaves it): it was dropped, "
                "and its sample is answered again"
            )
        records = list(before.records)
        if differs:
            is_same_model = _identity(before.about.get("model")) == _identity(about.get("model"))
            kept = [{**one, "n": places[one["key"]]} for one in records if is_same_model and one["key"] in places]
            on_note(f"{differs}: {len(kept)} of {len(records)} records still hold and are kept, the others are dropped")
            records = kept
            self._rewrite(records)
        self.about = {**about, "started": before.about["started"], "resumed": about["started"]}
        self._write_about()
        return {record["key"]: record["status"] for record in records}

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
        records, _ = _records(path)
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
                file.writelines(map(_line, records))
        except OSError as error:
            raise RunError(_cannot_write(path, error)) from None

    def append(self, record: dict[str, Any]) -> None:
        """Writes one record to the disk. Raises RunError where that fails; what was written before stays whole."""
        size = os.fstat(self._file).st_size
        line = _line(record)
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

    def describe(self, more: dict[str, Any]) -> None:
        """Adds to run.json, or replaces there, what is known only now."""
        self.about = {**self.about, **more}
        self._write_about()

    def _write_about(self) -> None:
        path = self.folder / RUN
        try:
            write_whole(path, json.dumps({"format": FORMAT, **self.about}, indent=1, ensure_ascii=False))
        except OSError as error:
            raise RunError(_cannot_write(path, error)) from None

    def close(self) -> None:
        os.close(self._file)
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _line(record: dict[str, Any]) -> bytes:
    try:
        return json.dumps(record, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:  # half a character, as a broken document may hold it
        return json.dumps(record).encode() + b"\n"


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
