"""`longthread demo`: asks the demo's questions about the demo's documents."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from cli.answering import WritingProgress
from cli.command import command, new_app
from cli.options import Account, AnswerOnly
from cli.output import open_console
from cli.printing import print_state, shown_path
from cli.progress import Display
from pipeline.default import default_pipeline
from pipeline.docs_index import docs_folder, update_index
from pipeline.errors import ConfigError
from pipeline.listener import Listener
from pipeline.pipeline import Pipeline
from pipeline.presets import is_checkout, presets_folder
from pipeline.text.counting import counted
from pipeline.types import Question

FOLDER = presets_folder() / "demo"

app = new_app()


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """The options of `longthread demo`."""

    tune: Annotated[
        bool, typer.Option("--tune/--no-tune", help="Tune the default model for this machine the first time.")
    ] = True
    account: Account = False
    quiet: AnswerOnly = False


@command(app, "demo", "longthread demo", "longthread demo --no-tune")
def demo(options: DemoOptions) -> int:
    """Ask the demo's questions about the demo's documents."""
    if not FOLDER.is_dir():
        raise ConfigError(f"the demo's documents are not in {FOLDER}: install longthread again")
    documents = [str(FOLDER / "documents")]
    questions = [json.loads(line) for line in (FOLDER / "questions.jsonl").read_text("utf-8").splitlines()]
    console = open_console()
    folder = docs_folder(documents, default_pipeline().index)
    with Display(options.quiet) as display:
        if options.tune:
            tune_once(display, console, options.quiet)
        report = update_index(folder, documents, default_pipeline().index, display)
        display.stop()
        passages = counted(report.n_chunks, "passage")
        console.print(f"{passages} of {shown_path(documents[0])}, which no model has read before.")
        with Pipeline(default_pipeline(), folder, Listener(display)) as pipeline:
            for question in questions:
                console.print(Text(f"\n{question['question']}", style="cyan"))
                pipeline.listener = replace(pipeline.listener, on_text=WritingProgress(display))
                state = pipeline.ask(Question(question["question"], question["id"]))
                display.stop()
                print_state(state, console, account=options.account, quiet=options.quiet)
    console.print()
    console.print("Your own documents:", style="bold")
    name = ".venv/bin/longthread" if is_checkout() else "longthread"
    console.print(f'  {name} ask "your question" --docs YOUR_FOLDER', highlight=False)
    return 0


def tune_once(display: Display, console: Console, quiet: bool) -> None:
    """Tunes the default model for this machine if that was not done yet."""
    from pipeline.gguf.catalogue import resolve
    from pipeline.gguf.tune import is_tuned, tune

    path = resolve(default_pipeline().generator.model_name)
    if is_tuned(path):
        return
    if not quiet:
        errors = open_console(is_error=True)
        errors.print(
            f"Tuning {path.name} for this machine, once: it may take minutes, and makes reading up to twice as fast. "
            "Ctrl-C stops it, and 'longthread demo --no-tune' skips it.",
            style="dim",
        )
    report = tune(path, display)
    display.stop()
    given = next(candidate for candidate in report.candidates if candidate.is_given)
    best = next(candidate for candidate in report.candidates if candidate.quantisation == report.best["read"])
    console.print(
        f"Tuned {path.name} for this machine in {report.seconds:.0f} s: reads {best.prefill:.0f} tokens/s as "
        f"{best.quantisation}, {given.prefill:.0f} as {given.quantisation} ('longthread models tune' for other models)."
    )
