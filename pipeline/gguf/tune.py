"""Finds the fastest quantisation of a model on this machine by measuring it.

A CPU multiplies some quantisations much faster than others, and a file's own is often not the fastest. Going up (for
example from Q4_1 to Q8_0 or F16) keeps the model's output and costs memory. Going down (to Q4_0) loses quality: that is
measured and offered, but never chosen automatically.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Literal

from pipeline.errors import ModelError
from pipeline.gguf.header import inspect
from pipeline.gguf.requantise import TYPES, expected_bytes, requantise
from pipeline.storage.cache import cache_folder
from pipeline.storage.cards import Cards, write_card
from pipeline.storage.files import check_room, new_file
from pipeline.storage.hashes import file_sha256, sha256_of
from pipeline.storage.locks import HeldError, locked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.contracts import Progress
    from pipeline.models.trial import FileSpeed

Role = Literal["read", "score"]
ROLES: tuple[Role, ...] = ("read", "score")
ROUNDS = 3
MOST_DIVERGENCE = 0.01
"""Limit of the mean KL divergence, in nats a token, for a file to count as equivalent to the given one."""
LEAST_GAIN = 1.05
"""Least speed-up over a smaller file that is worth the disk space."""
MOST_OTHERS = 0.1
"""Share of the processor for other programs, above which the choice is doubtful."""
_BITS = {"F32": 32, "F16": 16, "BF16": 16, "Q8_0": 8}
"""Bits per weight; other types have fewer than 8."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One measured file. `prefill` and `decode` are tokens per second, medians over the rounds.

    `divergence` is the mean KL(given || this) of the next-token distributions, in nats, and `agreement` the share of
    equal likeliest tokens; both are None for the given file. `is_lossless`: made by going up, and the distributions
    agree. `path` is None if the file was deleted.
    """

    quantisation: str
    path: str | None
    size: int
    mtime_ns: int
    is_given: bool
    is_lossless: bool
    prefill: float
    decode: float
    divergence: float | None
    agreement: float | None

    def seconds(self, role: Role) -> float:
        """Returns the seconds for reading 1000 tokens, and for the role that answers, for writing 100."""
        return 1000 / self.prefill + (100 / self.decode if role == "read" else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneReport:
    """The measurements, their machine, and the choice: `best` maps a role to a candidate's quantisation.

    `others`: the share of the processor that other programs took, in [0, 1]. Reports of older versions lack it, and
    `n_rounds`.
    """

    source: str
    source_sha256: str
    source_size: int
    source_mtime_ns: int
    machine: str
    llama: str
    date: str
    seconds: float
    n_rounds: int = 0
    n_prefill: int
    n_decode: int
    n_compared: int
    others: float = 0.0
    candidates: tuple[Candidate, ...]
    best: dict[Role, str]
    notes: tuple[str, ...]


_CARDS = Cards(TuneReport, "a report", "run 'longthread models tune' again")


def tuned(path: Path, role: Role) -> Path | None:
    """Returns the fastest replacement of `path` for this role on this machine, or None to use `path` itself.

    It must be made from exactly this file (by path, size and time, or for a copy by size and hash), on this machine,
    with this llama.cpp, and be unchanged since. Takes a few milliseconds; a copy is hashed once.
    """
    report = _report_on(path)
    return _chosen(report, role) if report is not None else None


def is_tuned(path: Path) -> bool:
    """Whether exactly this file was measured on this machine with this llama.cpp, with any result."""
    report = _report_on(path)
    return report is not None and _is_of_here(report)


def source_sha256(path: Path) -> str:
    """Returns the hash of a requantised file's source; for any other file its own hash."""
    if path.resolve().parent.parent == folder().resolve():
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            sha256 = json.loads((path.resolve().parent / "tune.json").read_text("utf-8"))["source_sha256"]
            if isinstance(sha256, str):  # also where the rest of the report is of another version
                return sha256
    return file_sha256(path)


def _report_on(path: Path) -> TuneReport | None:
    try:
        about = path.stat()
        wanted = (str(path.resolve()), about.st_size, about.st_mtime_ns)
        reports = [report for file in sorted(folder().glob("*/tune.json")) if (report := _read(file)) is not None]
        for report in reports:
            if (report.source, report.source_size, report.source_mtime_ns) == wanted:
                return report
        alike = [report for report in reports if report.source_size == about.st_size]
        sha256 = file_sha256(path) if alike else ""
    except OSError:
        return None
    return next((report for report in alike if report.source_sha256 == sha256), None)


def folder() -> Path:
    """Returns the folder of requantised models, with a subfolder per source, named by its hash."""
    return cache_folder() / "tuned"


def _read(path: Path) -> TuneReport | None:
    """Reads a report; None if it is missing, torn or of another version: the given file is then used as it is."""
    try:
        return _CARDS.read(path)
    except ModelError:
        return None


def _chosen(report: TuneReport, role: Role) -> Path | None:
    if not _is_of_here(report):
        return None
    name = report.best.get(role)
    candidate = next((candidate for candidate in report.candidates if candidate.quantisation == name), None)
    if candidate is None or candidate.is_given or candidate.path is None:
        return None
    try:
        about = os.stat(candidate.path)
    except OSError:
        return None
    is_whole = (about.st_size, about.st_mtime_ns) == (candidate.size, candidate.mtime_ns)
    return Path(candidate.path) if is_whole else None


def _is_of_here(report: TuneReport) -> bool:
    return (report.machine, report.llama) == (machine(), _llama())


def _llama() -> str:
    """llama.cpp's version, and whether its kernels for AMX are used, which decide what is fastest."""
    from pipeline.models.amx import has_amx_kernels, use_extra_buffers

    amx = " with AMX" if has_amx_kernels() and use_extra_buffers() else ""
    return version("llama-cpp-python") + amx


def machine() -> str:
    """Describes what speed depends on: the processor's name, and the cores that this process may use."""
    from pipeline.models.resolving import threads

    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            name = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), name)
    except OSError:  # not Linux
        pass
    return f"{name}, {threads()} cores"


def tune(path: Path, progress: Progress, rounds: int = ROUNDS) -> TuneReport:
    """Writes the model in other quantisations, measures all in turn, and records the best for each role.

    Rounds alternate between all files, so that a slowdown affects all of them. Files are written atomically; useless
    ones are deleted. Raises ModelError for a model that cannot be loaded, and if another process is tuning it.
    """
    inspect(path)
    path = path.resolve()
    sha256 = sha256_of(path)
    home = folder().resolve() / sha256[:16]
    try:
        home.mkdir(parents=True, exist_ok=True)
        with locked(home / "lock"):
            return _tune(path, sha256, home, progress, rounds)
    except HeldError:
        raise ModelError(f"another process is tuning {path.name}; wait for it") from None
    except OSError as error:
        raise ModelError(f"{home} cannot be written: {error.strerror or error}") from None


def _tune(path: Path, sha256: str, home: Path, progress: Progress, rounds: int) -> TuneReport:
    from pipeline.models.trial import FileTrial

    start = perf_counter()
    for left in home.glob(".*"):
        left.unlink()
    given = inspect(path)
    trial = FileTrial(path)
    made, notes = _make(path, home, trial.n_parameters, given.quantisation, progress)
    files = {given.quantisation: path} | made
    speeds = trial.measure(list(files.values()), rounds, progress)
    agreements = trial.compare(path, list(made.values()), progress)
    candidates = [
        _candidate(kind, file, path, speeds[file], agreements.get(file), given.quantisation)
        for kind, file in files.items()
    ]
    best = {role: _best(candidates, role) for role in ROLES}
    remaining = tuple(_keep(candidate, candidates, best) for candidate in candidates)
    about = path.stat()
    report = TuneReport(
        source=str(path),
        source_sha256=sha256,
        source_size=about.st_size,
        source_mtime_ns=about.st_mtime_ns,
        machine=machine(),
        llama=_llama(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(perf_counter() - start, 1),
        n_rounds=trial.n_rounds,
        n_prefill=trial.n_prefill,
        n_decode=trial.n_decode,
        n_compared=trial.n_compared,
        others=round(trial.others, 3),
        candidates=remaining,
        best=best,
        notes=(*notes, *_notes(remaining, best), *_doubts(trial.others)),
    )
    write_card(home / "tune.json", report)
    return report


def _make(
    path: Path, home: Path, n_parameters: int, given: str, progress: Progress
) -> tuple[dict[str, Path], list[str]]:
    """Writes a file of each type other than the given one; notes types that do not fit disk or memory."""
    from pipeline.models.resolving import free_memory

    made: dict[str, Path] = {}
    notes: list[str] = []
    for kind in TYPES:
        target, n_bytes = home / f"{path.stem}.{kind}.gguf", expected_bytes(kind, n_parameters)
        if kind == given:
            continue
        if n_bytes > free_memory() / 2:
            notes.append(
                f"{kind} was not tried: its {n_bytes / 1e6:.0f} MB are more than half of the memory that is free"
            )
            continue
        try:
            if not target.is_file():
                check_room(home, n_bytes)
                with new_file(target, n_bytes) as temporary:
                    requantise(path, temporary, kind, n_bytes, progress)
            inspect(target)
        except ModelError as error:
            notes.append(f"{kind} was not tried: {error}")
            continue
        made[kind] = target
    return made, notes


def _candidate(
    kind: str, file: Path, source: Path, speed: FileSpeed, agreement: tuple[float, float] | None, given: str
) -> Candidate:
    about = file.stat()
    divergence, same = agreement or (None, None)
    goes_up = _BITS.get(kind, 4) > _BITS.get(given, 7) or (kind, given) == ("F16", "BF16")
    return Candidate(
        quantisation=kind,
        path=str(file),
        size=about.st_size,
        mtime_ns=about.st_mtime_ns,
        is_given=file == source,
        is_lossless=file == source or (goes_up and divergence is not None and divergence <= MOST_DIVERGENCE),
        prefill=round(speed.prefill, 1),
        decode=round(speed.decode, 1),
        divergence=divergence,
        agreement=same,
    )


def _best(candidates: Sequence[Candidate], role: Role) -> str:
    """Chooses the fastest lossless candidate; among similarly fast ones the given file, or else the smallest."""
    lossless = [candidate for candidate in candidates if candidate.is_lossless]
    least = min(candidate.seconds(role) for candidate in lossless)
    as_fast = [candidate for candidate in lossless if candidate.seconds(role) < LEAST_GAIN * least]
    return min(as_fast, key=lambda candidate: (not candidate.is_given, candidate.size)).quantisation


def _keep(candidate: Candidate, candidates: Sequence[Candidate], best: dict[Role, str]) -> Candidate:
    """Keeps the candidate's file if it is used, or faster than all used ones; otherwise deletes it."""
    used = [other for other in candidates if other.quantisation in best.values()]
    is_offer = not candidate.is_lossless and all(
        LEAST_GAIN * candidate.seconds("read") <= other.seconds("read") for other in used
    )
    if candidate.is_given or candidate in used or is_offer or candidate.path is None:
        return candidate
    Path(candidate.path).unlink()
    return replace(candidate, path=None)


def _notes(candidates: Sequence[Candidate], best: dict[Role, str]) -> list[str]:
    given = next(candidate for candidate in candidates if candidate.is_given)
    by_name = {candidate.quantisation: candidate for candidate in candidates}
    notes = []
    for role in ROLES:
        gain = given.seconds(role) / by_name[best[role]].seconds(role)
        gain_text = f"{best[role]}, {gain:.2f} times as fast" if gain > 1 else f"the given file ({given.quantisation})"
        notes.append(f"to {role}: {gain_text}")
    for candidate in candidates:
        if candidate.path is not None and not candidate.is_lossless:
            notes.append(
                f"{candidate.quantisation} is faster still and loses quality (KL {candidate.divergence:.3f} nats a "
                f"token); it is used only if you name it: {candidate.path}"
            )
    return notes


def _doubts(others: float) -> list[str]:
    """Notes a doubtful choice: other programs on a core slow some types more than others."""
    if others <= MOST_OTHERS:
        return []
    return [f"other programs took {others:.0%} of the processor meanwhile: tune again when the machine is idle"]
