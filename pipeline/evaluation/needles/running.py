"""Runs a grid by one method into a folder, and reads the results from the folder.

OUT/needles.json      grid, method, tokens of each cell: enough to make all trials again
OUT/texts/            the texts, if the method searches an index of them, and OUT/index/
OUT/run/              run.json and records.jsonl: every reply with its ledger; an interrupted run resumes here
OUT/scores.jsonl      one line per reply
OUT/results.json      one entry per cell; beside it the pictures and the page
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.config import PipelineConfig
from pipeline.contracts import Model, Progress
from pipeline.errors import ConfigError, DataError, RunError, WindowError
from pipeline.evaluation.needles.grid import NeedleCell, NeedleGrid
from pipeline.evaluation.needles.methods import MAX_TOKENS, NeedleMethod, with_reader
from pipeline.evaluation.needles.reading import ReadingExecutor
from pipeline.evaluation.needles.scoring import FAULTS, Score, score
from pipeline.evaluation.needles.trials import NeedleTrial
from pipeline.evaluation.statistics import Interval, wilson
from pipeline.executors.folder import read_run
from pipeline.executors.run import RunOptions, RunStatus, run
from pipeline.executors.samples import Sample
from pipeline.executors.tasks import Executor
from pipeline.listener import Listener
from pipeline.pipeline import Pipeline
from pipeline.records import Record
from pipeline.registry import kind_of
from pipeline.storage.checked_json import read_object, with_checksum
from pipeline.storage.whole import write_whole
from pipeline.types import Document, Question

PLAN, TEXTS, INDEX, RUN, SCORES, RESULTS = "needles.json", "texts", "index", "run", "scores.jsonl", "results.json"
MEMORY = "memory"
FORMAT = 2
_METHOD_IN_1 = "arm"
"""The key of the method in format 1, which is read as well."""
_TOKENS_PER_ANSWER = 60


@dataclass(frozen=True)
class CellResult:
    """The results of one cell.

    `tokens` counts the longest text in the reader's tokens. `accuracy` is strict, with Wilson's 95 % interval. `found`
    is the mean share of the answers in a reply. `faults` counts the wrong replies by kind. `s_per_question` is the time
    in which questions of the cell were being answered, divided by their number.
    """

    cell: NeedleCell
    tokens: int
    n: int
    n_failed: int
    accuracy: Interval
    tolerant: Interval
    begins: float
    found: float
    f1: float
    faults: dict[str, int]
    s_per_question: float
    prompt_tokens: float

    def to_dict(self) -> dict[str, object]:
        """The cell's entry in results.json."""
        return {
            **self.cell.to_dict(),
            "tokens": self.tokens,
            "n": self.n,
            "n_failed": self.n_failed,
            "accuracy": round(self.accuracy.mean, 4),
            "accuracy_low": _rounded(self.accuracy.low),
            "accuracy_high": _rounded(self.accuracy.high),
            "tolerant": round(self.tolerant.mean, 4),
            "tolerant_low": _rounded(self.tolerant.low),
            "tolerant_high": _rounded(self.tolerant.high),
            "begins": round(self.begins, 4),
            "found": round(self.found, 4),
            "f1": round(self.f1, 4),
            **{fault: self.faults.get(fault, 0) for fault in FAULTS},
            "s_per_question": round(self.s_per_question, 3),
            "prompt_tokens": round(self.prompt_tokens, 1),
        }


@dataclass(frozen=True)
class Results:
    """A run read from its folder. `cells` are the results of the cells that have replies.

    `depths` are (cell, depth, tolerant hits, n), for trials with a depth. `n_missing` counts trials without a reply.
    """

    folder: Path
    grid: NeedleGrid
    method: str
    model: str
    cells: tuple[CellResult, ...]
    depths: tuple[tuple[NeedleCell, float, int, int], ...]
    n_missing: int


def run_grid(
    grid: NeedleGrid,
    method: NeedleMethod,
    folder: Path,
    progress: Progress,
    on_status: Callable[[RunStatus], None],
    on_note: Callable[[str], None],
    executor: str | None = None,
    max_in_flight: int | None = None,
) -> Results:
    """Asks every trial that has no reply in the folder, and gives the results of all.

    Raises WindowError, with the numbers and before the first question, if the method reads whole texts and one does not
    fit. Raises RunError for a folder of another grid.
    """
    cells = grid.cells()
    trials = {cell: grid.trials(cell) for cell in cells}
    config = _with_room(method.config, trials)
    _check_plan(folder, grid, method.name, config)
    tokens, model = _measure(config, method, trials, progress)
    _write_plan(folder, grid, method.name, model, config, tokens)
    index = None
    if method.given == "index":
        index = folder / INDEX
        _index(folder, [trial for cell_trials in trials.values() for trial in cell_trials], config, progress)
    samples = [_sample(trial, method, folder) for cell_trials in trials.values() for trial in cell_trials]
    options = RunOptions(executor=executor, max_in_flight=max_in_flight)  # type: ignore[arg-type]
    make = _reading(config, trials, folder, executor, progress) if method.given == "memory" else None
    options = replace(options, make_executor=make)
    run(config, index, samples, folder / RUN, options, progress, on_status, on_note)
    return read_results(folder)


def _with_room(config: PipelineConfig, trials: dict[NeedleCell, list[NeedleTrial]]) -> PipelineConfig:
    """Raises the pipeline's `max_tokens` to what the longest list of answers takes."""
    max_answers = max((len(trial.expected) for cell_trials in trials.values() for trial in cell_trials), default=1)
    needed = _TOKENS_PER_ANSWER * max_answers
    reserve = config.generator.max_tokens
    return with_reader(config, {"max_tokens": max(MAX_TOKENS, needed)}) if needed > reserve else config


def _measure(
    config: PipelineConfig, method: NeedleMethod, trials: dict[NeedleCell, list[NeedleTrial]], progress: Progress
) -> tuple[dict[NeedleCell, int], str]:
    """The tokens of the longest text of each cell, and the model's name. WindowError for texts that cannot fit."""
    tokens: dict[NeedleCell, int] = {}
    too_long: list[str] = []
    with Pipeline(config, Path("no index"), Listener(progress)) as pipeline:
        reader = pipeline.reader
        for number, (cell, cell_trials) in enumerate(trials.items(), 1):
            longest = max(cell_trials, key=lambda trial: len(trial.haystack))
            tokens[cell] = reader.count_text(longest.haystack)
            if method.given == "haystack" and _is_whole(config):
                prompt = tokens[cell] + reader.count_text(longest.question)
                if prompt + pipeline.reserve > pipeline.window:
                    too_long.append(f"{cell.row} at {cell.pairs} pairs ({len(longest.haystack)} characters): {prompt}")
            progress("count tokens", number, len(trials))
        if too_long:
            raise WindowError(_refusal(too_long, pipeline))
        return tokens, reader.name


def _is_whole(config: PipelineConfig) -> bool:
    """Whether the reader gets the whole text: no stage compresses it."""
    return all(kind_of(stage) != "compress" for stage in config.stages)


def _refusal(too_long: Sequence[str], pipeline: Pipeline) -> str:
    window, reserve = pipeline.window, pipeline.reserve
    listed = "\n".join(f"  {line} tokens" for line in too_long)
    trained = getattr(getattr(pipeline.reader, "resolved", None), "n_ctx_trained", None)
    context = f" (the model was trained on {trained})" if trained else ""
    return (
        f"{len(too_long)} cells do not fit the window of {pipeline.reader.name}: it holds {window} tokens{context}, of "
        f"which {reserve} are kept for the answer:\n{listed}\n"
        "Take smaller `pairs`, raise `n_ctx`, or go beyond the trained context with `rope` scaling"
    )


def _check_plan(folder: Path, grid: NeedleGrid, method: str, config: PipelineConfig) -> None:
    if not (folder / PLAN).exists():
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        if any(not name.startswith(f".{PLAN}.") for name in names):  # such files are left by an interrupted write
            raise RunError(f"{folder}: holds no needle run, but other files: name a folder that is new or empty")
        return
    try:
        before = _read_plan(folder)
    except _DamagedPlanError:  # the plan is written again; records of another grid have other keys, so none is reused
        return
    now = {"grid": json.loads(json.dumps(grid.to_dict())), "method": method, "config_hash": config.hash}
    other = [name for name, value in now.items() if before.get(name) != value]
    if other:
        raise RunError(
            f"{folder}: holds a run of another {', another '.join(other)}: name another `output` folder, or repeat the "
            "command that began it"
        )


def _write_plan(
    folder: Path, grid: NeedleGrid, method: str, model: str, config: PipelineConfig, tokens: dict[NeedleCell, int]
) -> None:
    from pipeline.storage.files import write_json

    listed = [{**cell.to_dict(), "tokens": n} for cell, n in tokens.items()]
    about = {"grid": grid.to_dict(), "method": method, "model": model, "config_hash": config.hash, "cells": listed}
    write_json(folder / PLAN, with_checksum({"format": FORMAT, **about}))


class _DamagedPlanError(DataError):
    """An unreadable plan. Repeating the command replaces it."""


def _read_plan(folder: Path) -> dict[str, Any]:
    try:
        plan = read_object(folder / PLAN)
    except FileNotFoundError:
        raise DataError(f"{folder}: there is no needle run in this folder ({PLAN} is missing)") from None
    except (OSError, ValueError) as error:
        raise _DamagedPlanError(
            f"{folder / PLAN}: cannot be read: {error}: repeat the command that began it, and it is written again"
        ) from None
    if plan.get("format") == 1 and _METHOD_IN_1 in plan:
        plan["method"] = plan.pop(_METHOD_IN_1)
    elif plan.get("format") != FORMAT:
        raise DataError(f"{folder / PLAN}: is no needle run of this longthread (format {FORMAT})")
    return plan


def _index(folder: Path, trials: Sequence[NeedleTrial], config: PipelineConfig, progress: Progress) -> None:
    from pipeline.docs_index import update_index

    texts = folder / TEXTS
    texts.mkdir(parents=True, exist_ok=True)
    for trial in trials:
        path = texts / trial.haystack_name
        if not path.exists():
            write_whole(path, trial.haystack)
    report = update_index(folder / INDEX, [str(texts)], config.index, progress)
    if report.failed:
        raise DataError("\n".join(f"{path}: {why}" for path, why in report.failed))


def _reading(
    config: PipelineConfig,
    trials: dict[NeedleCell, list[NeedleTrial]],
    folder: Path,
    executor: str | None,
    progress: Progress,
) -> Callable[[], Executor]:
    if executor == "ray":
        raise ConfigError("a memory has one writer: the method memory runs with the `executor` local")
    texts = {trial.haystack_name: trial.haystack for cell_trials in trials.values() for trial in cell_trials}
    return lambda: ReadingExecutor(Pipeline(config, Path("no index"), Listener(progress)), texts, folder / MEMORY)


def _sample(trial: NeedleTrial, method: NeedleMethod, folder: Path) -> Sample:
    if method.given == "index":
        glob = f"{(folder / TEXTS).resolve().as_posix()}/{trial.haystack_name}"
        return Sample(Question(trial.question, trial.id, glob=_literal(glob)), trial.fields)
    if method.given == "memory":
        return Sample(Question(trial.question, trial.id), trial.fields)
    text = trial.haystack if method.given == "haystack" else trial.needles
    document = Document(trial.haystack_name, text)
    return Sample(Question(trial.question, trial.id, documents=(document,)), trial.fields)


def _literal(path: str) -> str:
    """Escapes a path as a glob that matches only this path."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in path)


def read_results(folder: Path, write: bool = True) -> Results:
    """Scores all replies so far. With `write`, writes the scores and results into the folder."""
    plan = _read_plan(folder)
    fields: dict[str, Any] = plan["grid"]
    settings: Any = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    grid = NeedleGrid(**settings)
    tokens = {_key(fields): int(fields["tokens"]) for fields in plan["cells"]}
    replies = {record.id: record for record in read_run(folder / RUN).records}
    cells, depths, lines, n_missing = [], [], [], 0
    for cell in grid.cells():
        cell_trials = grid.trials(cell)
        scored = []
        for trial in cell_trials:
            record = replies.get(trial.id)
            n_missing += record is None
            if record is not None:
                scored.append((trial, record, _scored(trial, record)))
        lines += [_line(trial, record, result) for trial, record, result in scored]
        for label in dict.fromkeys(trial.label for trial, _, _ in scored):
            part = [entry for entry in scored if entry[0].label == label]
            named = cell if label == cell.task.name else replace(cell, label=label)
            cells.append(_result(named, tokens.get(_key(cell.to_dict()), 0), part))
            depths += _by_depth(named, part)
    results = Results(folder, grid, plan["method"], plan["model"], tuple(cells), tuple(depths), n_missing)
    if write:
        _write(results, lines)
    return results


def _key(fields: Mapping[str, object]) -> str:
    return json.dumps({name: value for name, value in fields.items() if name != "tokens"}, sort_keys=True)


def _scored(trial: NeedleTrial, record: Record) -> Score | None:
    if record.error is not None:
        return None
    return score(record.answer or "", record.fields, trial.strays or None)


Scored = tuple[NeedleTrial, Record, Score | None]


def _result(cell: NeedleCell, tokens: int, scored: Sequence[Scored]) -> CellResult:
    """Aggregates a cell. A failed sample counts as wrong."""
    n = len(scored)
    scores = [result for _, _, result in scored if result is not None]
    generations = [record.result.ledger.generation for _, record, _ in scored if record.result]
    prompts = [generation.prompt_tokens for generation in generations if generation]
    return CellResult(
        cell=cell,
        tokens=tokens,
        n=n,
        n_failed=n - len(scores),
        accuracy=wilson(sum(result.strict for result in scores), n),
        tolerant=wilson(sum(result.tolerant for result in scores), n),
        begins=sum(result.begins for result in scores) / n,
        found=sum(result.found for result in scores) / n,
        f1=sum(result.f1 for result in scores) / n,
        faults={fault: sum(result.fault == fault for result in scores) for fault in FAULTS},
        s_per_question=_busy_s([record for _, record, _ in scored]) / n,
        prompt_tokens=sum(prompts) / len(prompts) if prompts else 0.0,
    )


def _busy_s(records: Sequence[Record]) -> float:
    """Seconds in which at least one question was being answered. Questions may overlap."""
    total, until = 0.0, float("-inf")
    begins = sorted((datetime.fromisoformat(record.started).timestamp(), record.seconds) for record in records)
    for start, seconds in begins:
        end = start + seconds
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


def _by_depth(cell: NeedleCell, scored: Sequence[Scored]) -> list[tuple[NeedleCell, float, int, int]]:
    depths: dict[float, list[bool]] = {}
    for trial, _, result in scored:
        if trial.depth is not None:
            depths.setdefault(round(trial.depth, 1), []).append(result is not None and result.tolerant)
    return [(cell, depth, sum(hits), len(hits)) for depth, hits in sorted(depths.items())]


def _line(trial: NeedleTrial, record: Record, result: Score | None) -> dict[str, object]:
    return {
        "id": trial.id,
        **dict(trial.cell),
        "depth": trial.depth,
        "expected": list(trial.expected),
        "reply": None if result is None else record.answer,
        "error": record.error and record.error.to_dict(),
        "score": None if result is None else asdict(result),
        "seconds": record.seconds,
    }


def _write(results: Results, lines: Sequence[Mapping[str, object]]) -> None:
    from pipeline.storage.files import write_json

    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_whole(results.folder / SCORES, text)
    cells = [cell.to_dict() for cell in results.cells]
    about = {"method": results.method, "model": results.model, "n_missing": results.n_missing}
    write_json(results.folder / RESULTS, {**about, "cells": cells})


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def sizes_of(grid: NeedleGrid, tokens: Sequence[int], reader: Model) -> NeedleGrid:
    """The grid with, for each of `tokens`, the largest size of at most that many reader tokens.

    Extrapolates from a small text of the grid's first task.
    """
    small = replace(grid, pairs=(max(40, *grid.lengths, *grid.needles),), n=1)
    trial = small.trials(small.cells()[0])[0]
    each = reader.count_text(trial.haystack) / small.pairs[0]
    return replace(grid, pairs=tuple(dict.fromkeys(max(1, int(n / each)) for n in tokens)))
