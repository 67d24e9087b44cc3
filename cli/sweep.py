"""`longthread sweep`: every combination of some settings, and which of them nothing beats."""

from __future__ import annotations

import json as json_module
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from cli.errors import EXIT_ERROR
from cli.evaluate import ABOUT, interval_of, listener_of, number
from cli.output import SafeConsole, print_json
from cli.printing import table
from cli.progress import Display, RunDisplay
from cli.run import executor_of, most_errors, resume_command
from pipeline.errors import LongthreadError
from pipeline.evaluation.data.kinds import read_data
from pipeline.evaluation.evaluate import EvalOptions
from pipeline.evaluation.metrics import BY_NAME
from pipeline.evaluation.report.plots import COSTS
from pipeline.evaluation.runs import summary, write_rows
from pipeline.evaluation.sweep import PIPELINES, Point, run_sweep
from pipeline.evaluation.sweep_file import Sweep, load_sweep
from pipeline.storage.whole import write_whole


def run(
    path: str,
    output: str,
    turns: int,
    executor: str | None,
    retry: int,
    fail_on_error: str | None,
    update: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    sweep = load_sweep(path)
    kind = executor_of(executor)
    options = EvalOptions(
        turns=turns if kind != "ray" else 1,
        executor=kind,
        max_in_flight=1 if kind != "ray" else None,
        retry=retry,
        fail_on_error=most_errors(fail_on_error),
        update=update,
    )
    data = read_data(sweep.settings.kind, sweep.data)
    with Display(quiet) as display, RunDisplay(quiet) as status:
        try:
            points = run_sweep(sweep, data, Path(output), options, listener_of(display, status, "for this round"))
        except (KeyboardInterrupt, LongthreadError, OSError):
            display.stop()
            status.stop()
            go_on = f"What was answered is kept. To go on: {resume_command(failed=False)}"
            SafeConsole(is_error=True).print(go_on, highlight=False, markup=False, soft_wrap=True)
            raise
    finalists = [point.measures.name for point in points if point.is_finalist]
    about = [f"the finalists of {Path(path).name}, on {data.name} ({sweep.settings.kind})"]
    write_whole(Path(output, ABOUT), json_module.dumps({"pipelines": finalists, "about": about}))
    write_whole(Path(output, "sweep.json"), json_module.dumps(_json(points, sweep), indent=1))
    for point in points:
        write_rows(point.measures)
    if as_json:
        print_json(_json(points, sweep))
    else:
        _print(points, sweep, Path(output))
    return EXIT_ERROR if any(point.measures.n_failed for point in points) else 0


def _json(points: Sequence[Point], sweep: Sweep) -> dict[str, Any]:
    metric = sweep.settings.metric
    return {
        "metric": metric,
        "variants": [
            {
                "chosen": dict(point.variant.chosen),
                "is_finalist": point.is_finalist,
                "is_front": point.is_front,
                metric: point.quality,
                **dict(zip(COSTS, point.costs, strict=True)),
                **summary(point.measures, sweep.settings.seed),
            }
            for point in points
        ],
    }


def _print(points: Sequence[Point], sweep: Sweep, output: Path) -> None:
    console = SafeConsole()
    metric, seed = sweep.settings.metric, sweep.settings.seed
    rows = []
    for point in points:
        means = [point.measures.interval(name, seed) for name in (metric, *COSTS)]
        cells = [f"{number(one.mean)} ({interval_of(one)})" for one in means if one is not None]
        said = "front" if point.is_front else "" if point.is_finalist else "left out early"
        rows.append((said, point.measures.name, *cells, str(len(point.measures.rows))))
    titles = [BY_NAME[name].title for name in (metric, *COSTS)]
    console.print()
    console.print(table(f"{BY_NAME[metric].title} against seconds and tokens", ("", "variant", *titles, "n"), rows))
    n_front = sum(point.is_front for point in points)
    console.print(
        Text(
            f"{n_front} on the front: by their means nothing is as good in all three and better in one. Whether two of "
            f"them differ: longthread compare {output} --allow indexes",
            style="dim",
        ),
        soft_wrap=True,
    )
    console.print(Text(f"each as a pipeline file: {output / PIPELINES}", style="dim"), soft_wrap=True)
