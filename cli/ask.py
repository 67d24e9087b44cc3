"""`longthread ask`: one question, one answer, its citations, one line of account."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from cli.errors import EXIT_ERROR
from cli.index import STANDARD_INPUT, raise_if_nothing_was_read, report_failures, report_unread
from cli.input import as_text
from cli.output import open_console, print_json, print_line
from cli.printing import print_state
from cli.progress import Display
from pipeline.config import PipelineConfig
from pipeline.default import default_config, with_filter, with_model, with_thinking
from pipeline.docs_index import docs_folder, update_index
from pipeline.errors import ConfigError
from pipeline.pipeline import Pipeline
from pipeline.reading import reading_config
from pipeline.records import QuestionResult
from pipeline.text.visible import visible
from pipeline.types import Document, Question, State

if TYPE_CHECKING:
    from pipeline.reading import Reading
    from pipeline.retrieval.index import IndexReport


def run(
    question: str,
    docs: Sequence[str],
    config_path: str | None,
    index: str | None,
    model: str | None,
    glob: str | None,
    filter_text: str | None,
    account: bool,
    diff: bool,
    as_json: bool,
    quiet: bool,
    read: Sequence[str] = (),
    thoughts: bool = False,
) -> int:
    def show(state: State, pipeline: Pipeline, display: Display) -> None:
        display.stop()
        _print(state, pipeline, account, diff, as_json, quiet, thoughts)

    return answer_and_show(question, docs, config_path, index, model, glob, filter_text, quiet, read, show, thoughts)


def answer_and_show(
    question: str,
    docs: Sequence[str],
    config_path: str | None,
    index: str | None,
    model: str | None,
    glob: str | None,
    filter_text: str | None,
    quiet: bool,
    read: Sequence[str],
    show: Callable[[State, Pipeline, Display], None],
    thoughts: bool = False,
) -> int:
    """Answers the question, has `show` print the outcome while the pipeline is open, and gives the exit code.

    With `thoughts` the model thinks first, unless the pipeline says `thinking: off`.
    """
    question = as_text(question)
    if not question.strip():
        raise ConfigError("the question is empty: put it in quotes after 'ask'")
    if read and (docs or index or glob or filter_text):
        raise ConfigError(
            "--read reads files from beginning to end, without an index: leave --docs, --index, --glob, --filter out"
        )
    config = default_config(config_path)
    if model is not None:
        config = with_model(config, model)
    if thoughts:
        config = with_thinking(config)
    config = with_filter(config, filter_text)
    if read:
        config = reading_config(config)
    config.generator.check()
    with (
        Display(quiet) as display,
        _indexed(docs, index, read, config, display) as (folder, report),
        Pipeline(config, folder, progress=display) as pipeline,
        _reading(pipeline, read) as reading,
    ):
        pipeline.on_text = Writing(display)
        ask = pipeline.ask if reading is None else reading.ask
        show(ask(Question(question, glob=glob)), pipeline, display)
    if report is None:
        return 0
    errors = open_console(is_error=True)
    if not quiet:
        report_unread(report, docs, config_path, errors)
    return EXIT_ERROR if report_failures(report, docs, errors) else 0


class Writing:
    """Shows how far an answer is. It is printed when it is finished, since its end can change its beginning."""

    def __init__(self, display: Display) -> None:
        self.display = display
        self.n_pieces = 0

    def __call__(self, text: str) -> None:
        self.n_pieces += 1
        self.display("write the answer", self.n_pieces, 0)


def _reading(pipeline: Pipeline, paths: Sequence[str]) -> AbstractContextManager[Reading | None]:
    if not paths:
        return nullcontext()
    from pipeline.reading import read

    return read(pipeline, paths)


@contextmanager
def _indexed(
    docs: Sequence[str], index: str | None, read: Sequence[str], config: PipelineConfig, display: Display
) -> Iterator[tuple[Path, IndexReport | None]]:
    """The folder of the index to search, brought up to date, and the report of that, if it was.

    With standard input among the documents it is a temporary folder: what is piped in is not kept.
    """
    if docs and index:
        raise ConfigError("give --docs or --index, not both: 'longthread index PATH --index DIR' adds to an index")
    if read or index:
        yield Path(index or "nowhere"), None
        return
    if not docs:
        raise ConfigError("nothing to answer from: name your documents with --docs PATH, or an index with --index DIR")
    given = [read_standard_input()] if STANDARD_INPUT in docs else []
    paths = [path for path in docs if path != STANDARD_INPUT]
    with TemporaryDirectory(prefix="longthread-") if given else nullcontext() as temporary:
        folder = Path(temporary) / "index" if temporary else docs_folder(docs, config.index)
        report = update_index(folder, paths, config.index, display, given=given)
        display.stop()
        raise_if_nothing_was_read(report)
        yield folder, report


def read_standard_input() -> Document:
    """What is piped in, as a document: text, or any other format that can be told by its first bytes."""
    from pipeline.documents.limits import read_stream
    from pipeline.documents.load import load_bytes

    if sys.stdin.isatty():
        print_line("longthread: reading standard input; end it with Ctrl-D", is_error=True)
    return load_bytes("standard input", read_stream(sys.stdin.buffer, "standard input"))


def _print(
    state: State, pipeline: Pipeline, account: bool, diff: bool, as_json: bool, quiet: bool, thoughts: bool
) -> None:
    if as_json:
        print_json(_record(state, pipeline))
        return
    console = open_console()
    print_state(state, console, account=account, quiet=quiet, with_thoughts=thoughts)
    if diff:
        print_diff(state, console)


def print_diff(state: State, console: Console) -> None:
    """What the model saw in green, and what a stage left out in red; a sign says which where there is no colour."""
    for passage, is_kept in kept_and_dropped(state):
        sign = "+" if is_kept else "-"
        console.print(Text(f"{sign} {visible(passage)}", style="green" if is_kept else "red strike"))


def kept_and_dropped(state: State) -> list[tuple[str, bool]]:
    """Each text that the model saw (True), and each that a stage dropped (False)."""
    shown = [(f"[{n}] {passage.text.strip()}", True) for n, passage in enumerate(state.shown, 1)]
    return shown + [
        (f"({entry.stage}: {drop.why}) {drop.text}", False) for entry in state.ledger.stages for drop in entry.dropped
    ]


def _record(state: State, pipeline: Pipeline) -> dict[str, Any]:
    return QuestionResult.of(state, pipeline.config).to_dict()
