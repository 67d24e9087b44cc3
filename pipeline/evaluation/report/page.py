"""Writes a report as one self-contained HTML file: sortable tables, the plots, and every question in detail.

Text from documents, models and people is never markup. It is JSON that a script puts into the page as text, and the
page's content security policy blocks all other scripts and all loading. The details of a question are packed (gzip,
base64), and unpacked when a reader opens them. They are written one by one, so a long report takes little memory.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.resources import files
from pathlib import Path
from typing import TextIO

from pipeline.errors import MissingExtraError
from pipeline.evaluation.compare import RunComparison, as_json
from pipeline.evaluation.metrics import BY_NAME
from pipeline.evaluation.report.plots import picture, quality_of
from pipeline.evaluation.runs import Measures, summary
from pipeline.storage.whole import new_file
from pipeline.types import Place, Span


def write_page(
    path: Path,
    runs: Sequence[Measures],
    comparison: RunComparison | None,
    title: str,
    about: Sequence[str] = (),
    metric: str | None = None,
    seed: int = 0,
    n_detailed: int | None = None,
) -> None:
    """Writes the report of runs on the same questions. `n_detailed` limits how many questions have details."""
    plot, no_plot = _plot(runs, metric, seed)
    quality = quality_of(runs, metric)
    ids = list(dict.fromkeys(row.id for run in runs for row in run.rows))
    content = {
        "title": title,
        "about": list(about),
        "notes": list(comparison.notes) if comparison else [],
        "no_plot": no_plot,
        "quality": {"name": quality, "title": BY_NAME[quality].title} if quality else None,
        "metrics": _metrics(runs),
        "runs": [summary(run, seed) for run in runs],
        "differences": _differences(comparison) if comparison else [],
        "questions": [_listed(n, id_, runs, quality) for n, id_ in enumerate(ids)],
    }
    script = _part("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    csp = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'"
    parts = {"csp": csp, "title": html.escape(title), "style": _part("page.css"), "plot": plot, "data": _json(content)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_file(path) as part, part.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        _fill(file, _part("page.html"), parts)
        for n, id_ in enumerate(ids[:n_detailed]):
            packed = _packed([_detail(run, id_) for run in runs])
            file.write(f'<script id="q{n}" type="text/plain">{packed}</script>\n')
        file.write(f"<script>{script}</script>\n</body>\n</html>\n")


def _fill(file: TextIO, template: str, parts: Mapping[str, str]) -> None:
    """Writes the template with each `{name}` replaced once, in order, so that a value is never taken for a name."""
    rest = template
    for name, value in parts.items():
        before, marker, rest = rest.partition(f"{{{name}}}")
        if not marker:
            raise ValueError(f"the template must have {{{name}}}, in the order of the parts")
        file.write(before + value)
    file.write(rest)


def _plot(runs: Sequence[Measures], metric: str | None, seed: int) -> tuple[str, str]:
    """(the picture as an inline image, "") or ("", why there is none)."""
    try:
        data = picture(runs, metric, seed)
    except MissingExtraError as error:
        return "", f"No picture: {error}"
    if data is None:
        return "", "No picture: these runs have no measure of quality."
    encoded = base64.b64encode(data).decode()
    return f'<img alt="quality against tokens and against seconds" src="data:image/png;base64,{encoded}">', ""


def _part(name: str) -> str:
    return (files("pipeline.evaluation.report") / name).read_text("utf-8")


def _json(value: object) -> str:
    """Encodes JSON so that it cannot end the script element around it."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028")  # U+2028 ends a line in older JavaScript


def _packed(value: object) -> str:
    data = json.dumps(value, ensure_ascii=True, allow_nan=False).encode()
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode()


def _metrics(runs: Sequence[Measures]) -> list[dict[str, object]]:
    names = {metric.name for run in runs for metric in run.metrics}
    return [{"name": m.name, "title": m.title, "what": m.what} for m in BY_NAME.values() if m.name in names]


def _differences(comparison: RunComparison) -> list[dict[str, object]]:
    rows = as_json(comparison)["differences"]
    return [
        {
            **row,
            "title": d.metric.title,
            "is_significant": d.is_significant,
            "is_better": d.is_better,
        }
        for row, d in zip(rows, comparison.differences, strict=True)
    ]


def _listed(n: int, id_: str, runs: Sequence[Measures], quality: str | None) -> dict[str, object]:
    """A question's row: text and gold from the first run that has it, and its quality in each run."""
    record = next(run for run in runs if id_ in run.by_id).record(id_)
    gold = record.fields.get("gold") or {}
    rows = [run.by_id.get(id_) for run in runs]
    return {
        "n": n,
        "id": id_,
        "text": record.question,
        "gold": gold.get("answers") or [],
        "isAnswerable": gold.get("is_answerable"),
        "quality": [row.measured.values.get(quality) if row and quality else None for row in rows],
    }


def _detail(run: Measures, id_: str) -> dict[str, object] | None:
    row = run.by_id.get(id_)
    if row is None:
        return None
    record = run.record(id_)
    detail: dict[str, object] = {"values": dict(row.measured.values), "missing": dict(row.measured.missing)}
    if record.error is not None or record.result is None:
        return {**detail, "error": record.error and record.error.to_dict()}
    result = record.result
    ledger, answer = result.ledger, result.answer
    supports = [Span(*span) for span in (record.fields.get("gold") or {}).get("supports") or []]
    return {
        **detail,
        "error": None,
        "answer": result.text,
        "is_abstention": result.is_abstention,
        "why": answer.why if answer else "",
        "unsupported": list(answer.unsupported) if answer else [],
        "citations": [{"number": c.number, "by": c.by, "quote": c.quote and c.quote.text} for c in result.citations],
        "shown": [
            {
                "number": n,
                "source": _place(passage.source, passage.place),
                "text": marked(passage.text, None if passage.spans else passage.span, supports),
            }
            for n, passage in enumerate(result.shown, 1)
        ],
        "dropped": [
            {
                "stage": entry.stage,
                "why": drop.why,
                "tokens": drop.tokens,
                "source": _place(drop.span.source, drop.place),
                "text": marked(drop.text, drop.span, supports),
            }
            for entry in ledger.stages
            for drop in entry.dropped
        ],
        "stages": [asdict(replace(entry, dropped=(), ranked=())) for entry in ledger.stages],
        "parts": dict(ledger.parts),
        "prompt_tokens": ledger.prompt_tokens,
        "window": ledger.window,
        "reserved": ledger.reserved,
        "generation": ledger.generation and asdict(ledger.generation),
        "notes": [*(f"{entry.stage}: {note}" for entry in ledger.stages for note in entry.notes), *ledger.notes],
    }


def marked(text: str, span: Span | None, supports: Sequence[Span]) -> list[tuple[str, bool]]:
    """Splits a text into (stretch, whether it supports the answer). `span` is the text's span in its source."""
    if span is None or len(text) != span.end - span.start:
        return [(text, False)]
    flags = [False] * len(text)
    for support in supports:
        if support.source == span.source:
            low, high = max(0, support.start - span.start), min(len(text), support.end - span.start)
            for n in range(low, high):
                flags[n] = True
    stretches: list[tuple[str, bool]] = []
    start = 0
    for n in range(1, len(text) + 1):
        if n == len(text) or flags[n] != flags[start]:
            stretches.append((text[start:n], flags[start]))
            start = n
    return stretches


def _place(source: str, place: Place) -> str:
    """A text's place in short: the file's name without folders (or the data set's name for it), page, heading, line."""
    name = source.rpartition("/")[2] if source.startswith("/") else source
    heading, where = place.heading, str(place)
    above = f" ({' > '.join(heading)})" if heading and not where.startswith(heading[0]) else ""
    return f"{name}{', ' if where else ''}{where}{above}"
