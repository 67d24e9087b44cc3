"""Heat maps of accuracy in the terminal, as SVG and as PNG. Columns are sizes, rows are depths or lengths.

They show the tolerant score, like the effective context: see scoring.py.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.errors import MissingExtraError
from pipeline.evaluation.needles.running import CellResult, Results
from pipeline.evaluation.statistics import Interval, wilson
from pipeline.text.visible import picture_label

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

THRESHOLD = 0.75
LETTERS_PER_INCH = 14
"""Letters of a title per inch, at its font size."""
INSTALL = "pictures need matplotlib: pip install 'longthread[plots]' (or pip install matplotlib)"


@dataclass(frozen=True)
class HeatMap:
    """Accuracy with its interval at (row, column); None if nothing was asked. Columns are sizes, ascending.

    `marks` gives each row's effective context as a column: the last one that holds, or None.
    """

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[Interval | None, ...], ...]
    marks: tuple[int | None, ...] = ()

    @property
    def means(self) -> list[list[float]]:
        """Shape (rows, columns); NaN where nothing was asked."""
        return [[float("nan") if interval is None else interval.mean for interval in row] for row in self.values]

    @property
    def lows(self) -> list[list[float]]:
        return [[float("nan") if interval is None else interval.low or 0.0 for interval in row] for row in self.values]


def heat_maps(results: Results, threshold: float = THRESHOLD) -> list[HeatMap]:
    """One map of all cells by size, and a map by size and depth for each row that has depths."""
    maps = [_by_size(results, threshold)] if results.cells else []
    for row in dict.fromkeys(cell.row for cell, _, _, _ in results.depths):
        maps.append(_by_depth(results, row))
    return maps


def effective(results: Sequence[CellResult], threshold: float = THRESHOLD) -> CellResult | None:
    """The largest size at which the lower bound is at least the threshold, there and at all smaller sizes."""
    largest = None
    for result in sorted(results, key=lambda result: result.cell.pairs):
        if (result.tolerant.low or 0.0) < threshold:
            break
        largest = result
    return largest


def rows_of(results: Results) -> dict[str, list[CellResult]]:
    """Groups the cells into rows: cells of a row differ only in size."""
    rows: dict[str, list[CellResult]] = {}
    for result in results.cells:
        rows.setdefault(result.cell.row, []).append(result)
    return rows


def _by_size(results: Results, threshold: float) -> HeatMap:
    rows = rows_of(results)
    sizes = sorted({result.cell.pairs for result in results.cells})
    tokens = {result.cell.pairs: result.tokens for result in results.cells}
    values, marks = [], []
    for cells in rows.values():
        by_size = {cell.cell.pairs: cell.tolerant for cell in cells}
        values.append(tuple(by_size.get(size) for size in sizes))
        held = effective(cells, threshold)
        marks.append(None if held is None else sizes.index(held.cell.pairs))
    title = f"{results.model}, {results.method}: accuracy by size"
    columns = tuple(f"{_short(tokens[size])} tokens" for size in sizes)
    return HeatMap(title, tuple(rows), columns, tuple(values), tuple(marks))


def _by_depth(results: Results, row: str) -> HeatMap:
    results_by_depth = [(cell, depth, hits, n) for cell, depth, hits, n in results.depths if cell.row == row]
    sizes = sorted({cell.pairs for cell, _, _, _ in results_by_depth})
    depths = sorted({depth for _, depth, _, _ in results_by_depth})
    accuracy: dict[tuple[float, int], Interval] = {
        (depth, cell.pairs): wilson(hits, n) for cell, depth, hits, n in results_by_depth
    }
    tokens = {result.cell.pairs: result.tokens for result in results.cells if result.cell.row == row}
    values = tuple(tuple(accuracy.get((depth, size)) for size in sizes) for depth in depths)
    title = f"{results.model}, {results.method}: {row}, accuracy by size and depth"
    columns = tuple(f"{_short(tokens.get(size, 0))} tokens" for size in sizes)
    return HeatMap(title, tuple(f"depth {depth:.0%}" for depth in depths), columns, values)


def in_terminal(heat: HeatMap) -> RenderableType:
    """The map as a table of coloured figures. A triangle marks the effective context of a row."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=heat.title, title_justify="left", box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    for column in heat.columns:
        table.add_column(column, justify="right")
    for number, (row, values) in enumerate(zip(heat.rows, heat.values, strict=True)):
        mark = heat.marks[number] if heat.marks else None
        cells = [_cell(interval, is_last=mark == column) for column, interval in enumerate(values)]
        table.add_row(Text(row), *cells)
    if any(mark is not None for mark in heat.marks):
        table.caption = f"◂ the effective context: the lower bound is at least {THRESHOLD:.0%} up to here"
        table.caption_justify = "left"
    return table


def _cell(value: Interval | None, is_last: bool) -> Text:
    from rich.text import Text

    if value is None:
        return Text("-", style="dim")
    red, green = round(200 * (1 - value.mean)), round(150 * value.mean)
    label = f" {value.mean:4.0%} of {value.n:<3}"
    return Text(label + ("◂" if is_last else " "), style=f"bold white on rgb({red},{green},60)")


def picture(heat: HeatMap, kind: str) -> bytes:
    """The map as `svg` or `png`, with the contour of the threshold if there are at least two rows and columns.

    Raises MissingExtraError if matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError(INSTALL) from None
    with mpl.rc_context({"svg.hashsalt": "longthread", "svg.fonttype": "none"}):
        n_rows, n_columns = len(heat.rows), len(heat.columns)
        width = 2.6 + 1.0 * n_columns
        title = textwrap.fill(picture_label(heat.title), round(width * LETTERS_PER_INCH))
        figure = Figure(figsize=(width, 1.4 + 0.15 * (1 + title.count("\n")) + 0.42 * n_rows), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        drawn = axes.imshow(heat.means, vmin=0, vmax=1, cmap="RdYlGn", aspect="auto")
        axes.set_xticks(range(n_columns), heat.columns, rotation=30, ha="right", fontsize=8)
        axes.set_yticks(range(n_rows), heat.rows, fontsize=8)
        figure.suptitle(title, x=0.02, ha="left", fontsize=9)
        for y, row in enumerate(heat.values):
            for x, interval in enumerate(row):
                if interval is not None:
                    label = f"{interval.mean:.0%}\n{interval.low or 0:.0%}-{interval.high or 0:.0%}"
                    colour = "white" if interval.mean < 0.15 or interval.mean > 0.9 else "black"
                    axes.text(x, y, label, ha="center", va="center", fontsize=6, color=colour)
        _contour(axes, heat)
        axes.set_xlabel("accuracy, and below it its 95 % interval", fontsize=7, loc="left")
        figure.colorbar(drawn, ax=axes, label="accuracy")
        out = io.BytesIO()
        figure.savefig(out, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else {"Software": None})
    return out.getvalue()


def _contour(axes: Any, heat: HeatMap) -> None:
    """Draws where the lower bound crosses the threshold, bilinear between the cells."""
    import numpy as np

    lows = np.array(heat.lows)
    if min(lows.shape) < 2 or np.isnan(lows).any() or not lows.min() < THRESHOLD <= lows.max():
        return
    axes.contour(lows, levels=[THRESHOLD], colors="black", linewidths=1.2)


def file_names(heats: Sequence[HeatMap]) -> list[str]:
    """A name for each map's files, without a suffix."""
    return ["accuracy-by-size", *(f"accuracy-by-depth-{n}" for n in range(1, len(heats)))][: len(heats)]


def _short(n: int) -> str:
    return f"{n}" if n < 10_000 else f"{n / 1000:.0f}k"
