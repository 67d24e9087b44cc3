"""What the commands share that ask many questions: their executor, their index, and how to resume them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.text import Text

from cli.answering import check_one_source
from cli.options import BatchOptions
from cli.output import SafeConsole
from cli.progress import Display
from cli.unread import raise_if_nothing_was_read, report_all
from pipeline.config import PipelineConfig
from pipeline.docs_index import docs_folder, update_index
from pipeline.errors import ConfigError, LongthreadError
from pipeline.evaluation.evaluate import EvalListener, EvalOptions
from pipeline.executors.folder import RECORDS, Run, n_records
from pipeline.executors.run import RunStatus
from pipeline.text.counting import duration

if TYPE_CHECKING:
    from pipeline.retrieval.index import IndexReport


def executor_of(name: str | None) -> Literal["local", "ray"] | None:
    if name in (None, "local", "ray"):
        return name  # type: ignore[return-value]
    raise ConfigError(f"--executor must be local or ray, was: {name}")


def parse_max_errors(text: str | None) -> int | float | None:
    """Parses a number of questions (`12`), or a share of them (`0.05`, `5%`)."""
    if text is None:
        return None
    try:
        if text.isdigit():
            return int(text)
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ConfigError(f"--fail-on-error must be a number of questions, or a share such as 0.05 or 5%, was: {text}")
    return share


def eval_options(
    options: BatchOptions, turns: int, limit: int | None = None, sample: int | None = None, seed: int = 0
) -> EvalOptions:
    """The options of an evaluation. With Ray the pipelines take no turns, and many questions run at once."""
    executor = executor_of(options.executor)
    return EvalOptions(
        limit=limit,
        sample=sample,
        seed=seed,
        turns=turns if executor != "ray" else 1,
        executor=executor,
        max_in_flight=1 if executor != "ray" else None,
        retry=options.retry,
        retry_errors=options.retry_errors,
        fail_on_error=parse_max_errors(options.fail_on_error),
        update=options.update,
    )


def index_of(
    docs: Sequence[str], index: str | None, config: PipelineConfig, config_path: str | None, display: Display
) -> tuple[Path | None, int]:
    """The folder of the index, updated if it is made of `docs`, and the number of `docs` that could not be read.

    Raises DocumentError if nothing could be read.
    """
    check_one_source(docs, index)
    if not docs:
        return (Path(index) if index else None), 0
    folder = docs_folder(docs, config.index)
    report = update_index(folder, docs, config.index, display)
    display.stop()
    raise_if_nothing_was_read(report)
    return folder, report_all(report, docs, config_path, SafeConsole(is_error=True))


@dataclass
class UnreadDocuments:
    """Reports what the indexes of an evaluation could not read of `docs`, each time that it differs.

    `n_failed` counts the `docs` that could not be read. `config_path` is as in `report_all`.
    """

    docs: Sequence[str]
    config_path: str | None
    display: Display
    n_failed: int = 0
    _reported: set[object] = field(default_factory=set)

    def __call__(self, report: IndexReport) -> None:
        """Raises DocumentError if nothing could be read."""
        self.display.stop()
        raise_if_nothing_was_read(report)
        unread = (report.failed, report.skipped)
        if unread not in self._reported:
            self._reported.add(unread)
            n_failed = report_all(report, self.docs, self.config_path, SafeConsole(is_error=True))
            self.n_failed = max(self.n_failed, n_failed)


def listener_of(
    display: Display, unread: UnreadDocuments | None = None, scope: str = "for all pipelines"
) -> EvalListener:
    """Shows each pipeline's turn, the time left for the `scope`, and what the indexes could not read."""
    current = ""

    def on_status(name: str, status: RunStatus, left: float | None) -> None:
        nonlocal current
        if name != current:
            current = name
            display.stop()
            display(name, 0, 0)
        display.show_batch(status, name, "" if left is None else f"{duration(left)} {scope}")

    return EvalListener(display, on_status, display.note, unread)


@contextmanager
def resumable(display: Display, output: Path) -> Iterator[None]:
    """If an evaluation stops inside after some answers, prints the command that resumes it."""
    try:
        yield
    except (KeyboardInterrupt, LongthreadError, OSError):
        display.stop()
        if not any(n_records(path.parent) for path in output.glob(f"*/{RECORDS}")):
            raise
        text = f"Answers so far are kept. To resume: {resume_command()}"
        SafeConsole(is_error=True).print(Text(text), soft_wrap=True)
        raise


def resume_command(with_failed: bool = False) -> str:
    """The command as it was typed, without --update. `with_failed` adds --retry-errors."""
    arguments = [argument for argument in sys.argv[1:] if argument not in ("--update", "--retry-errors")]
    return shlex.join(["longthread", *arguments, *(["--retry-errors"] if with_failed else [])])


def n_retryable(content: Run) -> int:
    """How many failed samples another try may answer: not those whose error they would meet again."""
    return sum(record.error is not None and not record.error.is_final for record in content.failed)
