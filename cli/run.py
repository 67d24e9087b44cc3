"""`longthread run`: a file of questions in, a folder of records out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from cli.batches import executor_of, index_of, n_retryable, parse_max_errors, resume_command
from cli.command import command, new_app
from cli.exit_codes import EXIT_ERROR
from cli.options import (
    BatchOptions,
    Docs,
    Filter,
    IndexFolder,
    Limit,
    Model,
    OutputFolder,
    PipelineFile,
    Quiet,
    Sample,
    Seed,
    chosen_pipeline,
)
from cli.output import SafeConsole
from cli.progress import Display
from pipeline.default import with_filter
from pipeline.errors import LongthreadError
from pipeline.executors.folder import Run, read_run
from pipeline.executors.run import RunOptions, RunSummary, check_model
from pipeline.executors.run import run as run_batch
from pipeline.executors.samples import chosen, read_samples

MAX_SHOWN = 5

app = new_app()


@dataclass(frozen=True, kw_only=True)
class RunCommandOptions(BatchOptions):
    """The options of `longthread run`."""

    pipeline: PipelineFile
    input: Annotated[
        str,
        typer.Option("--input", metavar="FILE", help="Questions: JSON lines or CSV with 'question' and 'id'."),
    ]
    output: OutputFolder
    docs: Docs = ()
    index: IndexFolder = None
    model: Model = None
    filter: Filter = None
    limit: Limit = None
    sample: Sample = None
    seed: Seed = 0
    quiet: Quiet = False


@command(
    app,
    "run",
    "longthread run default --input questions.jsonl --docs reports/ -o answers",
    "longthread run mine.yaml --input questions.csv --index my-index -o answers --executor ray",
)
def run(options: RunCommandOptions) -> int:
    """Answer a file of questions, and write a record of each to the disk at once.

    An interrupted run resumes when the command is repeated.
    """
    config = with_filter(chosen_pipeline(options.pipeline, options.model), options.filter)
    settings = RunOptions(
        executor=executor_of(options.executor),
        retry=options.retry,
        retry_errors=options.retry_errors,
        fail_on_error=parse_max_errors(options.fail_on_error),
        update=options.update,
        input=Path(options.input),
        seed=options.seed if options.sample is not None else None,
    )
    samples = chosen(read_samples(Path(options.input)), options.sample, options.seed, options.limit)
    check_model(config, settings)
    output = Path(options.output)
    with Display(options.quiet) as display:
        index, n_unread = index_of(options.docs, options.index, config, options.pipeline, display)
        with _progress_kept(output, len(samples), display):
            summary = run_batch(config, index, samples, output, settings, display, display.show_batch, display.note)
    print_summary(summary, read_run(output), SafeConsole())
    return EXIT_ERROR if summary.n_failed or summary.n_missing or n_unread else 0


@contextmanager
def _progress_kept(folder: Path, n_samples: int, display: Display) -> Iterator[None]:
    """If the run stops inside, prints how far it came and how to resume it."""
    try:
        yield
    except (KeyboardInterrupt, LongthreadError, OSError) as error:
        display.stop()
        # A sample can be written before the display gets its status.
        has_records = isinstance(error, KeyboardInterrupt) and (folder / "records.jsonl").exists()
        if display.has_batch or has_records:
            _print_kept(folder, n_samples, SafeConsole(is_error=True))
        raise


def print_summary(summary: RunSummary, content: Run, console: Console) -> None:
    """Prints the counts of the folder, the first failures, and the command that resumes the run if it is incomplete."""
    n_new = summary.n_ok + summary.n_failed - summary.n_before
    line = f"{summary.folder}: {summary.n_ok} of {summary.n_samples} answered, {summary.n_failed} failed"
    line += f", {summary.n_missing} missing" if summary.n_missing else ""
    line += f" ({summary.n_before} of them in earlier runs)" if summary.n_before else ""
    console.print(Text(line, style="bold"), soft_wrap=True)
    if n_new and summary.seconds > 0:
        console.print(
            f"{n_new} in {summary.seconds:.1f} s after {summary.start_s:.1f} s of loading: "
            f"{n_new / summary.seconds:.2f} a second; read {summary.prompt_tokens / summary.seconds:.0f} and wrote "
            f"{summary.answer_tokens / summary.seconds:.0f} tokens a second"
            + (
                f"; {summary.n_retries} {'retry' if summary.n_retries == 1 else 'retries'}" if summary.n_retries else ""
            ),
            highlight=False,
            soft_wrap=True,
        )
    _print_failed(content, console)
    _print_next_step(content, summary.n_missing, console)


def _print_failed(content: Run, console: Console) -> None:
    for record in content.failed[:MAX_SHOWN]:
        if record.error is None:
            continue
        error = record.error
        first = (error.message.splitlines() or [""])[0]
        text = f"failed {record.id}, in {error.stage}: {error.type}: {first}"
        console.print(Text(text, style="red"), soft_wrap=True)
    if len(content.failed) > MAX_SHOWN:
        console.print(Text(f"and {len(content.failed) - MAX_SHOWN} more: records.jsonl has them all", style="red"))


def _print_kept(folder: Path, n_samples: int, console: Console) -> None:
    """Prints how far a stopped run came, and how to resume it."""
    try:
        content = read_run(folder)
    except LongthreadError:  # the run never started, or the folder belongs to another
        return
    n_missing = max(0, n_samples - len(content.records))
    console.print(
        f"{folder}: {len(content.ok)} answered, {len(content.failed)} failed, {n_missing} missing.", soft_wrap=True
    )
    _print_failed(content, console)
    _print_next_step(content, n_missing, console)


def _print_next_step(content: Run, n_missing: int, console: Console) -> None:
    """Prints the command that resumes the run, if samples are missing, or failed in a way that another try may mend."""
    n_bad_lines = sum(record.error is not None and record.error.stage == "input" for record in content.failed)
    if n_bad_lines:
        console.print("Bad lines: correct them in the input, and run it again with --update.", highlight=False)
    if n_missing:
        console.print(Text(f"To resume: {resume_command()}"), soft_wrap=True)
    elif n_retryable(content):
        console.print(Text(f"To retry the failures: {resume_command(with_failed=True)}"), soft_wrap=True)
