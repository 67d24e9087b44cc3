"""What `ask` and `why` share: which documents to read, how to open them, and how to answer one question from them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from cli.exit_codes import EXIT_ERROR
from cli.input import as_text
from cli.options import Account, AnswerOnly, Glob, Json, Paths, PipelineOptions, Question, Read
from cli.output import open_console, print_line
from cli.progress import Display
from cli.unread import STANDARD_INPUT, raise_if_nothing_was_read, report_failures, report_unread
from pipeline.config import PipelineConfig
from pipeline.conversation.reading import reading_config
from pipeline.default import with_thinking
from pipeline.docs_index import docs_folder, update_index
from pipeline.errors import ConfigError
from pipeline.listener import Listener
from pipeline.pipeline import Pipeline
from pipeline.types import Document, State
from pipeline.types import Question as AskedQuestion

if TYPE_CHECKING:
    from pipeline.conversation.reading import Reading
    from pipeline.retrieval.index import IndexReport

Show = Callable[[State, Pipeline, Display], None]


@dataclass(frozen=True, kw_only=True)
class AnswerOptions(PipelineOptions):
    """One question, the documents to answer it from, and how much to print."""

    question: Question
    paths: Paths = ()
    glob: Glob = None
    read: Read = ()
    account: Account = False
    json: Json = False
    quiet: AnswerOnly = False

    @property
    def all_docs(self) -> tuple[str, ...]:
        return (*self.docs, *self.paths)


def answer_and_show(options: AnswerOptions, show: Show, with_thoughts: bool = False) -> int:
    """Answers the question, calls `show` while the pipeline is open, and returns the exit code.

    With `with_thoughts` the model thinks first, unless the pipeline says `thinking: off`.
    """
    text = as_text(options.question)
    if not text.strip():
        raise ConfigError("the question is empty: put it in quotes after the command")
    _check_documents(options)
    config = _pipeline(options, with_thoughts)
    config.generator.check()
    with (
        Display(options.quiet) as display,
        _index(options, config, display) as (folder, report),
        Pipeline(config, folder, Listener(display)) as pipeline,
        _reading(pipeline, options.read) as reading,
    ):
        pipeline.listener = replace(pipeline.listener, on_text=WritingProgress(display))
        ask = pipeline.ask if reading is None else reading.ask
        show(ask(AskedQuestion(text, glob=options.glob)), pipeline, display)
    if report is None:
        return 0
    errors = open_console(is_error=True)
    if not options.quiet:
        report_unread(report, options.all_docs, options.config, errors)
    return EXIT_ERROR if report_failures(report, options.all_docs, errors) else 0


class WritingProgress:
    """Counts the pieces of an answer while it is written. The answer is printed at its end, which can change it."""

    def __init__(self, display: Display) -> None:
        self.display = display
        self.n_pieces = 0

    def __call__(self, text: str) -> None:
        self.n_pieces += 1
        self.display("write the answer", self.n_pieces, 0)


def _check_documents(options: AnswerOptions) -> None:
    if options.read and (options.all_docs or options.index or options.glob or options.filter):
        raise ConfigError(
            "--read reads files from beginning to end, without an index: leave --docs, --index, --glob, --filter out"
        )
    check_one_source(options.all_docs, options.index)
    if not (options.read or options.index or options.all_docs):
        raise ConfigError("nothing to answer from: name your documents with --docs PATH, or an index with --index DIR")


def check_one_source(docs: Sequence[str], index: str | None) -> None:
    if docs and index:
        raise ConfigError("give --docs or --index, not both: 'longthread index PATH --index DIR' adds to an index")


def _pipeline(options: AnswerOptions, with_thoughts: bool) -> PipelineConfig:
    config = options.pipeline()
    if with_thoughts:
        config = with_thinking(config)
    return reading_config(config) if options.read else config


def _reading(pipeline: Pipeline, paths: Sequence[str]) -> AbstractContextManager[Reading | None]:
    if not paths:
        return nullcontext()
    from pipeline.conversation.reading import read

    return read(pipeline, paths)


@contextmanager
def _index(
    options: AnswerOptions, config: PipelineConfig, display: Display
) -> Iterator[tuple[Path, IndexReport | None]]:
    """The folder of the index, updated if it is made of --docs, and then the report of the update.

    With standard input among the documents the index is temporary, so that piped text is not kept.
    """
    docs = options.all_docs
    if not docs:
        yield Path(options.index or "no index"), None
        return
    piped = [read_standard_input()] if STANDARD_INPUT in docs else []
    paths = [path for path in docs if path != STANDARD_INPUT]
    with TemporaryDirectory(prefix="longthread-") if piped else nullcontext() as temporary:
        folder = Path(temporary) / "index" if temporary else docs_folder(docs, config.index)
        report = update_index(folder, paths, config.index, display, given=piped)
        display.stop()
        raise_if_nothing_was_read(report)
        yield folder, report


def read_standard_input() -> Document:
    """Standard input as a document, in any format that its first bytes identify."""
    from pipeline.documents.limits import read_stream
    from pipeline.documents.load import load_bytes

    if sys.stdin.isatty():
        print_line("longthread: reading standard input; end it with Ctrl-D", is_error=True)
    return load_bytes("standard input", read_stream(sys.stdin.buffer, "standard input"))
