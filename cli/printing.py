"""How an answer, its citations and its ledger look in a terminal."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.types import Answer, Citation, Ledger, Passage, State

MAX_QUOTE = 300
MAX_PLACES = 3


def shown_path(source: str) -> str:
    """The source as a path from here where that is shorter, else as it is."""
    try:
        relative = os.path.relpath(source)
    except ValueError:
        return source
    return relative if len(relative) < len(source) else source


def location(passage: Passage) -> str:
    place = passage.place
    page = f" page {place.page}" if place.page is not None else ""
    heading = f" ({' > '.join(place.heading)})" if place.heading else ""
    return f"{shown_path(passage.source)}:{place.line}{page}{heading}"


def citations(state: State) -> RenderableType:
    """Where the answer stands, or, if the model cited nothing, that it did not and what it saw."""
    answer = state.answer or Answer("")
    if answer.is_abstention:
        return Text(f"Not answered: {answer.why}.", style="yellow")
    rows: list[RenderableType] = []
    by_model = [c for c in answer.citations if c.by == "model"]
    if not by_model:
        rows.append(Text("The model cited nothing.", style="yellow"))
        if answer.citations:
            rows.append(Text("Its words stand here (found by matching):", style="dim"))
    rows += [_citation(citation, len(state.shown)) for citation in answer.citations]
    if not answer.citations:
        rows.append(Text(f"It saw {len(state.shown)} passages:", style="dim"))
        rows += [Text(f"  [{n}] {location(passage)}") for n, passage in enumerate(state.shown, 1)]
    if answer.unsupported:
        rows.append(Text(f"Not in what it saw: {', '.join(answer.unsupported)}", style="red"))
    return Group(*rows)


def _citation(citation: Citation, n_shown: int) -> Text:
    if citation.passage is None or citation.quote is None:
        return Text(f"  [{citation.number}] invalid: the prompt had passages 1 to {n_shown}", style="red")
    text = Text(f"  [{citation.number}] {location(citation.quote)}\n", style="cyan")
    quote = " ".join(citation.quote.text.split())
    text.append(
        f'      "{quote if len(quote) <= MAX_QUOTE else quote[:MAX_QUOTE] + " (shortened here)"}"', style="default"
    )
    if citation.by == "model" and citation.support == 0:
        text.append("\n      none of the answer's words stand there", style="red")
    return text


def ledger(account: Ledger) -> RenderableType:
    """The small table after an answer: each stage, then the prompt by part, then the reading."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("stage", "passages", "tokens", "dropped", "seconds"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for entry in account.stages:
        table.add_row(
            entry.stage,
            _change(entry.passages_in, entry.passages_out),
            _change(entry.tokens_in, entry.tokens_out),
            str(sum(drop.tokens for drop in entry.dropped)) if entry.dropped else "",
            f"{entry.seconds:.2f}",
        )
    return Group(table, *(Text(line, style="dim") for line in reading(account)))


def reading(account: Ledger) -> list[str]:
    """The prompt by part, and what reading and writing took, in words."""
    lines = []
    if account.parts:
        said = " + ".join(f"{part} {tokens}" for part, tokens in account.parts)
        room = f"window {account.window}, {account.reserved} kept for the answer"
        lines.append(f"prompt {account.prompt_tokens} tokens = {said} ({room})")
    if account.generation is not None:
        g = account.generation
        reused = f", {g.reused_tokens} reused" if g.reused_tokens else ""
        lines.append(
            f"{account.model}: read {g.prompt_tokens} tokens{reused} in {g.prefill_s:.2f} s"
            + _rate(g.prefill_tokens_per_s)
            + f", wrote {g.answer_tokens} in {g.decode_s:.2f} s{_rate(g.decode_tokens_per_s)}"
        )
    notes = [f"{entry.stage}: {note}" for entry in account.stages for note in entry.notes]
    return [*lines, *notes, *account.notes]


def dropped(account: Ledger) -> RenderableType:
    """What each stage left out and why: one line for each reason, with where the first of it stood."""
    rows: list[Text] = []
    for entry in account.stages:
        for why in dict.fromkeys(drop.why for drop in entry.dropped):
            drops = [drop for drop in entry.dropped if drop.why == why]
            places = list(dict.fromkeys(f"{shown_path(drop.span.source)}:{drop.place.line}" for drop in drops))
            more = f" and {len(places) - MAX_PLACES} more places" if len(places) > MAX_PLACES else ""
            rows.append(
                Text(
                    f"{entry.stage} dropped {sum(drop.tokens for drop in drops)} tokens, {why}: "
                    f"{', '.join(places[:MAX_PLACES])}{more}",
                    style="dim",
                )
            )
    if rows:
        rows.append(Text("--diff shows what was kept and what was dropped; --json has all of it", style="dim"))
    return Group(*rows)


def _change(before: int, after: int) -> str:
    return str(after) if before in (0, after) else f"{before} -> {after}"


def _rate(tokens_per_s: float | None) -> str:
    return "" if tokens_per_s is None else f" ({tokens_per_s:.{0 if tokens_per_s >= 10 else 1}f} tokens/s)"


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """A plain table: one row a line, cells as text."""
    result = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="dim")
    for column in columns:
        result.add_column(column, overflow="fold")
    for row in rows:
        result.add_row(*(Text(str(cell)) for cell in row))
    return result


def print_state(state: State, console: Console, with_answer: bool) -> None:
    """The answer (unless it was streamed already), its citations, its ledger, and what was left out."""
    if with_answer and state.answer is not None:
        console.print(Text(state.answer.text, style="bold"))
    console.print(citations(state))
    console.print()
    console.print(ledger(state.ledger))
    console.print(dropped(state.ledger))
