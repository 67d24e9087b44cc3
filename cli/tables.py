"""The tables of an evaluation: the means of each run, and the differences between runs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.output import SafeConsole
from cli.printing import table
from pipeline.evaluation.compare import Difference
from pipeline.evaluation.metrics import BY_NAME
from pipeline.evaluation.report.folder import Report
from pipeline.evaluation.runs import Measures, summary
from pipeline.evaluation.statistics import Interval


def print_report(report: Report, metrics: Collection[str | None] | None = None) -> int:
    """Prints the tables. `metrics` limits the differences; returns how many it hides."""
    console = SafeConsole()
    for line in report.about:
        console.print(Text(line, style="dim"))
    console.print()
    console.print(_means(report.runs, report.seed))
    for run in report.runs:
        for line in _missing(run):
            console.print(Text(line, style="dim"))
    comparison = report.comparison
    if comparison is None:
        return 0
    for note in comparison.notes:
        console.print(Text(note, style="yellow"))
    shown = [d for d in comparison.differences if metrics is None or d.metric.name in metrics]
    _print_differences(report.runs[0].name, shown, console)
    return len(comparison.differences) - len(shown)


def print_about(lines: Sequence[str], is_error: bool = False) -> None:
    console = SafeConsole(is_error=is_error)
    for line in lines:
        console.print(Text(line, style="dim"), soft_wrap=True)


def print_written(paths: Sequence[Path]) -> None:
    print_about([f"written: {path}" for path in paths])


def _print_differences(first: str, differences: Sequence[Difference], console: Console) -> None:
    console.print()
    sizes = {d.paired.difference.n for d in differences}
    n = f" (n {min(sizes)})" if len(sizes) == 1 else ""
    rows = [
        (
            d.metric.title,
            d.second,
            f"{number(d.paired.difference.mean)} ({interval_text(d.paired.difference)})",
            f"{d.paired.wins}/{d.paired.losses}/{d.paired.ties}",
            *([] if n else [str(d.paired.difference.n)]),
            d.verdict,
            d.p_words,
        )
        for d in differences
    ]
    columns = ("metric", "pipeline", "difference", "better/worse/same", *([] if n else ["n"]), "in words", "p")
    console.print(table(f"Against {first}, question by question{n}", columns, rows))
    n_comparisons = max(d.n_comparisons for d in differences) if differences else 1
    if n_comparisons > 1:
        console.print(Text(f"p: by permutation, corrected for {n_comparisons} comparisons (Holm)", style="dim"))


def _means(runs: Sequence[Measures], seed: int) -> Table:
    """One row a metric, one column a run: mean, interval, and n where some questions have no value."""
    metrics = list(dict.fromkeys(metric for run in runs for metric in run.metrics))
    rows = [[metric.title, *(_mean(run, metric.name, seed) for run in runs)] for metric in metrics]
    peaks = ["unknown" if run.peak_memory_mb is None else f"{run.peak_memory_mb:.0f}" for run in runs]
    rows.append(["peak memory MB", *peaks])
    rows.append(["failed", *(f"{run.n_failed} of {len(run.rows)}" for run in runs)])
    sizes = {len(run.rows) for run in runs}
    n = f" (n {min(sizes)})" if len(sizes) == 1 else ""
    return table(f"Means, with 95 % intervals{n}", ("metric", *(run.name for run in runs)), rows)


def _mean(run: Measures, metric: str, seed: int) -> str:
    interval = run.interval(metric, seed)
    if interval is None:
        return "none"
    n = "" if interval.n == len(run.rows) else f" n {interval.n}"
    return f"{number(interval.mean)} ({interval_text(interval)}){n}"


def _missing(run: Measures) -> list[str]:
    """The metrics without a value, and the reasons."""
    lines: dict[str, list[str]] = {}
    for name, metric in summary(run)["metrics"].items():
        for why, n in metric["missing"].items():
            has = "has" if n == 1 else "have"
            lines.setdefault(f"{n} of {len(run.rows)} {has} no value, because {why}", []).append(BY_NAME[name].title)
    return [f"{run.name}: {', '.join(names)}: {why}" for why, names in lines.items()]


def number(value: float) -> str:
    """Three or four significant digits."""
    size = abs(value)
    return f"{value:.0f}" if size >= 1000 else f"{value:.1f}" if size >= 100 else f"{value:.3f}"


def interval_text(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return "no interval"
    return f"{number(interval.low)} to {number(interval.high)}"
