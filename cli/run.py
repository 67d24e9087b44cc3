"""`longthread run`: a file of questions in, a folder of records out."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.text import Text

from cli.errors import EXIT_ERROR
from cli.index import failures
from cli.output import SafeConsole
from cli.progress import Display, RunDisplay
from pipeline.config import PipelineConfig
from pipeline.default import default_config, with_model
from pipeline.docs_index import docs_folder, update_index
from pipeline.errors import ConfigError, LongthreadError
from pipeline.executors.folder import Run, read_run
from pipeline.executors.run import RunOptions, RunSummary, check_model
from pipeline.executors.run import run as run_batch
from pipeline.executors.samples import chosen, read_samples

MAX_SHOWN = 5


def run(
    pipeline: str,
    input_path: str,
    output: str,
    docs: Sequence[str],
    index: str | None,
    model: str | None,
    executor: str | None,
    limit: int | None,
    sample: int | None,
    seed: int,
    retry: int,
    retry_errors: bool,
    fail_on_error: str | None,
    update: bool,
    quiet: bool,
) -> int:
    config = default_config(pipeline)
    if model is not None:
        config = with_model(config, model)
    options = RunOptions(
        executor=executor_of(executor),
        retry=retry,
        retry_errors=retry_errors,
        fail_on_error=most_errors(fail_on_error),
        update=update,
        input=Path(input_path),
        seed=seed if sample is not None else None,
    )
    samples = chosen(read_samples(Path(input_path)), sample, seed, limit)
    check_model(config, options)
    console = SafeConsole(is_error=True)
    with Display(quiet) as display, RunDisplay(quiet) as status:
        folder, n_unread = index_of(docs, index, config, display)

        def note(text: str) -> None:
            display.stop()
            status.note(text)

        try:
            summary = run_batch(config, folder, samples, Path(output), options, display, status.over(display), note)
        except (KeyboardInterrupt, LongthreadError, OSError) as error:
            display.stop()
            status.stop()
            # a sample can be written before the display has heard of it
            is_kept = isinstance(error, KeyboardInterrupt) and (Path(output) / "records.jsonl").exists()
            if status.has_begun or is_kept:
                _say_what_is_kept(Path(output), len(samples), console)
            raise
    print_summary(summary, read_run(Path(output)), SafeConsole())
    return EXIT_ERROR if summary.n_failed or summary.n_missing or n_unread else 0


def most_errors(text: str | None) -> int | float | None:
    """`12` is a number of samples; `0.05` and `5%` are a share of them."""
    if text is None:
        return None
    try:
        if text.isdigit():
            return int(text)
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ConfigError(f"--fail-on-error must be a number of samples, or a share such as 0.05 or 5%, was: {text}")
    return share


def executor_of(name: str | None) -> Literal["local", "ray"] | None:
    if name in (None, "local", "ray"):
        return name  # type: ignore[return-value]
    raise ConfigError(f"--executor must be local or ray, was: {name}")


def index_of(
    docs: Sequence[str], index: str | None, config: PipelineConfig, display: Display
) -> tuple[Path | None, int]:
    """The folder of the index that --docs or --index name, brought up to date; and how many files failed."""
    if docs and index:
        raise ConfigError("give --docs or --index, not both: 'longthread index PATH --index DIR' adds to an index")
    if not docs:
        return (Path(index) if index else None), 0
    folder = docs_folder(docs, config.index)
    report = update_index(folder, docs, config.index, display)
    display.stop()
    return folder, failures(report, SafeConsole(is_error=True), docs)


def print_summary(summary: RunSummary, found: Run, console: Console) -> None:
    """What the folder holds now, what failed first, and the command that goes on, where something is left."""
    n_new = summary.n_ok + summary.n_failed - summary.n_before
    said = f"{summary.folder}: {summary.n_ok} of {summary.n_samples} answered, {summary.n_failed} failed"
    said += f", {summary.n_missing} missing" if summary.n_missing else ""
    said += f" ({summary.n_before} of them in earlier runs)" if summary.n_before else ""
    console.print(Text(said, style="bold"), soft_wrap=True)
    if n_new and summary.seconds > 0:
        console.print(
            f"{n_new} in {summary.seconds:.1f} s after {summary.start_s:.1f} s of loading: "
            f"{n_new / summary.seconds:.2f} a second; read {summary.prompt_tokens / summary.seconds:.0f} and wrote "
            f"{summary.answer_tokens / summary.seconds:.0f} tokens a second"
            + (f"; {summary.n_retries} retries" if summary.n_retries else ""),
            highlight=False,
            soft_wrap=True,
        )
    _print_failed(found, console)
    _print_way_on(found, summary.n_missing, console)


def _print_failed(found: Run, console: Console) -> None:
    for one in found.failed[:MAX_SHOWN]:
        if one.error is None:
            continue
        error = one.error
        first = (error.message.splitlines() or [""])[0]
        console.print(Text(f"failed {one.id}, in {error.stage}: {error.type}: {first}", style="red"), soft_wrap=True)
    if len(found.failed) > MAX_SHOWN:
        console.print(Text(f"and {len(found.failed) - MAX_SHOWN} more: records.jsonl has them all", style="red"))


def _say_what_is_kept(folder: Path, n_samples: int, console: Console) -> None:
    """After a run that was stopped: how far it came, and how to go on."""
    try:
        found = read_run(folder)
    except LongthreadError:  # it never began, or is another's
        return
    n_missing = max(0, n_samples - len(found.records))
    console.print(
        f"{folder}: {len(found.ok)} answered, {len(found.failed)} failed, {n_missing} missing.", soft_wrap=True
    )
    _print_failed(found, console)
    _print_way_on(found, n_missing, console)


def _print_way_on(found: Run, n_missing: int, console: Console) -> None:
    """The command that goes on, where something is left."""
    n_bad_lines = sum(one.error is not None and one.error.stage == "input" for one in found.failed)
    if n_bad_lines:
        console.print("Bad lines: correct them in the input, and run it again with --update.", highlight=False)
    if n_missing:
        console.print(Text(f"To go on: {resume_command(failed=False)}"), soft_wrap=True)
    elif len(found.failed) > n_bad_lines:
        console.print(Text(f"To try what failed again: {resume_command(failed=True)}"), soft_wrap=True)


def resume_command(failed: bool) -> str:
    """The command as it was typed, without --update; with --retry-errors where only failed samples are left."""
    arguments = [one for one in sys.argv[1:] if one not in ("--update", "--retry-errors")]
    return shlex.join(["longthread", *arguments, *(["--retry-errors"] if failed else [])])
