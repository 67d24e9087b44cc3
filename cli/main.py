"""The command `longthread`: its commands by group. A command's file is imported when the command is used."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from cli.errors import run_command
from cli.output import print_line
from pipeline.offline import switch_off_telemetry

COMMANDS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "Ask": {
        "ask": ("cli.ask", "Answer one question from documents, with citations."),
        "why": ("cli.why", "Answer one question, and show what supports each sentence."),
        "chat": ("cli.chat.loop", "Talk with your documents. The conversation is remembered."),
        "demo": ("cli.demo", "Ask the demo's questions about the demo's documents."),
        "sessions": ("cli.sessions", "List, show, delete and export your conversations."),
    },
    "Documents": {
        "index": ("cli.index", "Index documents: add new files, update changed ones."),
        "indexes": ("cli.indexes", "List and delete the indexes that --docs made."),
        "extract": ("cli.extract", "Ask each document the same questions, for a table."),
    },
    "Pipelines": {
        "check": ("cli.check", "Check pipeline files, and list all their faults."),
        "show": ("cli.show", "Draw a pipeline with all its settings."),
        "steps": ("cli.steps", "Describe every step of a pipeline and its settings."),
        "schema": ("cli.schema", "Print the JSON schema of pipeline files."),
    },
    "Batches and measurements": {
        "run": ("cli.run", "Answer a file of questions into a folder of records."),
        "eval": ("cli.evaluate", "Measure pipelines on questions with known answers."),
        "compare": ("cli.compare", "Compare runs question by question."),
        "sweep": ("cli.sweep", "Run every combination of some settings."),
        "needle": ("cli.needle", "Measure how much context a model can use."),
    },
    "Models and this machine": {
        "models": ("cli.models", "List, pull, verify, tune and try models."),
        "calibrate": ("cli.calibrate", "Calibrate the compressors for a model's file."),
        "doctor": ("cli.doctor", "Check this machine, and list what is missing."),
    },
}
"""The module of each command, which holds it as `app`, and its line in the help."""


class LazyCommands(dict[str, Any]):
    """The commands by name. A command's module is imported when the command is looked up."""

    def __init__(self) -> None:
        super().__init__({name: module for group in COMMANDS.values() for name, (module, _) in group.items()})

    def __getitem__(self, name: str) -> Any:
        module = super().__getitem__(name)
        if isinstance(module, str):
            self[name] = command = get_command(import_module(module).app)
            command.name = name
            return command
        return module

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else default  # noqa: SIM401 - `get` of a dict would not import

    def items(self) -> Any:
        return [(name, self[name]) for name in self]

    def values(self) -> Any:
        return [self[name] for name in self]


class Commands(TyperGroup):
    """The group `longthread`. Its help imports no command."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "commands": LazyCommands()})

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for title, group in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:<9}", line) for name, (_, line) in group.items()])


app = typer.Typer(
    name="longthread",
    cls=Commands,
    help="Answer questions from your documents with a model on your machine: cited, accounted for, measured.",
    epilog=(
        "'longthread COMMAND --help' has the options and examples of a command.\n\n\b\nExample:\n"
        '  longthread ask "How many beehives are there?" --docs garden/'
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(is_requested: bool) -> None:
    if is_requested:
        from importlib.metadata import version

        print_line(f"longthread {version('longthread')}")
        raise typer.Exit


@app.callback()
def start(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Runs before every command."""
    switch_off_telemetry()


def main() -> None:
    """Runs a command and ends the process with its exit code (cli/exit_codes.py)."""
    sys.exit(run_command(lambda: app(standalone_mode=False, prog_name="longthread")))


if __name__ == "__main__":
    main()
