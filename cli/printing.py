"""How an answer, its citations and its ledger look in a terminal, and as plain lines through a pipe."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.style import Style
from rich.table import Table
from rich.text import Text

from pipeline.text.visible import one_line, visible
from pipeline.types import Answer, Citation, Generation, Ledger, Passage, Span, State

MAX_QUOTE = 300
MAX_WRITTEN = 120
MAX_PLACES = 3


def shown_path(source: str) -> str:
    """The source, as a relative path if that is shorter."""
    try:
        relative = os.path.relpath(source)
    except ValueError:
        return source
    return relative if len(relative) < len(source) else source


def location(passage: Passage) -> str:
    """The file and the place in it: `docs/garden.html, line 12`, `report.pdf, p. 2`."""
    place = str(passage.place)
    return f"{one_line(shown_path(passage.source))}, {place}" if place else one_line(shown_path(passage.source))


def linked_location(passage: Passage) -> Text:
    """The location as a link to the file, for terminals with hyperlinks (OSC 8)."""
    text = Text(location(passage), style="cyan")
    if os.path.isabs(passage.source):
        text.stylize(Style(link=Path(passage.source).as_uri()))
    return text


def also(passage: Passage) -> Text:
    """` (also in old/fares.md, line 12)`: the other places of the same text, empty if there are none."""
    if not passage.copies:
        return Text()
    copies = [location(replace(passage, source=copy.source, place=copy.place)) for copy in passage.copies]
    more = f" and {len(copies) - MAX_PLACES} more places" if len(copies) > MAX_PLACES else ""
    return Text(f" (also in {'; '.join(copies[:MAX_PLACES])}{more})", style="dim")


def answer_lines(state: State, with_answer: bool = True, with_details: bool = True) -> list[Text]:
    """The answer, remarks on it, and a line for each citation.

    `with_details` adds the model's words if something else is shown, their faults, and the reason of an abstention.
    """
    answer = state.answer or Answer("")
    if answer.is_abstention:
        lines = _abstention(state, answer, with_details)
        return lines if with_answer else lines[1:]
    if answer.by == "quote":
        lines = _quote(state, answer)
    else:
        lines = [Text(visible(answer.text), style="bold")] if with_answer else []
        lines += citation_lines(state)
    if with_details:
        lines += detail_lines(answer)
    return lines


def citation_lines(state: State) -> list[Text]:
    """One line for each citation, then the names in the answer that no shown document contains."""
    answer = state.answer or Answer("")
    lines: list[Text] = []
    has_evidence = any(citation.is_valid and citation.by != "question" for citation in answer.citations)
    if state.shown and not has_evidence:
        valid = [citation for citation in answer.citations if citation.is_valid]
        nearest = f" {_nearest(len(valid))}" if valid else ""
        lines.append(Text(f"Nothing that was shown says this.{nearest}", style="yellow"))
    lines += [citation_line(c, len(state.shown), has_others=has_evidence) for c in answer.citations]
    if answer.unsupported:
        names = one_line(", ".join(answer.unsupported))
        lines.append(Text(f"Not in the documents that were shown: {names}", style="yellow"))
    return lines


def citation_line(citation: Citation, n_shown: int, max_quote: int = MAX_QUOTE, has_others: bool = False) -> Text:
    """`[1] garden.html, line 12: "Seven beehives stand there."`

    With `has_others` other quotes support the answer, and a quote that is only near the question is marked.
    """
    if citation.passage is None or citation.quote is None:
        return Text(f"[{citation.number}] names no passage: the model was shown 1 to {n_shown}", style="red")
    line = Text.assemble((f"[{citation.number}] ", "cyan"), linked_location(citation.quote), also(citation.quote))
    if has_others and citation.by == "question":
        line.append(", near the question")
        line.stylize("dim")
    return line.append(f': "{shortened(citation.quote.text, max_quote)}"')


def shortened(text: str, max_chars: int) -> str:
    """The text on one line. A text longer than `max_chars` is cut at a word and marked as shortened."""
    line = one_line(text)
    if len(line) <= max_chars:
        return line
    head = line[:max_chars]
    return f"{head[: head.rfind(' ')] if ' ' in head else head} ... (shortened here)"


def detail_lines(answer: Answer) -> list[Text]:
    """The model's words if something else is shown, and their faults."""
    lines = []
    if answer.said:
        lines.append(Text(f'The model wrote: "{shortened(answer.said, MAX_WRITTEN)}"', style="dim"))
    if answer.faults:
        lines.append(Text(one_line("; ".join(answer.faults)), style="dim"))
    return lines


def _nearest(n_quotes: int) -> str:
    return "The nearest sentence:" if n_quotes == 1 else f"The nearest {n_quotes} sentences:"


def _abstention(state: State, answer: Answer, with_details: bool) -> list[Text]:
    lines = [Text(visible(answer.text), style="bold")]
    if with_details and answer.why:
        lines.append(Text(one_line(answer.why), style="dim"))
    if answer.citations:
        lines.append(Text(_nearest(len(answer.citations)), style="dim"))
        lines += [citation_line(citation, len(state.shown)) for citation in answer.citations]
    return lines + (detail_lines(answer) if with_details else [])


def _quote(state: State, answer: Answer) -> list[Text]:
    """A quote that replaces the answer. It is shown once, whole, with its place."""
    rows = [citation_line(c, len(state.shown), max(MAX_QUOTE, len(answer.text))) for c in answer.citations]
    if not answer.why:
        first = answer.citations[0] if answer.citations else None
        if first is not None and first.quote is not None:
            rows[0] = Text.assemble((f"[{first.number}] ", "cyan"), linked_location(first.quote), also(first.quote))
            rows[0].append(": this sentence", style="dim")
        return [Text(visible(answer.text), style="bold"), *rows]
    model = f" ({one_line(state.ledger.model)})" if state.ledger.model else ""
    head = f"The model{model} gave no usable answer. The sentence nearest to the question:"
    return [Text(head, style="yellow"), *(rows or [Text(visible(answer.text), style="bold")])]


def account_line(state: State) -> str:
    """The cost of the answer: `194 tokens read, 21 written in 1.7 s, 5 of 8 passages left out`."""
    ledger = state.ledger
    seconds = f"in {sum(entry.seconds for entry in ledger.stages):.1f} s"
    parts = [f"nothing was read by a model, {seconds}"]
    if ledger.generation is not None:
        generation = ledger.generation
        thought = f"{thought_for(generation)}, " if generation.thought_tokens else ""
        kept = f" ({generation.restored_tokens} of them from kept cells)" if generation.restored_tokens else ""
        parts = [f"{generation.prompt_tokens} tokens read{kept}, {thought}{generation.answer_tokens} written {seconds}"]
    n_left = sum(not any(overlaps(shown, passage) for shown in state.shown) for passage in state.found)
    if n_left and ledger.generation is not None:
        parts.append(f"{n_left} of {len(state.found)} passages left out")
    return ", ".join(parts)


def thought_for(generation: Generation) -> str:
    """`thought for 120 tokens`, and whether the thoughts were cut."""
    return f"thought for {generation.thought_tokens} tokens" + (" (cut)" if generation.is_thought_cut else "")


def thoughts(generation: Generation | None) -> Text:
    """The thoughts of a model before its answer, as it wrote them."""
    if generation is None or not generation.thought_tokens:
        return Text("No thoughts before this answer.", style="dim")
    return Text(f"{thought_for(generation)}:\n{visible(generation.thoughts)}", style="dim")


def overlaps(shown: Passage, other: Passage | Span) -> bool:
    """Whether a passage shares characters with another one, or with a span."""
    spans: Sequence[Span] = shown.spans or (shown.span,)
    return any(s.source == other.source and s.start < other.end and other.start < s.end for s in spans)


def ledger(account: Ledger) -> RenderableType:
    """The stages as a table, then the parts of the prompt, then reading and writing."""
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
    """The parts of the prompt, and the cost of reading and writing, in words."""
    lines = []
    if account.parts:
        parts = " + ".join(f"{part} {tokens}" for part, tokens in account.parts)
        room = f"window {account.window}, {account.reserved} kept for the answer"
        lines.append(f"prompt {account.prompt_tokens} tokens = {parts} ({room})")
    if account.generation is not None:
        g = account.generation
        reused = f", {g.reused_tokens} reused" if g.reused_tokens else ""
        lines.append(
            f"{account.model}: read {g.prompt_tokens} tokens{reused} in {g.prefill_s:.2f} s"
            + _rate(g.prefill_tokens_per_s)
            + f", wrote {g.answer_tokens} in {g.decode_s:.2f} s{_rate(g.decode_tokens_per_s)}"
        )
        lines += kept_cells(g)
    notes = [f"{entry.stage}: {note}" for entry in account.stages for note in entry.notes]
    return [*lines, *notes, *account.notes]


def kept_cells(generation: Generation) -> list[str]:
    """How much of the prompt came from kept cells, in words. Empty if nothing did."""
    g = generation
    if not g.restored_tokens and not g.stored_tokens:
        return []
    n_fresh = g.prompt_tokens - g.reused_tokens - g.restored_tokens
    line = f"kept cells: {g.restored_tokens} restored ({g.shifted_tokens} of them moved), {n_fresh} read"
    if g.stored_tokens:
        line += f"; {g.stored_tokens} tokens of passages read in {g.stored_s:.2f} s, and kept from now on"
    if g.saved_s:
        line += f"; reading the restored ones takes about {g.saved_s:.1f} s (estimated by when they were read)"
    return [line]


def dropped(account: Ledger) -> RenderableType:
    """What each stage dropped: one line for each reason, with the first places."""
    rows: list[Text] = []
    for entry in account.stages:
        for why in dict.fromkeys(drop.why for drop in entry.dropped):
            drops = [drop for drop in entry.dropped if drop.why == why]
            names = (", ".join(filter(None, (shown_path(d.span.source), str(d.place)))) for d in drops)
            places = list(dict.fromkeys(names))
            more = f"; and {len(places) - MAX_PLACES} more places" if len(places) > MAX_PLACES else ""
            rows.append(
                Text(
                    f"{entry.stage} dropped {sum(drop.tokens for drop in drops)} tokens, {why}: "
                    f"{'; '.join(places[:MAX_PLACES])}{more}",
                    style="dim",
                )
            )
    if rows:
        rows.append(Text("--diff shows what was kept and what was dropped; --json has every drop", style="dim"))
    return Group(*rows)


def _change(before: int, after: int) -> str:
    return str(after) if before in (0, after) else f"{before} -> {after}"


def _rate(tokens_per_s: float | None) -> str:
    return "" if tokens_per_s is None else f" ({tokens_per_s:.{0 if tokens_per_s >= 10 else 1}f} tokens/s)"


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """A plain table with cells as text."""
    result = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="dim")
    for column in columns:
        result.add_column(column, overflow="fold")
    for row in rows:
        result.add_row(*(Text(visible(str(cell))) for cell in row))
    return result


def print_state(
    state: State,
    console: Console,
    with_answer: bool = True,
    account: bool = False,
    quiet: bool = False,
    with_thoughts: bool = False,
) -> None:
    """Prints the answer (unless it was printed already), its citations, and a line of account.

    `account` prints the whole account instead of the line, `quiet` nothing after the citations, and `with_thoughts` the
    model's thoughts first.
    """
    if with_thoughts:
        console.print(thoughts(state.ledger.generation))
        console.print()
    for line in answer_lines(state, with_answer, with_details=not quiet):
        console.print(line)
    if account:
        console.print()
        console.print(ledger(state.ledger))
        console.print(dropped(state.ledger))
    elif not quiet:
        console.print(Text(f"{account_line(state)}, --account shows all", style="dim"))
