"""How a chat's answers, passages, prompts and memories look. What a document or a model wrote is shown by `visible`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from cli.chat.markdown import visible
from cli.chat.settings import Settings
from cli.printing import ledger, location, shown_path, table
from pipeline.followup import Rewritten
from pipeline.types import Citation, Item, Ledger, Part, Passage, Ranked, Recalled, Soft, Span, State

PART_STYLES: dict[str, str] = {
    "template": "dim",
    "system": "magenta",
    "memory": "yellow",
    "passages": "green",
    "history": "blue",
    "question": "bold cyan",
    "answer": "bold",
}
PART_NAMES: tuple[tuple[Part, str, str], ...] = (
    ("system", "system", "sys"),
    ("memory", "memory", "mem"),
    ("passages", "documents", "docs"),
    ("history", "history", "hist"),
    ("question", "question", "quest"),
    ("template", "template", "tmpl"),
    ("answer", "room for the answer", "room"),
)
"""The parts of a prompt as the meter names them: in full, and where there is no room for that."""
LEAST_QUOTE = 20
KEPT, DROPPED = "green", "red strike"


def one_line(text: str, width: int) -> str:
    """The text on one line of at most `width` characters; an ellipsis stands for what is left out."""
    line = " ".join(visible(text).split())
    return line if len(line) <= width else line[: max(0, width - 1)] + "…"


# -------------------------------------------------------------------------------------------------------- an answer
def rewriting(found: Rewritten) -> Text:
    said = Text("searching for: ", style="dim")
    said.append(visible(found.text), style="cyan")
    return said.append(f"  ({found.why}; /undo searches for your own words)", style="dim")


def footer(state: State, settings: Settings, width: int) -> list[RenderableType]:
    """What stands below an answer: where it stands, one line of figures, and the ledger where it is wanted."""
    rows: list[RenderableType] = []
    if settings.sources:
        rows += standing(state, width)
    rows.append(Text(figures(state.ledger), style="dim"))
    if settings.ledger:
        rows.append(ledger(state.ledger))
    return rows


def standing(state: State, width: int) -> list[RenderableType]:
    """One line for each citation; that nothing was cited, and what stands nowhere, are said."""
    answer = state.answer
    if answer is None or (not state.shown and not answer.is_abstention):
        return []
    if answer.is_abstention:
        return [Text(f"Not answered: {answer.why}.", style="yellow")]
    if not answer.text:
        return [Text("Stopped before it began.", style="yellow")]
    rows: list[RenderableType] = []
    if not any(citation.by == "model" for citation in answer.citations):
        matched = " Its words stand here:" if answer.citations else ""
        rows.append(Text(f"The model cited nothing.{matched}", style="yellow"))
    rows += [citation_line(citation, len(state.shown), width) for citation in answer.citations]
    if answer.unsupported:
        rows.append(Text(f"Not in what it saw: {visible(', '.join(answer.unsupported))}", style="red"))
    return rows


def citation_line(citation: Citation, n_shown: int, width: int) -> Text:
    if citation.passage is None or citation.quote is None:
        return Text(f"[{citation.number}] invalid: the prompt had passages 1 to {n_shown}", style="red")
    where = f"[{citation.number}] {shown_path(citation.quote.source)}:{citation.quote.place.line}"
    line = Text(visible(where), style="cyan")
    room = width - len(where) - 4
    if room >= LEAST_QUOTE:
        line.append(f'  "{one_line(citation.quote.text, room)}"', style="default")
    return line


def figures(account: Ledger) -> str:
    """Tokens and seconds of one answer, in one line."""
    lost = sum(drop.tokens for entry in account.stages for drop in entry.dropped)
    said = [f"{account.prompt_tokens} tokens read"] if account.parts else []
    if account.generation is not None:
        g = account.generation
        said[-1:] = [f"{g.prompt_tokens} tokens read, {g.reused_tokens} of them reused"]
        said += [f"{g.answer_tokens} written", f"{sum(entry.seconds for entry in account.stages):.1f} s"]
        said += {"length": ["cut at max_tokens"], "cancelled": ["stopped"]}.get(g.finish, [])
    if lost:
        said.append(f"{lost} left out (/diff)")
    return " · ".join(said)


# --------------------------------------------------------------------------------------------------------- commands
def sources(state: State) -> RenderableType:
    """The passages of the last answer with their scores: as they were found, and after each stage that chose."""
    stages = [entry for entry in state.ledger.stages if entry.ranked]
    rows = []
    for n, passage in enumerate(state.shown, 1):
        scores = " -> ".join(score_in(entry.ranked, passage) for entry in stages)
        rows.append(Text(f"[{n}] {visible(location(passage))}", style="bold cyan"))
        rows.append(Text(f"    {scores}", style="dim"))
        rows.append(Text("    " + " ".join(visible(passage.text).split())))
    head = Text(f"score after {' -> '.join(entry.stage for entry in stages)}; each has its own scale", style="dim")
    out = left_out(state)
    return Group(head, *rows, *out)


def score_in(ranked: Sequence[Ranked], passage: Passage) -> str:
    """The score and rank of the best-ranked span that this passage shares characters with; `-` where there is none."""
    for rank, other in enumerate(ranked, 1):
        if any(overlap(other.span, span) for span in passage.spans or (passage.span,)):
            return f"{other.score:.3f} (#{rank})"
    return "-"


def overlap(one: Span, other: Span) -> bool:
    return one.source == other.source and one.start < other.end and other.start < one.end


def left_out(state: State) -> list[RenderableType]:
    """Passages that retrieval found and of which nothing was shown, with the stage that left them out."""
    rows: list[RenderableType] = []
    for rank, passage in enumerate(state.found, 1):
        if any(overlap(span, passage.span) for shown in state.shown for span in shown.spans or (shown.span,)):
            continue
        lost = [e.stage for e in state.ledger.stages if any(overlap(d.span, passage.span) for d in e.dropped)]
        who = lost[0] if lost else "a passage that holds it"
        rows.append(
            Text(f"    {visible(location(passage))}  {passage.score:.3f} (#{rank}), left out by {who}", style="dim")
        )
    return [Text("found, and not shown:", style="dim"), *rows] if rows else []


def prompt(state: State) -> RenderableType:
    """Exactly what the model saw, each part in its colour; soft vectors are counted, since they cannot be shown."""
    text = Text()
    for span in state.prompt:
        if not isinstance(span, Soft):
            text.append(visible(span.text), style=PART_STYLES[span.part])
        else:
            text.append(f"<{len(span.vectors)} vectors for {span.stands_for} tokens>", style=PART_STYLES[span.part])
    legend = Text("in colour: ", style="dim")
    for part, name, _ in PART_NAMES:
        if any(span.part == part for span in state.prompt):
            legend.append(f"{name} ", style=PART_STYLES[part])
    return Group(legend, text)


def differences(pairs: Sequence[tuple[str, bool]]) -> RenderableType:
    """What the model saw, and what a stage dropped; a sign in front says which where there is no colour."""
    if not pairs:
        return Text("Nothing was retrieved for the last answer.")
    return Group(
        *(
            Text(f"{'+' if is_kept else '-'} {visible(text)}", style=KEPT if is_kept else DROPPED)
            for text, is_kept in pairs
        )
    )


def memories(items: Sequence[Item]) -> RenderableType:
    """All that is remembered: tier, turns, date; what was superseded is struck through, with what replaced it."""
    if not items:
        return Text("Nothing is remembered yet: each question and its answer will be.")
    rows: list[Text] = []
    for item in items:
        row = Text(f"{item.tier:<8} {turns_said(item.turns):<12} {day(item.time)}  ", style="dim")
        row.append(" ".join(visible(item.text).split()), style="strike dim" if item.superseded_by else "default")
        if item.superseded_by:
            row.append(f"  superseded by: {visible(item.superseded_by)}", style="yellow")
        rows.append(row)
    return Group(*rows)


def recalled(found: Sequence[Recalled]) -> RenderableType:
    if not found:
        return Text("Nothing that is remembered has to do with that.")
    rows = []
    for one in found:
        weight = "" if one.weight is None else f"{one.weight:.0%}"
        row = Text(f"{weight:>4} {turns_said(one.turns):<12} {day(one.time)}  ", style="dim")
        rows.append(row.append(" ".join(visible(one.text).split()), style="default"))
    return Group(*rows)


def recollections(account: Ledger) -> RenderableType:
    """What memory put into the last prompt: tier, weight, tokens, and the turns that it comes from."""
    rows = [
        (r.tier, "" if r.weight is None else f"{r.weight:.2f}", r.tokens, turns_said(r.turns), one_line(r.text, 60))
        for r in account.recalled
    ]
    return table("", ("recalled", "weight", "tokens", "from", "text"), rows) if rows else Text("")


def turns_said(turns: Sequence[int]) -> str:
    """Numbers of turns in a few characters: `turn 3`, `turns 3-7`, `turns 1, 4`."""
    if not turns:
        return ""
    if len(turns) == 1:
        return f"turn {turns[0]}"
    if list(turns) == list(range(turns[0], turns[-1] + 1)):
        return f"turns {turns[0]}-{turns[-1]}"
    return f"turns {', '.join(map(str, turns))}"


def day(time: str) -> str:
    return time[:16].replace("T", " ")


def documents(docs: Sequence[str], index: str | None, n_chunks: int | None) -> RenderableType:
    held = "" if n_chunks is None else f", {n_chunks} passages"
    if index is not None:
        return Text(f"the index {shown_path(index)}{held}")
    if not docs:
        return Text("No documents: /docs add PATH adds a file, a folder or a glob.")
    return Group(*(Text(visible(shown_path(path))) for path in docs), Text(f"{len(docs)} named{held}", style="dim"))


def transcript(title: str, turns: Sequence[tuple[str, str, str]]) -> str:
    """A conversation as Markdown: (time, question, answer) of each turn."""
    parts = [f"# {title}\n"]
    parts += [f"\n**{question}**  \n*{day(time)}*\n\n{answer or '(stopped)'}\n" for time, question, answer in turns]
    return "".join(parts)


def file_said(path: Path) -> str:
    return visible(shown_path(str(path)))
