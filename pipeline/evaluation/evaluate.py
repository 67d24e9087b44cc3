"""Evaluates several pipelines on the same questions. Each has its own run folder.

The pipelines take turns, each with a stretch of the questions, so that a machine that slows down slows down all of
them. A pipeline answers one question at a time, because the seconds of concurrent questions overlap.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipeline.config import PipelineConfig
from pipeline.contracts import Progress
from pipeline.docs_index import docs_folder, update_index
from pipeline.errors import ConfigError, DataError
from pipeline.evaluation.corpus import Corpus, head, materialise
from pipeline.evaluation.data.dataset import DataItem, DataSet, Gold
from pipeline.evaluation.memory import peak_mb, reset_peak
from pipeline.evaluation.runs import MEASURES, Measures, read_measures
from pipeline.executors.folder import n_records
from pipeline.executors.run import RunOptions, RunStatus, run
from pipeline.executors.samples import Sample, chosen
from pipeline.registry import stage_name
from pipeline.storage.checked_json import with_checksum
from pipeline.storage.whole import write_whole

if TYPE_CHECKING:
    from pipeline.retrieval.update import IndexReport

LEAST_IN_A_TURN = 10


@dataclass(frozen=True)
class Method:
    """One pipeline and its name, which is also the name of its folder."""

    name: str
    config: PipelineConfig


@dataclass(frozen=True)
class EvalOptions:
    """Which questions to ask, and how. `turns` is how many turns each pipeline takes; the rest is as in RunOptions."""

    limit: int | None = None
    sample: int | None = None
    seed: int = 0
    turns: int = 4
    executor: Literal["local", "ray"] | None = None
    max_in_flight: int | None = 1
    retry: int = 3
    retry_errors: bool = False
    fail_on_error: int | float | None = None
    update: bool = False


@dataclass(frozen=True)
class EvalListener:
    """Receives progress events: of loading and indexing, of a method's questions, and notes for the user.

    `on_status` receives the method's name, the status of its turn, and the seconds left for all methods and turns. They
    are None until a question is answered. `on_index` receives the report of each index that is made of the user's
    documents; without it, a note names each of them that could not be read.
    """

    progress: Progress = lambda what, done, total: None
    on_status: Callable[[str, RunStatus, float | None], None] = lambda name, status, left: None
    on_note: Callable[[str], None] = lambda text: None
    on_index: Callable[[IndexReport], None] | None = None


class Pace:
    """Estimates the time left from the seconds that each method's questions took in this run.

    A method without a turn yet is assumed to be as fast as the average of the others.
    """

    def __init__(self, n_samples: Mapping[str, int], n_recorded: Mapping[str, int]) -> None:
        """`n_samples` counts the questions of each method, and `n_recorded` those that an earlier run answered."""
        self._n_samples = dict(n_samples)
        self._left = {name: max(0, n - n_recorded.get(name, 0)) for name, n in n_samples.items()}
        self._earlier = dict.fromkeys(n_samples, (0, 0.0))
        self._all = dict.fromkeys(n_samples, (0, 0.0))
        self._name = ""

    def begin(self, name: str) -> None:
        """Begins a turn of this method: the next statuses belong to it."""
        self._name = name
        self._earlier[name] = self._all[name]

    def seconds_left(self, status: RunStatus) -> float | None:
        """Seconds left for all methods and turns, from the status of the current one. None without an answer."""
        n, seconds = self._earlier[self._name]
        self._all[self._name] = (n + status.n_ok + status.n_failed, seconds + status.seconds)
        self._left[self._name] = self._n_samples[self._name] - status.n_done
        each = {name: seconds / n for name, (n, seconds) in self._all.items() if n}
        if not each:
            return None
        usual = sum(each.values()) / len(each)
        return sum(n * each.get(name, usual) for name, n in self._left.items())


@dataclass
class _MethodRun:
    """A method with its questions, its index (if its pipeline searches) and its run folder."""

    method: Method
    samples: list[Sample]
    index: Path | None
    folder: Path
    peak_mb: float | None = field(default=None)


def methods_of(configs: Sequence[PipelineConfig]) -> list[Method]:
    """The pipelines, named after their files. Raises ConfigError if two have the same name."""
    names = [Path(config.path).stem for config in configs]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two pipeline files are called '{name}': each needs its own name, for its own folder")
    return [Method(name, config) for name, config in zip(names, configs, strict=True)]


def evaluate(
    methods: Sequence[Method],
    data: DataSet,
    path: Path,
    output: Path,
    options: EvalOptions,
    listener: EvalListener = EvalListener(),
    docs: Sequence[str] = (),
) -> list[Measures]:
    """Answers the questions without a record, and measures the chosen questions.

    Pipelines that search use an index of the data set's documents, or of the files that `docs` names.

    Raises the errors of `run`. Answers so far are kept, and the next call resumes there.
    """
    for method in methods:
        method.config.generator.check()
    method_runs = [_prepare(method, data, output, options, listener, docs) for method in methods]
    pace = Pace(
        {method_run.method.name: len(method_run.samples) for method_run in method_runs},
        {method_run.method.name: n_records(method_run.folder) for method_run in method_runs},
    )
    n = max(len(method_run.samples) for method_run in method_runs)
    turns = 1 if options.update else max(1, min(options.turns, n // LEAST_IN_A_TURN))
    for turn in range(1, turns + 1):
        for method_run in method_runs:
            # Each turn gets a longer prefix of the samples. The run skips those that earlier turns have answered.
            _run(method_run, method_run.samples[: -(-n * turn // turns)], path, turn == 1, options, listener, pace)
    ids = {sample.question.id for sample in method_runs[0].samples}
    return [read_measures(method_run.folder, ids) for method_run in method_runs]


def _prepare(
    method: Method, data: DataSet, output: Path, options: EvalOptions, listener: EvalListener, docs: Sequence[str]
) -> _MethodRun:
    """Prepares a method. Its questions keep their documents if its pipeline reads them, or an index is made of them."""
    is_given = method.config.retriever is None or not method.config.searches_index
    index = None
    if is_given:
        items = data.items
        bare = next((item for item in items if not item.question.documents and not item.fault), None)
        if bare is not None:
            raise DataError(
                f"{data.name}: no documents come with question {bare.question.id}, and {method.config.path} takes "
                f"those ({stage_name(method.config.stages[0])}): search them instead, with retrieve.hybrid"
            )
    else:
        if docs:
            paths, items = list(docs), _found(data, docs)
        else:
            corpus = materialise(data, listener.progress)
            paths, items = [str(corpus.documents)], _moved(data, corpus)
        index = docs_folder(paths, method.config.index)
        report = update_index(index, paths, method.config.index, listener.progress)
        if docs and listener.on_index is not None:
            listener.on_index(report)
        else:
            for file, why in report.failed:
                listener.on_note(f"{method.name}: not in the index: {file}: {why}")
    samples = [Sample(item.question, {"gold": item.gold.to_json()}, item.fault) for item in items]
    return _MethodRun(method, chosen(samples, options.sample, options.seed, options.limit), index, output / method.name)


def _moved(data: DataSet, corpus: Corpus) -> tuple[DataItem, ...]:
    """The questions without documents. Their gold points into the files of the corpus."""
    wanted = {span.source for item in data.items for span in item.gold.supports or ()}
    documents = data.corpus() if wanted else ()
    shifts = {document.source: len(head(document)) for document in documents if document.source in wanted}

    def place(source: str) -> tuple[str, int]:
        return corpus.path_of(source).as_posix(), shifts.get(source, 0)

    return tuple(
        replace(item, question=replace(item.question, documents=()), gold=item.gold.moved(place)) for item in data.items
    )


def _found(data: DataSet, docs: Sequence[str]) -> tuple[DataItem, ...]:
    """The questions without documents. Their gold names the user's files, searched for below the paths."""
    from pipeline.documents.discover import discover

    files = [file.as_posix() for file in discover(docs).files]

    def place(source: str) -> tuple[str, int]:
        matching = [file for file in files if f"/{file}".endswith(f"/{source}")]
        if len(matching) != 1:
            count = f"{len(matching)} files are" if matching else "no file is"
            raise DataError(
                f"{data.name}: {count} called {source} below {', '.join(docs)}: name it by more of its path"
            )
        return matching[0], 0

    def known(gold: Gold) -> Gold:
        return replace(gold, supports=None).moved(place)  # the spans point into the questions' own documents

    return tuple(
        replace(item, question=replace(item.question, documents=()), gold=known(item.gold)) for item in data.items
    )


def _run(
    method_run: _MethodRun,
    samples: Sequence[Sample],
    path: Path,
    is_first: bool,
    options: EvalOptions,
    listener: EvalListener,
    pace: Pace,
) -> None:
    reset_peak()
    pace.begin(method_run.method.name)
    run(
        method_run.method.config,
        method_run.index,
        samples,
        method_run.folder,
        RunOptions(
            executor=options.executor,
            retry=options.retry,
            retry_errors=options.retry_errors and is_first,
            fail_on_error=options.fail_on_error,
            update=options.update and is_first,
            input=path,
            seed=options.seed if options.sample is not None else None,
            max_in_flight=options.max_in_flight,
        ),
        listener.progress,
        lambda status: listener.on_status(method_run.method.name, status, pace.seconds_left(status)),
        listener.on_note,
    )
    peaks = [mb for mb in (method_run.peak_mb, peak_mb()) if mb is not None]
    method_run.peak_mb = max(peaks, default=None)
    measures = with_checksum({"peak_memory_mb": method_run.peak_mb})
    write_whole(method_run.folder / MEASURES, json.dumps(measures))
