"""`longthread compare`: the differences between runs, question by question."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from cli.command import command, new_app
from cli.exit_codes import EXIT_ERROR
from cli.options import Json, Seed
from cli.output import print_json
from cli.tables import print_about, print_report, print_written
from pipeline.errors import ConfigError
from pipeline.evaluation.compare import check_names, compare
from pipeline.evaluation.report.folder import Report, runs_in
from pipeline.evaluation.runs import read_all

app = new_app()


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """The options of `longthread compare`."""

    folders: Annotated[
        tuple[str, ...],
        typer.Argument(
            metavar="DIR...",
            help="Folders of runs, or of an eval. The others are compared with the first.",
            show_default=False,
        ),
    ]
    allow: Annotated[
        tuple[str, ...],
        typer.Option("--allow", metavar="WHAT", help="Let questions, models or indexes differ. May be repeated."),
    ] = ()
    metrics: Annotated[
        tuple[str, ...], typer.Option("--metric", metavar="METRIC", help="Only this metric. May be repeated.")
    ] = ()
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="DIR", help="A folder for a report of these runs.")
    ] = None
    seed: Seed = 0
    json: Json = False


@command(app, "compare", "longthread compare results", "longthread compare results/default results/exit --metric f1")
def compare_runs(options: CompareOptions) -> int:
    """Compare runs question by question: the differences, their intervals, and a verdict in words."""
    check_names(options.allow, options.metrics)
    paths, about = runs_in(options.folders)
    runs = read_all(paths)
    if len(runs) < 2:
        raise ConfigError("a comparison needs at least two runs: name two folders, or the folder of an eval of several")
    comparison = compare(runs, options.allow, options.metrics or None, options.seed)
    if options.output is None:
        report = Report(runs, comparison, seed=options.seed)
        if options.json:
            print_json(report.to_dict())
        else:
            print_report(report)
        return 0
    metric = options.metrics[0] if options.metrics else None
    report = Report(runs, compare(runs, options.allow, None, options.seed), about, metric, options.seed)
    written, no_picture = report.write(Path(options.output))
    if options.json:
        print_json(report.to_dict())
    else:
        print_report(report)
        print_written(written)
    if no_picture:
        print_about([f"No picture: {no_picture}"], is_error=True)
    return EXIT_ERROR if any(run.n_failed for run in runs) else 0
