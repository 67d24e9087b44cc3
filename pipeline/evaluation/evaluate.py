"""Several pipelines on the same questions: each into its own run's folder, measured.

The pipelines take turns, a stretch of the questions each, so that a machine that slows down slows down for all. Within
one the questions are asked one after the other, because with several under way their seconds overlap.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from pipeline.config import PipelineConfig
from pipeline.contracts import Progress
from pipeline.docs_index import docs_folder, update_index
from pipeline.errors import ConfigError, DataError
from pipeline.evaluation.corpus import Corpus, head, materialise
from pipeline.evaluation.data.dataset import DataSet, Gold, Item
from pipeline.evaluation.memory import peak_mb, reset_peak
from pipeline.evaluation.runs import MEASURES, Measures, read_measures
from pipeline.executors.folder import n_records
from pipeline.executors.run import RunOptions, RunStatus, run
from pipeline.executors.samples import Sample, chosen
from pipeline.storage.checked_json import with_checksum
from pipeline.storage.whole import write_whole

LEAST_IN_A_TURN = 10


@dataclass(frozen=True)
class Arm:
    """One pipeline under its name, which is that of its folder."""

    name: str
    config: PipelineConfig


@dataclass(frozen=True)
class EvalOptions:
    """Which questions, and how they are run: `turns` is how often each pipeline is begun, the rest as in RunOptions."""

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
class Listener:
    """Who is told how far it is: of loading and indexing, of the questions of an arm, of what is worth a line.

    `on_status` is called with the arm's name, how far its turn is, and the seconds that are left for all arms and
    turns (None while nothing was answered).
    """

    progress: Progress = lambda what, done, total: None
    on_status: Callable[[str, RunStatus, float | None], None] = lambda name, status, left: None
    on_note: Callable[[str], None] = lambda text: None


class Pace:
    """What each arm's questions took so far in this run, and so how long all that are left will take.

    An arm that had no turn yet is taken to be as fast as the others are on average.
    """

    def __init__(self, n_samples: Mapping[str, int], n_recorded: Mapping[str, int]) -> None:
        """`n_samples` are the questions of each arm, `n_recorded` those that an earlier run has answered."""
        self._n_samples = dict(n_samples)
        self._left = {name: max(0, n - n_recorded.get(name, 0)) for name, n in n_samples.items()}
        self._earlier = dict.fromkeys(n_samples, (0, 0.0))
        self._all = dict.fromkeys(n_samples, (0, 0.0))
        self._name = ""

    def begin(self, name: str) -> None:
        """The next statuses are of a new turn of this arm."""
        self._name = name
        self._earlier[name] = self._all[name]

    def seconds_left(self, status: RunStatus) -> float | None:
        """Of all arms and turns, after this status of the arm at work; None while nothing was answered."""
        n, seconds = self._earlier[self._name]
        self._all[self._name] = (n + status.n_ok + status.n_failed, seconds + status.seconds)
        self._left[self._name] = self._n_samples[self._name] - status.n_done
        each = {name: seconds / n for name, (n, seconds) in self._all.items() if n}
        if not each:
            return None
        usual = sum(each.values()) / len(each)
        return sum(n * each.get(name, usual) for name, n in self._left.items())


@dataclass
class _Place:
    """Where an arm's questions are answered from."""

    arm: Arm
    samples: list[Sample]
    index: Path | None
    folder: Path
    peak_mb: float | None = field(default=None)


def arms_of(configs: Sequence[PipelineConfig]) -> list[Arm]:
    """The pipelines under the names of their files. Raises ConfigError where two have the same."""
    names = [Path(config.path).stem for config in configs]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two pipeline files are called '{name}': each needs its own name, for its own folder")
    return [Arm(name, config) for name, config in zip(names, configs, strict=True)]


def evaluate(
    arms: Sequence[Arm],
    data: DataSet,
    path: Path,
    output: Path,
    options: EvalOptions,
    listener: Listener = Listener(),
    docs: Sequence[str] = (),
) -> list[Measures]:
    """Answers what the folders have no record of yet, and measures the questions that were chosen.

    Pipelines that search have an index of the data set's documents, or of the files that `docs` names.

    Raises what `run` raises; what was answered until then is kept, and the next call goes on from there.
    """
    for arm in arms:
        arm.config.components[-1].check()
    places = [_place(arm, data, output, options, listener, docs) for arm in arms]
    pace = Pace(
        {place.arm.name: len(place.samples) for place in places},
        {place.arm.name: n_records(place.folder) for place in places},
    )
    n = max(len(place.samples) for place in places)
    turns = 1 if options.update else max(1, min(options.turns, n // LEAST_IN_A_TURN))
    for turn in range(1, turns + 1):
        for place in places:
            _run(place, place.samples[: -(-n * turn // turns)], path, turn == 1, options, listener, pace)
    ids = {sample.question.id for sample in places[0].samples}
    return [read_measures(place.folder, ids) for place in places]


def _place(
    arm: Arm, data: DataSet, output: Path, options: EvalOptions, listener: Listener, docs: Sequence[str]
) -> _Place:
    """The arm's questions, with documents if its pipeline takes those that come along, else with an index of them."""
    is_given = not getattr(arm.config.components[0], "searches_index", True)
    index = None
    if is_given:
        items = data.items
        bare = next((item for item in items if not item.question.documents and not item.fault), None)
        if bare is not None:
            raise DataError(
                f"{data.name}: no documents come with question {bare.question.id}, and {arm.config.path} takes those "
                f"({arm.config.stages[0].name}): search them instead, with retrieve.hybrid"
            )
    else:
        if docs:
            paths, items = list(docs), _found(data, docs)
        else:
            corpus = materialise(data, listener.progress)
            paths, items = [str(corpus.documents)], _moved(data, corpus)
        index = docs_folder(paths, arm.config.index)
        report = update_index(index, paths, arm.config.index, listener.progress)
        for file in report.failed:
            listener.on_note(f"{arm.name}: not in the index: {file[0]}: {file[1]}")
    samples = [Sample(item.question, {"gold": item.gold.to_json()}, item.fault) for item in items]
    return _Place(arm, chosen(samples, options.sample, options.seed, options.limit), index, output / arm.name)


def _moved(data: DataSet, corpus: Corpus) -> tuple[Item, ...]:
    """The questions without documents, and what is known of them where the documents' files are."""
    wanted = {span.source for item in data.items for span in item.gold.supports or ()}
    documents = data.corpus() if wanted else ()
    shifts = {document.source: len(head(document)) for document in documents if document.source in wanted}

    def place(source: str) -> tuple[str, int]:
        return corpus.path_of(source).as_posix(), shifts.get(source, 0)

    return tuple(
        replace(item, question=replace(item.question, documents=()), gold=item.gold.moved(place)) for item in data.items
    )


def _found(data: DataSet, docs: Sequence[str]) -> tuple[Item, ...]:
    """The questions without documents, and the files that are known to answer them, found below the paths."""
    from pipeline.documents.discover import discover

    files = [file.as_posix() for file in discover(docs).files]

    def place(source: str) -> tuple[str, int]:
        matching = [file for file in files if f"/{file}".endswith(f"/{source}")]
        if len(matching) != 1:
            said = f"{len(matching)} files are" if matching else "no file is"
            raise DataError(f"{data.name}: {said} called {source} below {', '.join(docs)}: name it by more of its path")
        return matching[0], 0

    def known(gold: Gold) -> Gold:
        return replace(gold, supports=None).moved(place)  # spans are of documents that come along

    return tuple(
        replace(item, question=replace(item.question, documents=()), gold=known(item.gold)) for item in data.items
    )


def _run(
    place: _Place,
    samples: Sequence[Sample],
    path: Path,
    is_first: bool,
    options: EvalOptions,
    listener: Listener,
    pace: Pace,
) -> None:
    reset_peak()
    pace.begin(place.arm.name)
    run(
        place.arm.config,
        place.index,
        samples,
        place.folder,
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
        lambda status: listener.on_status(place.arm.name, status, pace.seconds_left(status)),
        listener.on_note,
    )
    peaks = [mb for mb in (place.peak_mb, peak_mb()) if mb is not None]
    place.peak_mb = max(peaks, default=None)
    measures = with_checksum({"peak_memory_mb": place.peak_mb})
    write_whole(place.folder / MEASURES, json.dumps(measures))
