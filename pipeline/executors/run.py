"""A batch: questions in, one record for each out, in a folder that a later run goes on with.

    summary = run(load_config("p.yaml"), Path("my-index"), read_samples(Path("q.jsonl")), Path("out"), RunOptions())
    read_run(Path("out")).records

A record is {"n", "id", "key", "status": "ok" | "error", "error", "retries", "attempts", "seconds", "started", "fields",
"question", "record"}: `n` is the sample's place in the input, from 0; `retries` how often it was begun anew, `attempts`
why; `record` is that of pipeline/records.py without the configuration, which stands in run.json. `seconds` run from
when the sample was taken up to its end: with several under way they overlap, and do not add up to the run's.
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
from pipeline.executors.tasks import Executor, Fault, Outcome, Task
from pipeline.pipeline import Pipeline
from pipeline.records import record
from pipeline.retrieval.generations import hold_newest
from pipeline.text.counting import counted

SECONDS_BETWEEN_STATUS = 0.2


@dataclass(frozen=True)
class RunOptions:
    """How a batch is run.

    `executor` None is what the pipeline's file says. `retry` is how often a sample is begun anew that failed, or whose
    actor died; an error that would come again (a prompt that does not fit, bad settings, bad data) is not retried.
    `fail_on_error` stops the run when more samples failed: a number (int), or a share of all in [0, 1] (float); None
    never does. `retry_errors` tries those again that an earlier run recorded as failed. `update` goes on in a folder of
    another run: what still holds of it is kept, the rest dropped. `input` is the file that the samples come from, and
    `seed` that of their choice: for run.json. `max_in_flight` 1 asks one question after the other, so that seconds can
    be compared.
    """

    executor: Literal["local", "ray"] | None = None
    retry: int = 3
    retry_errors: bool = False
    fail_on_error: int | float | None = None
    update: bool = False
    input: Path | None = None
    seed: int | None = None
    max_in_flight: int | None = None


@dataclass(frozen=True)
class RunStatus:
    """How far a run is. Tokens and seconds are those of this run alone, without what an earlier one did."""

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
    """How a run ended: `n_ok` and `n_failed` are of the folder, and n_ok + n_failed + n_missing == n_samples.

    `n_before` of them were there already. `start_s` is what loading took, `seconds` the work after it. Tokens are those
    of this run; `prompt_tokens` are those read, what the cache held apart.
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


def _silent(what: str, done: int, total: int) -> None:
    """No progress display."""


def _unheard(status: object) -> None:
    """Nobody listens."""


def run(
    config: PipelineConfig,
    index_folder: Path | None,
    samples: Sequence[Sample],
    folder: Path,
    options: RunOptions = RunOptions(),
    progress: Progress = _silent,
    on_status: Callable[[RunStatus], None] = _unheard,
    on_note: Callable[[str], None] = _unheard,
    make: Callable[[], Executor] | None = None,
) -> RunSummary:
    """Answers every sample that the folder has no record of, and gives the account of the whole folder.

    `make` gives an executor in the place of the one that the options name.
    `progress` is told of loading, `on_status` of the samples, `on_note` of what is worth a line. Raises RunError, with
    the way out, for a folder of another run, a full disk, and too many failed samples; ConfigError, StoreError and
    ModelError before anything is answered. Ctrl-C passes through. What was finished until then is in the folder.
    """
    _check(config, index_folder, options)
    everything = without_twins(list(samples))
    held = None if index_folder is None else hold_newest(index_folder)  # a run answers from one state of its index
    place = index_folder if held is None else held.path
    about = _about(config, index_folder, place, len(everything), options)
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
                make()
                if make
                else _executor(config, index_folder, place, options, about, progress, on_note) as executor
            ):
                start = perf_counter()
                told = executor.start()
                out.describe({"executor": told})
                for line in told.get("pools", ()):
                    on_note(line)
                work.start_s = perf_counter() - start
                work.answer(executor, todo)
        return work.summary()


class _Work:
    """One run under way: what it counts, and what it writes."""

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
                self.take(Outcome.of(task, None, Fault("DataError", task.sample.fault, "input", is_final=True)))

    def answer(self, executor: Executor, tasks: Sequence[Task]) -> None:
        self.clock = perf_counter()
        try:
            for outcome in executor.run(iter(tasks), self.options.retry, self.hear):
                self.take(outcome)
        finally:
            self.seconds = perf_counter() - self.clock

    def hear(self, n_tokens: int) -> None:
        """Tokens of answers under way."""
        self.n_pieces += n_tokens
        if perf_counter() - self.last_status >= SECONDS_BETWEEN_STATUS:
            self.tell()

    def take(self, outcome: Outcome) -> None:
        """Writes a finished sample. Raises RunError when that cannot be, or when too many failed."""
        task, state, fault = outcome.task, outcome.state, outcome.fault
        told = None if state is None else record(state, self.config)
        if told is not None:
            told = {name: value for name, value in told.items() if name != "config"}
        self.out.append(
            {
                "n": task.n,
                "id": task.sample.question.id,
                "key": task.key,
                "status": "ok" if fault is None else "error",
                "error": None if fault is None else fault.told(),
                "retries": len(task.retries),
                "attempts": [retry.told() for retry in task.retries],
                "seconds": round(outcome.seconds, 6),
                "started": task.started.isoformat(timespec="milliseconds"),
                "fields": task.sample.fields,
                "question": {"id": task.sample.question.id, "text": task.sample.question.text},
                "record": told,
            }
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
        """Why the run has to stop, if it has to."""
        most, failed = self.options.fail_on_error, self.n_failed + self.n_failed_before
        if most is None or failed <= (most if isinstance(most, int) else most * len(self.keys)):
            return None
        allowed = f"{most}" if isinstance(most, int) else f"{most:.0%} of {len(self.keys)}"
        return (
            f"{self.out.folder}: stopped: {counted(failed, 'sample')} failed, and `fail_on_error` allows {allowed}. "
            "records.jsonl says why each failed"
        )

    def tell(self) -> None:
        self.last_status = perf_counter()
        n = len(self.keys)
        seconds = self.last_status - self.clock
        written = max(self.answer_tokens, self.n_pieces)
        self.on_status(RunStatus(n, self.n_before, self.n_ok, self.n_failed, seconds, self.prompt_tokens, written))

    def summary(self) -> RunSummary:
        found = [self.out.done.get(key) for key in self.keys]
        return RunSummary(
            folder=self.out.folder,
            n_samples=len(found),
            n_ok=found.count("ok"),
            n_failed=found.count("error"),
            n_missing=found.count(None),
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
    """`place` is the folder of the index's state here; other nodes look for the same state in `index_folder`."""
    kind = options.executor or config.executor.kind
    folder = index_folder or Path("no index")
    if kind == "local":
        return LocalExecutor(Pipeline(config, place or folder, progress), options.max_in_flight)
    from pipeline.executors.on_ray.driver import RayExecutor

    sha256 = about["model"]["sha256"]
    return RayExecutor(config, folder, about["index_hash"], sha256, options.max_in_flight, progress, on_note)


# ---------------------------------------------------------------------------------------------------- what run.json has
def check_model(config: PipelineConfig, options: RunOptions) -> None:
    """Raises what is wrong with the model, as far as it can be known in a moment; a cluster's nodes look themselves."""
    try:
        config.components[-1].check()
    except ModelError:
        if not _is_elsewhere(config, options):
            raise


def _is_elsewhere(config: PipelineConfig, options: RunOptions) -> bool:
    """Whether it is other machines that answer: then the model need not be on this one."""
    return (options.executor or config.executor.kind) == "ray" and config.executor.address is not None


def _check(config: PipelineConfig, index_folder: Path | None, options: RunOptions) -> None:
    check_model(config, options)
    retrieves = config.stages[0].kind == "retrieve" and getattr(config.components[0], "searches_index", True)
    if index_folder is None and retrieves:
        raise ConfigError(
            f"{config.path} searches an index with {config.stages[0].name}: name your documents (`docs`) "
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
    """The same for the same documents, cut and embedded in the same way. Raises StoreError where there is no index."""
    from pipeline.retrieval.fingerprint import fingerprint

    return fingerprint(folder)


def _file(path: Path) -> dict[str, str]:
    """A file by its place and its hash; of a folder the hash is of all its files."""
    import hashlib

    from pipeline.models.filehash import file_sha256

    if path.is_file():
        return {"path": str(path.resolve()), "sha256": file_sha256(path)}
    files = sorted(one for one in path.rglob("*") if one.is_file())
    whole = "\n".join(f"{one.relative_to(path).as_posix()} {file_sha256(one)}" for one in files)
    return {"path": str(path.resolve()), "sha256": hashlib.sha256(whole.encode()).hexdigest()}


def _model(config: PipelineConfig, options: RunOptions) -> dict[str, str | None]:
    """The reader's file; a scripted one has none."""
    from pipeline.models.filehash import file_sha256

    last = config.components[-1]
    try:
        file: Path | None = getattr(last, "file", None)
    except ModelError:
        if not _is_elsewhere(config, options):
            raise
        return {"name": str(getattr(last, "model", "")), "path": None, "sha256": None}
    if file is None:
        return {"name": config.stages[-1].name, "path": None, "sha256": None}
    return {"name": str(last.model), "path": str(file), "sha256": file_sha256(file)}


def machine() -> dict[str, Any]:
    """What a speed depends on: the processor, the cores that this process may use, and the libraries."""
    from pipeline.models.tune import machine as processor

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
