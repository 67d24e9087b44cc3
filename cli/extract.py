"""`longthread extract`: the same questions asked of each document alone, and a table of the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from cli.errors import EXIT_ERROR
from cli.output import SafeConsole
from cli.progress import Display, RunDisplay
from cli.run import executor_of, index_of
from pipeline.default import default_config, with_model
from pipeline.docs_index import indexed_sources
from pipeline.errors import ConfigError
from pipeline.executors.folder import read_run
from pipeline.executors.run import RunOptions, check_model
from pipeline.executors.run import run as run_batch
from pipeline.executors.samples import Sample, read_samples, samples_of
from pipeline.extraction import FORMATS, extraction_samples, table_of, write_table
from pipeline.text.visible import visible


@dataclass(frozen=True)
class ExtractOptions:
    """What the command line says."""

    questions: str
    docs: Sequence[str]
    output: str
    config: str | None = None
    index: str | None = None
    model: str | None = None
    executor: str | None = None
    retry_errors: bool = False
    update: bool = False
    quiet: bool = False


def extract(options: ExtractOptions) -> int:
    """Answers what has no record yet, and writes the table of all; also where the run was interrupted."""
    output = Path(options.output)
    if output.suffix.lower() not in FORMATS:
        raise ConfigError(f"--output {output}: a table is written as {', '.join(FORMATS)}, by its name")
    if not options.docs and not options.index:
        raise ConfigError("nothing to ask: name documents after the questions, or an index with --index DIR")
    config = default_config(options.config)
    if options.model is not None:
        config = with_model(config, options.model)
    run_options = RunOptions(
        executor=executor_of(options.executor), retry_errors=options.retry_errors, update=options.update
    )
    questions = _questions(options.questions)
    check_model(config, run_options)
    folder = output.with_name(f"{output.name}-records")
    console = SafeConsole(is_error=True)
    with Display(options.quiet) as display, RunDisplay(options.quiet) as status:
        index, n_unread = index_of(options.docs, options.index, config, display)
        if index is None:
            raise ConfigError("nothing to ask: name documents after the questions, or an index with --index DIR")
        samples = extraction_samples(questions, indexed_sources(index))
        try:
            summary = run_batch(config, index, samples, folder, run_options, display, status.over(display))
        finally:
            display.stop()
            status.stop()
            if (folder / "records.jsonl").exists():
                table = table_of(samples, read_run(folder))
                write_table(output, table)
                console.print(Text(visible(f"{table.account}: {output}; the records are in {folder}")), soft_wrap=True)
    if summary.n_failed:
        console.print(
            Text(f"{summary.n_failed} of {len(samples)} cells failed: --retry-errors tries them again", style="red")
        )
    return EXIT_ERROR if summary.n_failed or n_unread else 0


def _questions(text: str) -> list[Sample]:
    """The questions of a file; what is no file and has several words is one question."""
    if not Path(text).exists() and len(text.split()) > 1:
        return samples_of([{"id": "answer", "question": text}])
    return read_samples(Path(text))
