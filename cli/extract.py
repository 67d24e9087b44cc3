"""`longthread extract`: the same questions asked of each document alone, and a table of the answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from cli.batches import executor_of, index_of, n_retryable
from cli.command import command, new_app
from cli.exit_codes import EXIT_ERROR
from cli.options import Config, Executor, IndexFolder, Model, Quiet, RetryErrors, Update, chosen_pipeline
from cli.output import SafeConsole
from cli.progress import Display
from pipeline.docs_index import indexed_sources
from pipeline.errors import ConfigError
from pipeline.executors.folder import read_run
from pipeline.executors.run import RunOptions, check_model
from pipeline.executors.run import run as run_batch
from pipeline.executors.samples import Sample, read_samples, samples_of
from pipeline.extraction import FORMATS, extraction_samples, table_of, write_table
from pipeline.text.counting import counted
from pipeline.text.visible import visible

app = new_app()


@dataclass(frozen=True, kw_only=True)
class ExtractOptions:
    """The options of `longthread extract`."""

    questions: Annotated[
        str,
        typer.Argument(
            metavar="QUESTIONS", help="A file of questions with 'id' and 'type', or one question.", show_default=False
        ),
    ]
    documents: Annotated[
        tuple[str, ...], typer.Argument(metavar="[PATH]...", help="Files, folders or globs. Each file gets a row.")
    ] = ()
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="The table: .csv, .tsv or .jsonl.")] = (
        "table.csv"
    )
    config: Config = None
    index: IndexFolder = None
    model: Model = None
    executor: Executor = None
    retry_errors: RetryErrors = False
    update: Update = False
    quiet: Quiet = False


@command(
    app,
    "extract",
    'longthread extract "Who is the tenant?" contracts/ -o tenants.csv',
    "longthread extract fields.jsonl contracts/*.pdf -o contracts.csv",
)
def extract(options: ExtractOptions) -> int:
    """Ask each document the same questions. The table has a row for each document, and each cell its place and quote.

    The records are in a folder beside the table. An interrupted extraction resumes when the command is repeated.
    """
    output = Path(options.output)
    if output.suffix.lower() not in FORMATS:
        raise ConfigError(f"--output {output}: the name of a table ends in {', '.join(FORMATS)}")
    if not options.documents and not options.index:
        raise ConfigError("nothing to ask: name documents after the questions, or an index with --index DIR")
    config = chosen_pipeline(options.config, options.model)
    settings = RunOptions(
        executor=executor_of(options.executor), retry_errors=options.retry_errors, update=options.update
    )
    questions = _questions(options.questions)
    check_model(config, settings)
    folder = output.with_name(f"{output.name}-records")
    console = SafeConsole(is_error=True)
    with Display(options.quiet) as display:
        index, n_unread = index_of(options.documents, options.index, config, options.config, display)
        if index is None:
            raise ConfigError("nothing to ask: name documents after the questions, or an index with --index DIR")
        samples = extraction_samples(questions, indexed_sources(index))
        try:
            summary = run_batch(config, index, samples, folder, settings, display, display.show_batch)
        finally:
            display.stop()
            if (folder / "records.jsonl").exists():
                table = table_of(samples, read_run(folder))
                write_table(output, table)
                console.print(Text(visible(f"{table.account}: {output}; the records are in {folder}")), soft_wrap=True)
    if summary.n_failed:
        cells = counted(len(samples), "cell")
        way = ": --retry-errors tries again" if n_retryable(read_run(folder)) else f": {folder} says why"
        console.print(Text(f"{summary.n_failed} of {cells} failed{way}", style="red"))
    return EXIT_ERROR if summary.n_failed or n_unread else 0


def _questions(text: str) -> list[Sample]:
    """The questions of a file. Text of several words that names no file is one question."""
    if not Path(text).exists() and len(text.split()) > 1:
        return samples_of([{"id": "answer", "question": text}])
    return read_samples(Path(text))
