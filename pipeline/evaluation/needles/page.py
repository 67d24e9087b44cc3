"""Writes a needle run as one self-contained HTML page: pictures, cells, effective contexts and every reply."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from pipeline.evaluation.needles.pictures import THRESHOLD, HeatMap, effective, file_names, heat_maps, picture, rows_of
from pipeline.evaluation.needles.running import SCORES, Results
from pipeline.storage.whole import write_whole

PAGE = "report.html"
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 13px; display: block; overflow-x: auto; }
th, td { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child, td.text { text-align: left; }
td.text { font-family: ui-monospace, monospace; overflow-wrap: anywhere; min-width: 14rem; }
svg { max-width: 100%; height: auto; }
.wrong { background: #fde8e6; } .tolerant { background: #fff6d6; }
"""
_COLUMNS = ("pairs", "chars", "tokens", "n", "n_failed", "accuracy", "accuracy_low", "accuracy_high", "tolerant")
_FIGURES = ("begins", "found", "f1", "s_per_question", "prompt_tokens")
_FAULTS = ("format_error", "intermediate_hop", "distractor_value", "invented_value", "incomplete")


def write_report(results: Results) -> list[Path]:
    """Writes the pictures and the page, and gives their paths. Raises MissingExtraError without matplotlib."""
    heats = heat_maps(results)
    files: dict[str, bytes] = {}
    for name, heat in zip(file_names(heats), heats, strict=True):
        files |= {f"{name}.{kind}": picture(heat, kind) for kind in ("svg", "png")}
    drawings = [files[f"{name}.svg"].decode() for name in file_names(heats)]
    files[PAGE] = page(results, heats, drawings).encode()
    for name, data in files.items():
        write_whole(results.folder / name, data)
    return [results.folder / name for name in files]


def page(results: Results, heats: Sequence[HeatMap], drawings: Sequence[str]) -> str:
    """The page as text."""
    title = f"Needles: {results.model}, method {results.method}"
    missing = f"<p>{results.n_missing} questions have no reply yet.</p>" if results.n_missing else ""
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>Grid: <code>{escape(json.dumps(results.grid.to_dict()))}</code></p>",
        missing,
        *(f"<figure>{_inline(drawing)}</figure>" for drawing in drawings),
        "<h2>Effective context</h2>",
        _effective(results),
        "<h2>Cells</h2>",
        "<p>Accuracy is strict: the reply is the answer and nothing else. Tolerant: the reply ends on the answer. Low "
        "and high are Wilson's 95 % interval.</p>",
        _cells(results),
        "<h2>Replies</h2>",
        "<p>Yellow: right by the tolerant score alone. Red: wrong.</p>",
        _replies(results.folder / SCORES),
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _inline(drawing: str) -> str:
    return drawing[drawing.index("<svg") :]


def _effective(results: Results) -> str:
    rows = []
    for row, cells in rows_of(results).items():
        held = effective(cells)
        if held is None:
            rows.append((row, "none of the sizes asked for", "", ""))
        else:
            rows.append((row, f"{held.cell.pairs} pairs", f"{held.cell.chars} characters", f"{held.tokens} tokens"))
    note = (
        f"<p>The largest size at which the lower bound is at least {THRESHOLD:.0%}, there and at all smaller ones.</p>"
    )
    return note + _table(("row", "pairs", "characters", "tokens"), rows)


def _cells(results: Results) -> str:
    names = (*_COLUMNS, *_FIGURES, *_FAULTS)
    rows = [(result.cell.row, *(result.to_dict()[name] for name in names)) for result in results.cells]
    return _table(("cell", *(name.replace("_", " ") for name in names)), rows)


def _replies(path: Path) -> str:
    rows = []
    for text in path.read_text("utf-8").splitlines() if path.exists() else []:
        line = json.loads(text)
        score = line["score"] or {"strict": False, "tolerant": False, "fault": "no reply"}
        style = "" if score["strict"] else "tolerant" if score["tolerant"] else "wrong"
        error = (line["error"] or {}).get("message", "")
        cells = (line["id"], ", ".join(line["expected"]), line["reply"] if line["reply"] is not None else error)
        shown = "".join(f'<td class="text">{escape(str(cell))}</td>' for cell in cells)
        rows.append(f'<tr class="{style}">{shown}<td>{score["fault"]}</td><td>{line["seconds"]:.1f}</td></tr>')
    head = "".join(f"<th>{name}</th>" for name in ("question", "expected", "reply", "fault", "seconds"))
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _table(head: Iterable[str], rows: Iterable[Sequence[object]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"
