"""`longthread doctor`: what this machine offers, line by line, and what to do about what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from rich.table import Table
from rich.text import Text

from cli.errors import EXIT_ERROR
from cli.output import SafeConsole, print_json
from pipeline.doctor import Finding, findings

_STYLES = {"ok": "green", "warn": "yellow", "miss": "bold red"}


def run(json: bool) -> int:
    found = list(findings())
    n_missing = sum(finding.status == "miss" for finding in found)
    if json:
        print_json([asdict(finding) for finding in found])
    else:
        console = SafeConsole()
        console.print(_table(found))
        console.print(_verdict(n_missing))
    return EXIT_ERROR if n_missing else 0


def _table(found: Sequence[Finding]) -> Table:
    table = Table.grid(padding=(0, 2))
    for options in ({"no_wrap": True}, {"no_wrap": True}, {"overflow": "fold"}):
        table.add_column(**options)
    for finding in found:
        said = Text(finding.said)
        if finding.todo:
            said.append(f"\n-> {finding.todo}", style="bold")
        table.add_row(Text(finding.status, style=_STYLES[finding.status]), finding.what, said)
    return table


def _verdict(n_missing: int) -> Text:
    if n_missing:
        return Text(f"\n{n_missing} {'thing is' if n_missing == 1 else 'things are'} missing.", style="bold red")
    return Text("\nEverything that is needed is here.", style="bold green")
