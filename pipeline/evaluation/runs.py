"""Measures a run's folder. It keeps each question's values in memory, and reads a record again when needed.

So a report of ten thousand questions takes no more memory than their numbers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.errors import DataError
from pipeline.evaluation.metrics import METRICS, Metric, MetricValues, measure
from pipeline.evaluation.statistics import Interval, mean_interval
from pipeline.executors.folder import RECORDS, DamagedLine, parse_record, read_about
from pipeline.records import Record
from pipeline.storage.checked_json import read_object
from pipeline.storage.whole import new_file

MEASURES = "measures.json"
ROWS = "metrics.jsonl"


@dataclass(frozen=True, slots=True)
class QuestionRow:
    """One question's outcome. `question_hash` covers the question and its gold, `offset` is its line's byte offset."""

    id: str
    n: int
    status: str
    question_hash: str
    measured: MetricValues
    offset: int


@dataclass(frozen=True)
class Measures:
    """A run and its measured values. `rows` are in the order of the questions."""

    folder: Path
    name: str
    about: Mapping[str, Any]
    rows: tuple[QuestionRow, ...] = field(repr=False)
    peak_memory_mb: float | None = None

    @cached_property
    def by_id(self) -> dict[str, QuestionRow]:
        return {row.id: row for row in self.rows}

    @property
    def n_failed(self) -> int:
        return sum(row.status != "ok" for row in self.rows)

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics that apply to at least one question, in the order of the table."""
        named = {name for row in self.rows for name in (*row.measured.values, *row.measured.missing)}
        return tuple(metric for metric in METRICS if metric.name in named)

    def values(self, metric: str, ids: Sequence[str] | None = None) -> list[float]:
        """The existing values of a metric, in the order of the questions, or of `ids`."""
        rows = self.rows if ids is None else [self.by_id[id_] for id_ in ids]
        return [row.measured.values[metric] for row in rows if metric in row.measured.values]

    def n_missing(self, metric: str) -> int:
        return sum(metric in row.measured.missing for row in self.rows)

    def interval(self, metric: str, seed: int = 0) -> Interval | None:
        """The mean of a metric with its interval; None if no question has a value."""
        values = self.values(metric)
        return mean_interval(values, seed) if values else None

    def record(self, id_: str) -> Record:
        """Reads one question's record from the disk."""
        with (self.folder / RECORDS).open("rb") as file:
            file.seek(self.by_id[id_].offset)
            return parse_record(file.readline(), needs_checksum=False)

    @property
    def model(self) -> str:
        model = self.about.get("model")
        return str(model.get("sha256") or model.get("name")) if isinstance(model, Mapping) else str(model)

    @property
    def model_name(self) -> str:
        model = self.about.get("model")
        return Path(str(model.get("name") or model.get("path"))).name if isinstance(model, Mapping) else str(model)

    @property
    def index(self) -> str:
        """The hash of the index; empty if the run searched none."""
        return str(self.about.get("index_hash") or "")


def read_all(folders: Sequence[str | Path]) -> list[Measures]:
    """Reads the runs in the folders. Each is named by the end of its path, as long as it takes to tell them apart."""
    paths = [Path(folder).resolve() for folder in folders]
    depth = 1
    names = [path.name for path in paths]
    while len(set(names)) < len(set(paths)):
        depth += 1
        names = ["/".join(path.parts[-depth:]) for path in paths]
    if len(set(paths)) < len(paths):
        raise DataError("the same folder is named twice: a run cannot be compared with itself")
    return [replace(read_measures(folder), name=name) for folder, name in zip(folders, names, strict=True)]


def read_measures(folder: str | Path, ids: Collection[str] | None = None) -> Measures:
    """Measures the run in a folder, finished or not, or only the questions in `ids`. DataError without records."""
    folder = Path(folder)
    about = read_about(folder)
    rows = []
    for offset, where, record in _records(folder, needs_checksum=about["format"] > 1):
        try:
            if ids is None or record.id in ids:
                rows.append(_row(record, offset))
        except DataError as error:
            raise DataError(f"{where}: {error}, as `longthread eval` writes it") from None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{where}: is no record of this longthread: {type(error).__name__}: {error}") from None
    if not rows:
        raise DataError(f"{folder}: the run has no records yet")
    rows.sort(key=lambda row: row.n)
    return Measures(folder, folder.resolve().name, about, tuple(rows), _peak_memory(folder))


def _row(record: Record, offset: int) -> QuestionRow:
    measured = measure(record)  # first: it checks the gold
    gold = record.fields.get("gold") or {}
    known = [record.question, gold.get("answers"), gold.get("is_answerable")]
    known += [["filter", record.filter]] if record.filter else []  # added later: other questions keep their hashes
    question_hash = hashlib.sha256(json.dumps([record.id, *known]).encode()).hexdigest()[:16]
    return QuestionRow(record.id, record.n, record.status, question_hash, measured, offset)


def _records(folder: Path, needs_checksum: bool) -> Iterator[tuple[int, str, Record]]:
    """Yields (byte offset, place in words, record) for each complete line. Skips a torn last line."""
    path = folder / RECORDS
    try:
        with path.open("rb") as file:
            offset = 0
            for number, line in enumerate(file, 1):
                if line.endswith(b"\n") and line.strip():
                    try:
                        yield offset, f"{path}:{number}", parse_record(line, needs_checksum)
                    except ValueError as error:
                        raise DataError(DamagedLine(number, str(error), line).message(folder)) from None
                offset += len(line)
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def _peak_memory(folder: Path) -> float | None:
    """Peak memory in MB; None if not measured. Only shown beside the metrics, so a damaged file is not an error."""
    try:
        peak = read_object(folder / MEASURES).get("peak_memory_mb")
    except (OSError, ValueError):
        return None
    return float(peak) if isinstance(peak, int | float) else None


def write_rows(measures: Measures) -> Path:
    """Writes each question's values and reasons as JSON lines into the run's folder, and gives the path."""
    path = measures.folder / ROWS
    with new_file(path) as part, part.open("w", encoding="utf-8") as file:
        for row in measures.rows:
            values = {
                "id": row.id,
                "status": row.status,
                "values": row.measured.values,
                "missing": row.measured.missing,
            }
            file.write(json.dumps(values, ensure_ascii=True) + "\n")
    return path


def summary(measures: Measures, seed: int = 0) -> dict[str, Any]:
    """The run in numbers, as JSON: for each metric the mean, interval, n, and the counted reasons of missing values."""
    metrics = {}
    for metric in measures.metrics:
        interval = measures.interval(metric.name, seed)
        reasons: dict[str, int] = {}
        for row in measures.rows:
            if why := row.measured.missing.get(metric.name):
                reasons[why] = reasons.get(why, 0) + 1
        metrics[metric.name] = {
            "mean": None if interval is None else interval.mean,
            "low": None if interval is None else interval.low,
            "high": None if interval is None else interval.high,
            "n": 0 if interval is None else interval.n,
            "n_missing": sum(reasons.values()),
            "missing": dict(sorted(reasons.items(), key=lambda item: -item[1])[:20]),
        }
    return {
        "name": measures.name,
        "folder": str(measures.folder),
        "n_questions": len(measures.rows),
        "n_failed": measures.n_failed,
        "model": measures.model_name,
        "peak_memory_mb": measures.peak_memory_mb,
        "metrics": metrics,
    }
