"""`longthread sweep`: every combination of some settings, and the Pareto front among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from cli.batches import UnreadDocuments, eval_options, listener_of, resumable
from cli.command import command, new_app
from cli.exit_codes import EXIT_ERROR
from cli.options import BatchOptions, Json, OutputFolder, Quiet, Turns
from cli.output import SafeConsole, print_json
from cli.printing import table
from cli.progress import Display
from cli.tables import interval_text, number
from pipeline.evaluation.data.kinds import read_data
from pipeline.evaluation.metrics import BY_NAME
from pipeline.evaluation.report.folder import write_about
from pipeline.evaluation.report.plots import COSTS
from pipeline.evaluation.runs import write_rows
from pipeline.evaluation.sweep import PIPELINES, Point, run_sweep, sweep_to_dict, write_sweep
from pipeline.evaluation.sweep_file import Sweep, load_sweep

app = new_app()


@dataclass(frozen=True, kw_only=True)
class SweepOptions(BatchOptions):
    """The options of `longthread sweep`."""

    file: Annotated[
        str,
        typer.Argument(
            metavar="SWEEP", help="A sweep file: a pipeline, questions, and lists of values.", show_default=False
        ),
    ]
    output: OutputFolder
    turns: Turns = 4
    json: Json = False
    quiet: Quiet = False


@command(app, "sweep", "longthread sweep sweep.yaml -o results")
def sweep(options: SweepOptions) -> int:
    """Run every combination of some settings, and show those on the Pareto front of quality, seconds and tokens."""
    plan = load_sweep(options.file)
    settings = eval_options(options, options.turns)
    data = read_data(plan.settings.kind, plan.data)
    output = Path(options.output)
    with Display(options.quiet) as display, resumable(display, output):
        unread = UnreadDocuments(plan.docs, str(Path(plan.path).parent / plan.settings.pipeline), display)
        points = run_sweep(plan, data, output, settings, listener_of(display, unread, "for this round"))
    finalists = [point.measures.name for point in points if point.is_finalist]
    write_about(
        output, finalists, [f"the finalists of {Path(options.file).name}, on {data.name} ({plan.settings.kind})"]
    )
    write_sweep(output, points, plan)
    for point in points:
        write_rows(point.measures)
    if options.json:
        print_json(sweep_to_dict(points, plan))
    else:
        _print(points, plan, output)
    return EXIT_ERROR if unread.n_failed or any(point.measures.n_failed for point in points) else 0


def _print(points: Sequence[Point], plan: Sweep, output: Path) -> None:
    console = SafeConsole()
    metric, seed = plan.settings.metric, plan.settings.seed
    rows = []
    for point in points:
        means = [point.measures.interval(name, seed) for name in (metric, *COSTS)]
        cells = [f"{number(mean.mean)} ({interval_text(mean)})" for mean in means if mean is not None]
        status = "front" if point.is_front else "" if point.is_finalist else "left out early"
        rows.append((status, point.measures.name, *cells, str(len(point.measures.rows))))
    titles = [BY_NAME[name].title for name in (metric, *COSTS)]
    console.print()
    console.print(table(f"{BY_NAME[metric].title} against seconds and tokens", ("", "variant", *titles, "n"), rows))
    n_front = sum(point.is_front for point in points)
    console.print(
        Text(
            f"{n_front} on the front: by their means, no variant is as good in all three and better in one. "
            f"longthread compare {output} --allow indexes  tests whether two of them differ",
            style="dim",
        ),
        soft_wrap=True,
    )
    console.print(Text(f"each as a pipeline file: {output / PIPELINES}", style="dim"), soft_wrap=True)
