"""`longthread demo`: the demo's questions, asked of the demo's documents, with nothing set beforehand."""

from __future__ import annotations

import json

from rich.console import Console
from rich.text import Text

from cli.ask import Writing
from cli.output import open_console
from cli.printing import print_state, shown_path
from cli.progress import Display
from pipeline.default import default_pipeline
from pipeline.docs_index import docs_folder, update_index
from pipeline.errors import ConfigError
from pipeline.pipeline import Pipeline
from pipeline.presets import is_checkout, presets_folder
from pipeline.types import Question

FOLDER = presets_folder() / "demo"


def tune_once(display: Display, console: Console) -> None:
    """Makes the default model's fastest form for this machine, the first time."""
    from pipeline.models.catalogue import resolve
    from pipeline.models.tune import is_tuned, tune

    path = resolve(default_pipeline().generator.model_name)
    if is_tuned(path):
        return
    report = tune(path, display)
    display.stop()
    given = next(one for one in report.candidates if one.is_given)
    best = next(one for one in report.candidates if one.quantisation == report.best["read"])
    console.print(
        f"Tuned {path.name} for this machine in {report.seconds:.0f} s: reads {best.prefill:.0f} tokens/s as "
        f"{best.quantisation}, {given.prefill:.0f} as {given.quantisation} ('longthread models tune' for other models)."
    )


def run(account: bool, quiet: bool) -> int:
    if not FOLDER.is_dir():
        raise ConfigError(f"the demo's documents are not in {FOLDER}: install longthread again")
    documents = [str(FOLDER / "documents")]
    questions = [json.loads(line) for line in (FOLDER / "questions.jsonl").read_text("utf-8").splitlines()]
    console = open_console()
    folder = docs_folder(documents, default_pipeline().index)
    with Display(quiet) as display:
        tune_once(display, console)
        report = update_index(folder, documents, default_pipeline().index, display)
        display.stop()
        console.print(f"{report.n_chunks} passages of {shown_path(documents[0])}, which no model has read before.")
        with Pipeline(default_pipeline(), folder, progress=display) as pipeline:
            for question in questions:
                console.print(Text(f"\n{question['question']}", style="cyan"))
                pipeline.on_text = Writing(display)
                state = pipeline.ask(Question(question["question"], question["id"]))
                display.stop()
                print_state(state, console, account=account, quiet=quiet)
    console.print()
    console.print("Your own documents:", style="bold")
    command = ".venv/bin/longthread" if is_checkout() else "longthread"
    console.print(f'  {command} ask "your question" --docs YOUR_FOLDER', highlight=False)
    return 0
