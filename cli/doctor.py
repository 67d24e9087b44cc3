"""`longthread doctor`: what this machine offers, and what to do about what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.command import command, new_app
from cli.exit_codes import EXIT_ERROR
from cli.options import Json
from cli.output import SafeConsole, print_json
from pipeline.doctor import Finding, findings

_STYLES = {"ok": "green", "warn": "yellow", "miss": "bold red"}

app = new_app()


@dataclass(frozen=True, kw_only=True)
class DoctorOptions:
    """The options of `longthread doctor`."""

    json: Json = False


@command(app, "doctor", "longthread doctor", "longthread doctor --json > machine.json")
def doctor(options: DoctorOptions) -> int:
    """Check this machine: versions, CPU features, GPU, memory, models, and what is missing."""
    rows = list(findings())
    if options.json:
        print_json([asdict(row) for row in rows])
    else:
        print_findings(rows, SafeConsole())
    return EXIT_ERROR if any(row.status == "miss" for row in rows) else 0


def print_findings(rows: Sequence[Finding], console: Console) -> None:
    """Prints the findings and a verdict."""
    console.print(_table(rows))
    console.print(_verdict(sum(row.status == "miss" for row in rows)))


def _table(rows: Sequence[Finding]) -> Table:
    table = Table.grid(padding=(0, 2))
    for options in ({"no_wrap": True}, {"no_wrap": True}, {"overflow": "fold"}):
        table.add_column(**options)
    for row in rows:
        text = Text(row.message)
        if row.todo:
            text.append(f"\n-> {row.todo}", style="bold")
        table.add_row(Text(row.status, style=_STYLES[row.status]), row.what, text)
    return table


def _verdict(n_missing: int) -> Text:
    if n_missing:
        return Text(f"\n{n_missing} {'thing is' if n_missing == 1 else 'things are'} missing.", style="bold red")
    return Text("\nEverything that is needed is here.", style="bold green")
