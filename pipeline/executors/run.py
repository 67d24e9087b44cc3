"""A batch: questions in, one record per question out, in a folder that a later run can resume.

    summary = run(load_config("p.yaml"), Path("my-index"), read_samples(Path("q.jsonl")), Path("out"), RunOptions())
    read_run(Path("out")).records

A record is {"n", "id", "key", "status": "ok" | "error", "error", "retries", "attempts", "seconds", "started", "fields",
"question", "record"}: `n` is the sample's place in the input, from 0; `retries` counts its retries, `attempts` holds
their reasons; `record` is that of pipeline/records.py without the configuration, which is in run.json. `seconds` is the
time from the sample's start to its end: samples in flight overlap, so they do not add up to the run's.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

from pipeline.config import PipelineConfig
from pipeline.contracts import Progress
from pipeline.errors import ConfigError, ModelError, RunError
from pipeline.executors.folder import RunFolder
from pipeline.executors.local import LocalExecutor
from pipeline.executors.samples import Sample, without_twins
from pipeline.executors.tasks import Executor, Outcome, Task
from pipeline.listener import Listener, ignore, silent
from pipeline.pipeline import Pipeline
from pipeline.records import QuestionResult, Record, TaskFault
from pipeline.registry import stage_name
from pipeline.retrieval.generations import hold_newest
from pipeline.retrieval.index_scope import check_index_scope
from pipeline.retrieval.scope import scope_of
from pipeline.text.counting import counted
from pipeline.types import Question

SECONDS_BETWEEN_STATUS = 0.2


@dataclass(frozen=True)
class RunOptions:
    """The options of a batch.

    `executor` None takes the pipeline file's. `retry` is the number of retries per sample that failed or whose actor
    died; a permanent error (a prompt that does not fit, bad settings, bad data) is not retried. `fail_on_error` stops
    the run once more samples failed: a number (int), or a share of all in [0, 1] (float); None never stops.
    `retry_errors` retries the samples that an earlier run recorded as failed. `update` resumes in a folder of another
    run: records that are still valid stay, the rest is dropped. `input` (the samples' file) and `seed` (of their
    sampling) go into run.json. `max_in_flight` 1 asks one question after the other, so that seconds are comparable.
    `make_executor` makes another executor than `executor` names.
    """

    executor: Literal["local", "ray"] | None = None
    retry: int = 3
    retry_errors: bool = False
    fail_on_error: int | float | None = None
    update: bool = False
    input: Path | None = None
    seed: int | None = None
    max_in_flight: int | None = None
    make_executor: Callable[[], Executor] | None = None


@dataclass(frozen=True)
class RunStatus:
    """The progress of a run. Tokens and seconds are of this run alone, without earlier ones in the folder."""

    n_samples: int
    n_before: int
    n_ok: int
    n_failed: int
    seconds: float
    prompt_tokens: int
    answer_tokens: int

    @property
    def n_done(self) -> int:
        return self.n_before + self.n_ok + self.n_failed

    @property
    def per_second(self) -> float:
        return (self.n_ok + self.n_failed) / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        return (self.n_samples - self.n_done) / self.per_second if self.per_second else None


@dataclass(frozen=True)
class RunSummary:
    """The result of a run: `n_ok` and `n_failed` are of the folder, and n_ok + n_failed + n_missing == n_samples.

    `n_before` of them came from earlier runs. `start_s` is the loading time, `seconds` the time of the work after it.
    Tokens are of this run; `prompt_tokens` excludes tokens that the KV cache held.
    """

    folder: Path
    n_samples: int
    n_ok: int
    n_failed: int
    n_missing: int
    n_before: int
    n_retries: int
    start_s: float
    seconds: float
    prompt_tokens: int
    answer_tokens: int


def run(
    config: PipelineConfig,
    index_folder: Path | None,
    samples: Sequence[Sample],
    folder: Path,
    options: RunOptions = RunOptions(),
    progress: Progress = silent,
    on_status: Callable[[RunStatus], None] = ignore,
    on_note: Callable[[str], None] = ignore,
) -> RunSummary:
    """Answers every sample without a record in the folder; returns the summary of the whole folder.

    `progress` reports loading, `on_status` the samples, `on_note` remarkable events as lines. Ctrl-C passes through;
    the finished samples are in the folder.

    Raises RunError, with a remedy, for a folder of another run, a full disk, and too many failed samples. Raises
    ConfigError, StoreError and ModelError before the first answer, and DataError if the pipeline's filter leaves
    nothing of the index.
    """
    _check(config, index_folder, options)
    everything = without_twins(list(samples))
    held = None if index_folder is None else hold_newest(index_folder)  # a run answers from one state of its index
    place = index_folder if held is None else held.path
    about = _about(config, index_folder, place, len(everything), options)
    if place is not None and config.searches_index:
        check_index_scope(place, scope_of(config.retriever, Question("")))
    keys = [sample.key(config.hash, about["index_hash"]) for sample in everything]
    numbers = [n if sample.n is None else sample.n for n, sample in enumerate(everything)]
    with RunFolder(folder, about, dict(zip(keys, numbers, strict=True)), on_note, options.update) as out:
        if options.retry_errors and (n := out.forget_errors()):
            on_note(f"{counted(n, 'failed sample')} to retry")
        tasks = [
            Task(n, key, sample)
            for n, key, sample in zip(numbers, keys, everything, strict=True)
            if key not in out.done
        ]
        work = _Work(config, out, keys, options, on_status, len(tasks))
        work.refuse_bad_lines(tasks)
        todo = [task for task in tasks if not task.sample.fault]
        if todo:
            with (
                options.make_executor()
                if options.make_executor
                else _executor(config, index_folder, place, options, about, progress, on_note) as executor
            ):
                start = perf_counter()
                description = executor.start()
                out.describe({"executor": description})
                for line in description.get("pools", ()):
                    on_note(line)
                work.start_s = perf_counter() - start
                work.answer(executor, todo)
        return work.summary()


class _Work:
    """The state of a run in progress: its counters and its output folder."""

    def __init__(
        self,
        config: PipelineConfig,
        out: RunFolder,
        keys: Sequence[str],
        options: RunOptions,
        on_status: Callable[[RunStatus], None],
        n_todo: int,
    ) -> None:
        self.config = config
        self.out = out
        self.keys = keys
        self.options = options
        self.on_status = on_status
        self.n_before = len(keys) - n_todo
        self.n_failed_before = sum(out.done.get(key) == "error" for key in keys)
        self.n_ok = self.n_failed = self.n_retries = 0
        self.prompt_tokens = self.answer_tokens = self.n_pieces = 0
        self.start_s = self.seconds = 0.0
        self.clock = self.last_status = perf_counter()

    def refuse_bad_lines(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            if task.sample.fault:
                self.take(Outcome.of(task, None, TaskFault("DataError", task.sample.fault, "input", is_final=True)))

    def answer(self, executor: Executor, tasks: Sequence[Task]) -> None:
        self.clock = perf_counter()
        try:
            for outcome in executor.run(iter(tasks), self.options.retry, self.hear):
                self.take(outcome)
        finally:
            self.seconds = perf_counter() - self.clock

    def hear(self, n_tokens: int) -> None:
        """Counts tokens of answers in flight."""
        self.n_pieces += n_tokens
        if perf_counter() - self.last_status >= SECONDS_BETWEEN_STATUS:
            self.tell()

    def take(self, outcome: Outcome) -> None:
        """Writes a finished sample. Raises RunError if it cannot be written, or if too many failed."""
        task, state, fault = outcome.task, outcome.state, outcome.fault
        self.out.append(
            Record(
                n=task.n,
                id=task.sample.question.id,
                key=task.key,
                question=task.sample.question.text,
                glob=task.sample.question.glob or "",
                filter=task.sample.question.filter,
                result=None if state is None else QuestionResult.of(state, self.config, with_config=False),
                error=fault,
                attempts=tuple(task.retries),
                n_retries=len(task.retries),
                seconds=round(outcome.seconds, 6),
                started=task.started.isoformat(timespec="milliseconds"),
                fields=task.sample.fields,
            )
        )
        self.n_retries += len(task.retries)
        self.n_ok += fault is None
        self.n_failed += fault is not None
        if state is not None and state.ledger.generation is not None:
            generation = state.ledger.generation
            self.prompt_tokens += generation.read_tokens
            self.answer_tokens += generation.answer_tokens
        self.tell()
        if (why := self.too_many()) is not None:
            raise RunError(why)

    def too_many(self) -> str | None:
        """Returns why the run has to stop; None if it may go on."""
        allowed, failed = self.options.fail_on_error, self.n_failed + self.n_failed_before
        if allowed is None or failed <= (allowed if isinstance(allowed, int) else allowed * len(self.keys)):
            return None
        allowed_text = f"{allowed}" if isinstance(allowed, int) else f"{allowed:.0%} of {len(self.keys)}"
        return (
            f"{self.out.folder}: stopped: {counted(failed, 'sample')} failed, and `fail_on_error` allows "
            f"{allowed_text}. "
            "records.jsonl says why each failed"
        )

    def tell(self) -> None:
        self.last_status = perf_counter()
        n = len(self.keys)
        seconds = self.last_status - self.clock
        written = max(self.answer_tokens, self.n_pieces)
        self.on_status(RunStatus(n, self.n_before, self.n_ok, self.n_failed, seconds, self.prompt_tokens, written))

    def summary(self) -> RunSummary:
        statuses = [self.out.done.get(key) for key in self.keys]
        return RunSummary(
            folder=self.out.folder,
            n_samples=len(statuses),
            n_ok=statuses.count("ok"),
            n_failed=statuses.count("error"),
            n_missing=statuses.count(None),
            n_before=self.n_before,
            n_retries=self.n_retries,
            start_s=self.start_s,
            seconds=self.seconds,
            prompt_tokens=self.prompt_tokens,
            answer_tokens=self.answer_tokens,
        )


def _executor(
    config: PipelineConfig,
    index_folder: Path | None,
    place: Path | None,
    options: RunOptions,
    about: dict[str, Any],
    progress: Progress,
    on_note: Callable[[str], None],
) -> Executor:
    """Builds the executor. `place` is this machine's index generation; other nodes look it up in `index_folder`."""
    kind = options.executor or config.executor.kind
    folder = index_folder or Path("no index")
    if kind == "local":
        return LocalExecutor(Pipeline(config, place or folder, Listener(progress)), options.max_in_flight)
    from pipeline.executors.on_ray.driver import RayExecutor

    sha256 = about["model"]["sha256"]
    return RayExecutor(config, folder, about["index_hash"], sha256, options.max_in_flight, progress, on_note)


# ---------------------------------------------------------------------------------------------------- what run.json has
def check_model(config: PipelineConfig, options: RunOptions) -> None:
    """Raises ModelError for a bad model, as far as a quick check can tell; a cluster's nodes check their own files."""
    try:
        config.generator.check()
    except ModelError:
        if not _is_elsewhere(config, options):
            raise


def _is_elsewhere(config: PipelineConfig, options: RunOptions) -> bool:
    """Whether other machines answer, so that this one needs no model."""
    return (options.executor or config.executor.kind) == "ray" and config.executor.address is not None


def _check(config: PipelineConfig, index_folder: Path | None, options: RunOptions) -> None:
    check_model(config, options)
    if index_folder is None and config.searches_index:
        raise ConfigError(
            f"{config.path} searches an index with {stage_name(config.stages[0])}: name your documents (`docs`) "
            "or an index (`index`)"
        )


def _about(
    config: PipelineConfig, index_folder: Path | None, place: Path | None, n: int, options: RunOptions
) -> dict[str, Any]:
    return {
        "config": config.resolved(),
        "config_path": config.path,
        "config_hash": config.hash,
        "index": None if index_folder is None else str(index_folder.resolve()),
        "index_hash": None if place is None else index_hash(place),
        "input": None if options.input is None else _file(options.input),
        "n_samples": n,
        "seed": options.seed,
        "model": _model(config, options),
        "executor": {"kind": options.executor or config.executor.kind},
        "machine": machine(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": version("longthread"),
    }


def index_hash(folder: Path) -> str:
    """Returns a hash of the documents, their chunking and embedding. Raises StoreError if there is no index."""
    from pipeline.retrieval.fingerprint import fingerprint

    return fingerprint(folder)


def _file(path: Path) -> dict[str, str]:
    """Describes a file by its path and hash; a folder's hash covers all its files."""
    import hashlib

    from pipeline.storage.hashes import file_sha256

    if path.is_file():
        return {"path": str(path.resolve()), "sha256": file_sha256(path)}
    files = sorted(file for file in path.rglob("*") if file.is_file())
    whole = "\n".join(f"{file.relative_to(path).as_posix()} {file_sha256(file)}" for file in files)
    return {"path": str(path.resolve()), "sha256": hashlib.sha256(whole.encode()).hexdigest()}


def _model(config: PipelineConfig, options: RunOptions) -> dict[str, str | None]:
    """Describes the reader's file; a scripted reader has none."""
    from pipeline.storage.hashes import file_sha256

    generator = config.generator
    try:
        file = generator.model_file()
    except ModelError:
        if not _is_elsewhere(config, options):
            raise
        return {"name": generator.model_name, "path": None, "sha256": None}
    if file is None:
        return {"name": stage_name(generator), "path": None, "sha256": None}
    return {"name": generator.model_name, "path": str(file), "sha256": file_sha256(file)}


def machine() -> dict[str, object]:
    """Describes what speed depends on: the processor, the cores of this process, and the libraries."""
    from pipeline.gguf.tune import machine as processor

    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "platform": platform.platform(),
        "python": sys.version.split()[0],
        "versions": {name: _version(name) for name in ("longthread", "llama-cpp-python", "chromadb", "ray", "torch")},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
