"""`longthread eval`: measures pipelines on questions whose answers are known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from cli.batches import UnreadDocuments, eval_options, listener_of, resumable
from cli.command import command, new_app
from cli.exit_codes import EXIT_ERROR
from cli.options import (
    BatchOptions,
    Docs,
    Filter,
    Json,
    Limit,
    Model,
    OutputFolder,
    Quiet,
    Sample,
    Seed,
    Turns,
    chosen_pipeline,
)
from cli.output import SafeConsole, print_json
from cli.progress import Display
from cli.tables import print_about, print_report, print_written
from pipeline.default import with_filter
from pipeline.evaluation.compare import MAY_DIFFER, check_names, compare
from pipeline.evaluation.data.kinds import read_data
from pipeline.evaluation.evaluate import evaluate, methods_of
from pipeline.evaluation.report.folder import Report, about_machine, write_about
from pipeline.evaluation.report.plots import COSTS, quality_of
from pipeline.evaluation.runs import write_rows
from pipeline.text.counting import counted

_ALWAYS_SHOWN = ("support_recall", "answerability")

app = new_app()


@dataclass(frozen=True, kw_only=True)
class EvalCommandOptions(BatchOptions):
    """The options of `longthread eval`."""

    pipelines: Annotated[
        tuple[str, ...],
        typer.Argument(metavar="PIPELINE...", help="Pipeline files or presets' names.", show_default=False),
    ]
    data: Annotated[
        str, typer.Option("--data", metavar="PATH", help="A file or folder of questions with known answers.")
    ]
    kind: Annotated[
        str,
        typer.Option(
            "--kind", "-k", metavar="KIND", help="Its format: squad, hotpotqa, musique, beir, smart or jsonl."
        ),
    ]
    output: OutputFolder
    docs: Docs = ()
    model: Model = None
    filter: Filter = None
    limit: Limit = None
    sample: Sample = None
    seed: Seed = 0
    turns: Turns = 4
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric", metavar="METRIC", help="The metric that the pictures show. Default: f1, where it applies."
        ),
    ] = None
    json: Json = False
    quiet: Quiet = False


@command(
    app,
    "eval",
    "longthread eval default exit --data dev-v2.0.json --kind squad --sample 200 -o results",
    "longthread eval mine.yaml --data my.jsonl --kind jsonl --docs reports/ -o results",
)
def run_evaluation(options: EvalCommandOptions) -> int:
    """Measure pipelines on questions whose answers are known.

    The folder gets the runs, report.html and report.png. An interrupted evaluation resumes when the command is
    repeated. docs/evaluation.md describes the metrics.
    """
    configs = [with_filter(chosen_pipeline(path, options.model), options.filter) for path in options.pipelines]
    methods = methods_of(configs)
    check_names((), [options.metric] if options.metric else None)
    settings = eval_options(options, options.turns, options.limit, options.sample, options.seed)
    data = read_data(options.kind, options.data)
    output = Path(options.output)
    with Display(options.quiet) as display, resumable(display, output):
        unread = UnreadDocuments(options.docs, options.pipelines[0], display)
        listener = listener_of(display, unread)
        runs = evaluate(methods, data, Path(options.data), output, settings, listener, options.docs)
    drawn = f", drawn with seed {options.seed}" if options.sample is not None else ""
    questions = counted(len(runs[0].rows), "question")
    first = f"{data.name} ({options.kind}): {questions}{drawn}{''.join(f'; {note}' for note in data.notes)}"
    about = [first, about_machine(runs[0])]
    write_about(output, [run.name for run in runs], about)
    for run in runs:
        write_rows(run)
    comparison = compare(runs, MAY_DIFFER, None, options.seed) if len(runs) > 1 else None
    report = Report(runs, comparison, about, options.metric, options.seed)
    written, no_picture = report.write(output)
    if options.json:
        print_json(report.to_dict())
    else:
        names = {quality_of(runs, options.metric), *_ALWAYS_SHOWN, *COSTS}
        n_hidden = print_report(report, names)
        if n_hidden:
            line = Text(f"longthread compare {output} has the differences of all metrics", style="dim")
            SafeConsole().print(line, soft_wrap=True)
        print_written(written)
    if no_picture:
        print_about([f"No picture: {no_picture}"], is_error=True)
    return EXIT_ERROR if unread.n_failed or any(run.n_failed for run in runs) else 0
