"""How the results of `longthread needle` look: heat maps, a row for each cell, the effective context."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from cli.exit_codes import EXIT_ERROR
from cli.output import SafeConsole, print_json
from cli.printing import shown_path, table
from pipeline.evaluation.needles.page import PAGE, write_report
from pipeline.evaluation.needles.pictures import THRESHOLD, effective, heat_maps, in_terminal, rows_of
from pipeline.evaluation.needles.running import CellResult, Results
from pipeline.evaluation.statistics import Interval

_COLUMNS = ("cell", "pairs", "tokens", "n", "accuracy", "tolerant", "wrong because", "s each")


def print_results(results: Results, as_json: bool) -> int:
    """Prints the results, and writes the pictures and the page. Exit code 2 if samples failed or are missing."""
    write_report(results)
    n_failed = sum(cell.n_failed for cell in results.cells)
    code = EXIT_ERROR if n_failed or results.n_missing else 0
    if as_json:
        cells = [cell.to_dict() for cell in results.cells]
        about = {"method": results.method, "model": results.model, "n_missing": results.n_missing, "n_failed": n_failed}
        print_json({**about, "cells": cells})
        return code
    out = SafeConsole()
    for heat in heat_maps(results):
        out.print(in_terminal(heat))
        out.print()
    out.print(table("", _COLUMNS, [_row(cell) for cell in results.cells]))
    _print_effective(results, out)
    out.print(f"\nEvery reply: {shown_path(str(results.folder / PAGE))}", highlight=False)
    if n_failed:
        failed = "1 question failed" if n_failed == 1 else f"{n_failed} questions failed"
        out.print(f"{failed}: {shown_path(str(results.folder / 'scores.jsonl'))} has the reasons", style="red")
    if results.n_missing:
        missing = "1 question has" if results.n_missing == 1 else f"{results.n_missing} questions have"
        out.print(f"{missing} no reply yet: run the same command again", style="yellow")
    return code


def _row(result: CellResult) -> tuple[Any, ...]:
    faults = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in result.faults.items() if n)
    return (
        result.cell.row,
        result.cell.pairs,
        result.tokens,
        result.n,
        _share(result.accuracy),
        _share(result.tolerant),
        faults,
        f"{result.s_per_question:.1f}",
    )


def _share(value: Interval) -> str:
    """`95% (76-99)`."""
    return f"{value.mean:.0%} ({100 * (value.low or 0):.0f}-{100 * (value.high or 0):.0f})"


def _print_effective(results: Results, out: Console) -> None:
    for name, cells in rows_of(results).items():
        largest = effective(cells)
        size = f"{largest.cell.chars} characters, {largest.tokens} tokens" if largest else "none of these sizes"
        out.print(f"effective context of {name} (lower bound of tolerant {THRESHOLD:.0%}): {size}", highlight=False)
