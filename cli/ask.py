"""`longthread ask`: one question, one answer, its citations, its ledger."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from cli.index import failures
from cli.main import EXIT_ERROR
from cli.printing import print_state
from cli.progress import Display
from pipeline.build import Pipeline
from pipeline.config import PipelineConfig
from pipeline.default import default_config, with_model
from pipeline.docs_index import docs_folder, update_index
from pipeline.errors import ConfigError
from pipeline.reading import reading_config
from pipeline.records import record
from pipeline.types import Question, State


def run(
    question: str,
    docs: Sequence[str],
    config_path: str | None,
    index: str | None,
    model: str | None,
    glob: str | None,
    diff: bool,
    as_json: bool,
    quiet: bool,
    read: Sequence[str] = (),
) -> int:
    if not question.strip():
        raise ConfigError("the question is empty: put it in quotes after 'ask'")
    if read and (docs or index or glob):
        raise ConfigError(
            "--read reads files from beginning to end, without an index: leave --docs, --index, --glob out"
        )
    config = default_config(config_path)
    if model is not None:
        config = with_model(config, model)
    if read:
        config = reading_config(config)
    config.components[-1].check()
    with Display(quiet) as display:
        folder, n_failed = (Path("nowhere"), 0) if read else _index(docs, index, config, display)
        with Pipeline(config, folder, progress=display) as pipeline, _reading(pipeline, read):
            out = Writer(display, quiet=as_json)
            pipeline.on_text = out
            state = pipeline.ask(Question(question, glob=glob))
            display.stop()
            out.end()
            _print(state, pipeline, out.wrote, diff, as_json)
    return EXIT_ERROR if n_failed else 0


def _reading(pipeline: Pipeline, paths: Sequence[str]) -> AbstractContextManager[object]:
    if not paths:
        return nullcontext()
    from pipeline.reading import read

    return read(pipeline, paths)


class Writer:
    """Streams an answer to stdout; the progress display goes away at its first piece."""

    def __init__(self, display: Display, quiet: bool = False) -> None:
        self.display = display
        self.quiet = quiet
        self.wrote = False

    def __call__(self, text: str) -> None:
        self.display.stop()
        if not self.quiet:
            self.wrote = True
            sys.stdout.write(text)
            sys.stdout.flush()

    def end(self) -> None:
        if self.wrote:
            sys.stdout.write("\n\n")
            sys.stdout.flush()


def _index(docs: Sequence[str], index: str | None, config: PipelineConfig, display: Display) -> tuple[Path, int]:
    if docs and index:
        raise ConfigError("give --docs or --index, not both: 'longthread index PATH --index DIR' adds to an index")
    if index:
        return Path(index), 0
    if not docs:
        raise ConfigError("nothing to answer from: name your documents with --docs PATH, or an index with --index DIR")
    folder = docs_folder(docs, config.index)
    report = update_index(folder, docs, config.index, display)
    display.stop()
    return folder, failures(report, Console(stderr=True))


def _print(state: State, pipeline: Pipeline, was_streamed: bool, diff: bool, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json_module.dumps(_record(state, pipeline), ensure_ascii=False) + "\n")
        return
    console = Console()
    print_state(state, console, with_answer=not was_streamed)
    if diff:
        for passage, is_kept in kept_and_dropped(state):
            console.print(Text(passage, style="green" if is_kept else "red strike"))


def kept_and_dropped(state: State) -> list[tuple[str, bool]]:
    """Each text that the model saw (True), and each that a stage dropped (False)."""
    shown = [(f"[{n}] {passage.text.strip()}", True) for n, passage in enumerate(state.shown, 1)]
    return shown + [
        (f"({entry.stage}: {drop.why}) {drop.text}", False) for entry in state.ledger.stages for drop in entry.dropped
    ]


def _record(state: State, pipeline: Pipeline) -> dict[str, Any]:
    return record(state, pipeline.config)
