"""`longthread index`: brings an index up to date with files."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from cli.main import EXIT_ERROR
from cli.printing import shown_path
from cli.progress import Display
from pipeline.default import default_config
from pipeline.docs_index import update_index

if TYPE_CHECKING:
    from pipeline.retrieval.index import IndexReport


def run(paths: Sequence[str], index: str, config_path: str | None, rebuild: bool, as_json: bool, quiet: bool) -> int:
    config = default_config(config_path)
    with Display(quiet) as display:
        report = update_index(Path(index), paths, config.index, display, rebuild)
    if as_json:
        sys.stdout.write(json_module.dumps(asdict(report)) + "\n")
        return EXIT_ERROR if report.failed else 0
    console = Console()
    console.print(
        f"{index}: {report.n_chunks} passages; files: {report.added} added, {report.changed} changed, "
        f"{report.removed} removed, {report.unchanged} unchanged, {len(report.failed)} failed; {report.seconds:.1f} s"
    )
    return EXIT_ERROR if failures(report, Console(stderr=True)) else 0


def failures(report: IndexReport, console: Console) -> int:
    """Lists what was left out, with the reason, and says how many files failed."""
    for path, why in report.skipped:
        console.print(f"skipped {shown_path(path)}: {why}", style="dim", highlight=False, markup=False)
    for path, why in report.failed:
        console.print(f"failed {shown_path(path)}: {why}", style="red", highlight=False, markup=False)
    for path, note in report.notes:
        console.print(f"{shown_path(path)}: {note}", style="dim", highlight=False, markup=False)
    return len(report.failed)
