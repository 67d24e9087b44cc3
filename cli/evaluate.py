"""`longthread eval` and `longthread compare`: pipelines on questions whose answers are known, and what may be said."""

from __future__ import annotations

import json as json_module
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from cli.errors import EXIT_ERROR
from cli.output import SafeConsole, print_json
from cli.printing import table
from cli.progress import Display, RunDisplay, duration
from cli.run import executor_of, most_errors, resume_command
from pipeline.default import default_config, with_model
from pipeline.errors import ConfigError, DataError, LongthreadError, MissingExtraError
from pipeline.evaluation.compare import MAY_DIFFER, Difference, RunComparison, as_json, check_names, compare
from pipeline.evaluation.data.kinds import read_data
from pipeline.evaluation.evaluate import EvalOptions, Listener, evaluate, methods_of
from pipeline.evaluation.metrics import BY_NAME
from pipeline.evaluation.report.page import write_page
from pipeline.evaluation.report.plots import COSTS, picture, quality_of
from pipeline.evaluation.runs import Measures, read_all, summary, write_rows
from pipeline.evaluation.statistics import Interval
from pipeline.executors.folder import RUN
from pipeline.storage.whole import write_whole

ABOUT = "eval.json"
PAGE = "report.html"
PICTURE = "report.png"
_TOLD = ("support_recall", "answerability")


def run(
    pipelines: Sequence[str],
    data_path: str,
    kind: str,
    output: str,
    docs: Sequence[str],
    model: str | None,
    limit: int | None,
    sample: int | None,
    seed: int,
    turns: int,
    executor: str | None,
    retry: int,
    retry_errors: bool,
    fail_on_error: str | None,
    update: bool,
    metric: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    configs = [default_config(path) for path in pipelines]
    methods = methods_of([with_model(config, model) if model else config for config in configs])
    check_names((), [metric] if metric else None)
    kind_of_executor = executor_of(executor)
    options = EvalOptions(
        limit=limit,
        sample=sample,
        seed=seed,
        turns=turns if kind_of_executor != "ray" else 1,
        executor=kind_of_executor,
        max_in_flight=1 if kind_of_executor != "ray" else None,
        retry=retry,
        retry_errors=retry_errors,
        fail_on_error=most_errors(fail_on_error),
        update=update,
    )
    data = read_data(kind, data_path)
    console = SafeConsole(is_error=True)
    with Display(quiet) as display, RunDisplay(quiet) as status:
        try:
            found = evaluate(methods, data, Path(data_path), Path(output), options, listener_of(display, status), docs)
        except (KeyboardInterrupt, LongthreadError, OSError):
            display.stop()
            status.stop()
            console.print(f"What was answered is kept. To go on: {resume_command(failed=False)}", highlight=False)
            raise
    about = [
        f"{data.name} ({kind}): {len(found[0].rows)} questions"
        + (f", drawn with seed {seed}" if sample is not None else "")
        + "".join(f"; {note}" for note in data.notes),
        *_machine(found[0]),
    ]
    write_whole(Path(output, ABOUT), json_module.dumps({"pipelines": [run.name for run in found], "about": about}))
    for one in found:
        write_rows(one)
    return _report(found, MAY_DIFFER, Path(output), about, metric, seed, as_json, is_brief=True)


def listener_of(display: Display, status: RunDisplay, of: str = "for all pipelines") -> Listener:
    """Shows each pipeline's turn, and the time left `of` them all."""
    show = status.over(display)
    current = [""]

    def on_status(name: str, found: Any, left: float | None) -> None:
        if name != current[0]:
            current[0] = status.name = name
            status.stop()
            display(name, 0, 0)
        status.also = "" if left is None else f"{duration(left)} {of}"
        show(found)

    def on_note(text: str) -> None:
        display.stop()
        status.note(text)

    return Listener(display, on_status, on_note)


def run_compare(
    folders: Sequence[str],
    allow: Sequence[str],
    metrics: Sequence[str],
    output: str | None,
    seed: int,
    as_json: bool,
) -> int:
    check_names(allow, metrics)
    paths, about = _runs_in(folders)
    found = read_all(paths)
    if len(found) < 2:
        raise ConfigError("a comparison needs at least two runs: name two folders, or the folder of an eval of several")
    comparison = compare(found, allow, metrics or None, seed)
    if output is not None:
        return _report(
            found, allow, Path(output), about, metrics[0] if metrics else None, seed, as_json, is_brief=False
        )
    if as_json:
        _print_json(found, comparison, seed)
    else:
        _print(found, comparison, comparison.differences, seed)
    return 0


def _runs_in(folders: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The folders that hold a run; in the place of an eval's own folder those of its pipelines, in its order."""
    paths: list[Path] = []
    about: list[str] = []
    for folder in map(Path, folders):
        if (folder / RUN).is_file():
            paths.append(folder)
            continue
        try:
            said = json_module.loads((folder / ABOUT).read_text("utf-8"))
            paths += [folder / name for name in said["pipelines"]]
            about += said["about"]
        except (OSError, ValueError, KeyError, TypeError):
            raise DataError(
                f"{folder}: there is no run in this folder, and no eval ({RUN} and {ABOUT} are missing)"
            ) from None
    return paths, about


def _report(
    found: Sequence[Measures],
    allow: Sequence[str],
    output: Path,
    about: Sequence[str],
    metric: str | None,
    seed: int,
    as_json: bool,
    is_brief: bool,
) -> int:
    """Writes page, picture and numbers into a folder, and prints the tables."""
    comparison = compare(found, allow, None, seed) if len(found) > 1 else None
    output.mkdir(parents=True, exist_ok=True)
    title = f"{', '.join(one.name for one in found[:4])}{' ...' if len(found) > 4 else ''}"
    write_page(output / PAGE, found, comparison, title, about, metric, seed)
    written = [output / PAGE]
    try:
        if drawn := picture(found, metric, seed):
            write_whole(output / PICTURE, drawn)
            written.append(output / PICTURE)
    except MissingExtraError as error:
        SafeConsole(is_error=True).print(f"No picture: {error}", highlight=False, markup=False)
    write_whole(output / "summary.json", json_module.dumps(_json(found, comparison, seed), indent=1))
    if as_json:
        _print_json(found, comparison, seed)
    else:
        differences = comparison.differences if comparison else ()
        names = {quality_of(found, metric), *_TOLD, *COSTS}
        told = [d for d in differences if d.metric.name in names] if is_brief else differences
        console = SafeConsole()
        for line in about:
            console.print(Text(line, style="dim"))
        _print(found, comparison, told, seed)
        if len(told) < len(differences):
            console.print(Text(f"longthread compare {output} has the differences of all metrics", style="dim"))
        for path in written:
            console.print(Text(f"written: {path}", style="dim"))
    return EXIT_ERROR if any(one.n_failed for one in found) else 0


def _json(found: Sequence[Measures], comparison: RunComparison | None, seed: int) -> dict[str, Any]:
    return {
        "runs": [summary(one, seed) for one in found],
        "comparison": as_json(comparison) if comparison else None,
    }


def _print_json(found: Sequence[Measures], comparison: RunComparison | None, seed: int) -> None:
    print_json(_json(found, comparison, seed))


def _print(
    found: Sequence[Measures], comparison: RunComparison | None, differences: Sequence[Difference], seed: int
) -> None:
    console = SafeConsole()
    console.print()
    console.print(_means(found, seed))
    for one in found:
        for line in _missing(one):
            console.print(Text(line, style="dim"))
    if comparison is None:
        return
    for note in comparison.notes:
        console.print(Text(note, style="yellow"))
    console.print()
    sizes = {d.paired.difference.n for d in differences}
    n = f" (n {min(sizes)})" if len(sizes) == 1 else ""
    rows = [
        (
            d.metric.title,
            d.second,
            f"{number(d.paired.difference.mean)} ({interval_of(d.paired.difference)})",
            f"{d.paired.wins}/{d.paired.losses}/{d.paired.ties}",
            *([] if n else [str(d.paired.difference.n)]),
            d.verdict,
            d.p_words,
        )
        for d in differences
    ]
    columns = ("metric", "pipeline", "difference", "better/worse/same", *([] if n else ["n"]), "in words", "p")
    console.print(table(f"Against {found[0].name}, question by question{n}", columns, rows))
    corrected = max(d.n_comparisons for d in differences) if differences else 1
    if corrected > 1:
        console.print(Text(f"p: by permutation, corrected for {corrected} comparisons (Holm)", style="dim"))


def _means(found: Sequence[Measures], seed: int) -> Any:
    """One row a metric, one column a run: mean, interval; n where it is not the number of questions."""
    metrics = list(dict.fromkeys(metric for one in found for metric in one.metrics))
    rows = []
    for metric in metrics:
        cells = [metric.title]
        for one in found:
            interval = one.interval(metric.name, seed)
            cells.append(
                "none"
                if interval is None
                else f"{number(interval.mean)} ({interval_of(interval)})"
                + ("" if interval.n == len(one.rows) else f" n {interval.n}")
            )
        rows.append(cells)
    peaks = ["unknown" if one.peak_memory_mb is None else f"{one.peak_memory_mb:.0f}" for one in found]
    rows.append(["peak memory MB", *peaks])
    rows.append(["failed", *(f"{one.n_failed} of {len(one.rows)}" for one in found)])
    sizes = {len(one.rows) for one in found}
    n = f" (n {min(sizes)})" if len(sizes) == 1 else ""
    return table(f"Means, with 95 % intervals{n}", ("metric", *(one.name for one in found)), rows)


def _missing(one: Measures) -> list[str]:
    """What has no value, and why: the first reason of each metric."""
    lines: dict[str, list[str]] = {}
    for name, metric in summary(one)["metrics"].items():
        for why, n in metric["missing"].items():
            lines.setdefault(f"{n} of {len(one.rows)} have no value, because {why}", []).append(BY_NAME[name].title)
    return [f"{one.name}: {', '.join(names)}: {why}" for why, names in lines.items()]


def number(value: float) -> str:
    """Three or four digits that tell."""
    size = abs(value)
    return f"{value:.0f}" if size >= 1000 else f"{value:.1f}" if size >= 100 else f"{value:.3f}"


def interval_of(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return "no interval"
    return f"{number(interval.low)} to {number(interval.high)}"


def _machine(one: Measures) -> list[str]:
    """Model and machine, as the run's file has them."""
    about = one.about
    machine = about.get("machine") or {}
    said = [f"model {one.model_name}"]
    if isinstance(machine, dict) and machine.get("processor"):
        said.append(str(machine["processor"]))
    said += [f"longthread {about.get('version')}", f"begun {about.get('started')}"]
    return [", ".join(said)]
