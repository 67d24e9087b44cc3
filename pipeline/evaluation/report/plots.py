"""Plots quality against cost: one mark per pipeline, with the 95 % intervals of both means."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from pipeline.errors import MissingExtraError
from pipeline.evaluation.metrics import BY_NAME
from pipeline.evaluation.runs import Measures
from pipeline.evaluation.statistics import Interval
from pipeline.text.visible import picture_label

QUALITIES = ("f1", "ndcg_at_10", "support_recall", "answerability")
"""The metrics to plot and to rank a sweep by: the first of these that the runs have."""

COSTS = ("prompt_tokens", "seconds")
INSTALL = "plots need matplotlib: pip install 'longthread[plots]' (or pip install matplotlib)"
_COLOURS = ("#0b6fa4", "#c8501e", "#3f7d20", "#7a3e9d", "#946c00", "#b3225b", "#2b7a78", "#555555")
_MARKS = "osD^vPX*"


def quality_of(runs: Sequence[Measures], metric: str | None = None) -> str | None:
    """The named metric, or the first of QUALITIES, if a run has values of it; else None."""
    for name in (metric,) if metric else QUALITIES:
        if any(run.values(name) for run in runs):
            return name
    return None


def picture(runs: Sequence[Measures], metric: str | None = None, seed: int = 0, dpi: int = 150) -> bytes | None:
    """A PNG with one panel per cost. Leaves out runs without values, and gives None if no run has any.

    Raises MissingExtraError if matplotlib is not installed.
    """
    quality = quality_of(runs, metric)
    if quality is None:
        return None
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError(INSTALL) from None
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(COSTS), sharey=True)
    for axis, cost in zip(axes, COSTS, strict=True):
        _panel(axis, runs, quality, cost, seed)
    axes[0].set_ylabel(f"{BY_NAME[quality].title} (mean, 95 % interval)")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(runs)), frameon=False, fontsize=9)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=dpi, metadata={"Software": None})
    return out.getvalue()


def _panel(axis: Any, runs: Sequence[Measures], quality: str, cost: str, seed: int) -> None:
    for n, run in enumerate(runs):
        y, x = run.interval(quality, seed), run.interval(cost, seed)
        if x is None or y is None:
            continue
        axis.errorbar(
            x.mean,
            y.mean,
            xerr=_bars(x),
            yerr=_bars(y),
            fmt=_MARKS[n % len(_MARKS)],
            color=_COLOURS[n % len(_COLOURS)],
            markersize=7,
            capsize=3,
            linewidth=1.2,
            label=_plain(f"{run.name} (n {y.n})"),
        )
    axis.set_xlabel(f"{BY_NAME[cost].title} per question (mean, 95 % interval)")
    axis.set_xlim(left=0)
    axis.grid(color="#e4e4e4", linewidth=0.8)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _bars(interval: Interval) -> list[list[float]] | None:
    if interval.low is None or interval.high is None:
        return None
    return [[interval.mean - interval.low], [interval.high - interval.mean]]


def _plain(name: str) -> str:
    """A label that matplotlib does not parse as mathematics, and does not hide for a leading underscore."""
    return picture_label(name).lstrip("_")
