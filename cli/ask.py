"""`longthread ask`: one question, one answer, its citations, one line of account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from cli.answering import AnswerOptions, answer_and_show
from cli.command import command, new_app
from cli.output import open_console, print_json
from cli.printing import print_state
from cli.progress import Display
from pipeline.pipeline import Pipeline
from pipeline.records import QuestionResult
from pipeline.text.visible import visible
from pipeline.types import State

app = new_app()


@dataclass(frozen=True, kw_only=True)
class AskOptions(AnswerOptions):
    """The options of `longthread ask`."""

    diff: Annotated[bool, typer.Option("--diff", help="Show what was kept and what was dropped, in colour.")] = False
    thoughts: Annotated[
        bool, typer.Option("--thoughts", help="Let a model that can think do so first, and show its thoughts.")
    ] = False


@command(
    app,
    "ask",
    'longthread ask "How many beehives are there?" --docs garden/',
    'cat notes.txt | longthread ask "Who keeps the bees?" -',
    'longthread ask "What changed in 2024?" reports/ --filter "kind=pdf and year>=2024"',
)
def ask(options: AskOptions) -> int:
    """Answer one question from documents, with citations.

    The path `-` reads a document from standard input. The exit code is 0 for an answer and for a question that the
    documents do not answer. It is 2 if a file that you named, the model or the index cannot be read.
    """

    def show(state: State, pipeline: Pipeline, display: Display) -> None:
        display.stop()
        if options.json:
            print_json(QuestionResult.of(state, pipeline.config).to_dict())
            return
        console = open_console()
        print_state(state, console, account=options.account, quiet=options.quiet, with_thoughts=options.thoughts)
        if options.diff:
            print_diff(state, console)

    return answer_and_show(options, show, options.thoughts)


def print_diff(state: State, console: Console) -> None:
    """Prints kept text in green and dropped text in red, each with a sign for where there is no colour."""
    for text, is_kept in kept_and_dropped(state):
        sign = "+" if is_kept else "-"
        console.print(Text(f"{sign} {visible(text)}", style="green" if is_kept else "red strike"))


def kept_and_dropped(state: State) -> list[tuple[str, bool]]:
    """Each text that the model saw (True), and each that a stage dropped (False)."""
    kept = [(f"[{n}] {passage.text.strip()}", True) for n, passage in enumerate(state.shown, 1)]
    return kept + [
        (f"({entry.stage}: {drop.why}) {drop.text}", False) for entry in state.ledger.stages for drop in entry.dropped
    ]
