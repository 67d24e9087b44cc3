"""How a chat's answers, passages, prompts and memories look. What a document or a model wrote is shown by `visible`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from cli.chat.settings import Settings
from cli.printing import account_line, also, answer_lines, kept_cells, ledger, location, shown_path, table
from pipeline.contracts import Index
from pipeline.docs_index import Unread
from pipeline.followup import Rewritten
from pipeline.forgetting import Forgotten, HeldElsewhere
from pipeline.retrieval.metadata import Metadata
from pipeline.retrieval.scope import Scope
from pipeline.text.visible import visible
from pipeline.types import Answer, Cached, Excerpt, Item, Ledger, Part, Passage, Ranked, Recalled, Soft, Span, State

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
KEPT, DROPPED = "green", "red strike"


def one_line(text: str, width: int) -> str:
    """The text on one line of at most `width` characters; an ellipsis stands for what is left out."""
    line = " ".join(visible(text).split())
    return line if len(line) <= width else line[: max(0, width - 1)] + "…"


# -------------------------------------------------------------------------------------------------------- an answer
def rewriting(found: Rewritten, is_correction: bool = False) -> Text:
    undo = "/undo takes it back" if is_correction else "/undo searches for your own words"
    said = Text("searching for: ", style="dim")
    said.append(visible(found.text), style="cyan")
    return said.append(f"  ({found.why}; {undo})", style="dim")


def is_quote(state: State) -> bool:
    """Whether a sentence of the documents stands in the place of the model's answer."""
    return state.answer is not None and state.answer.by == "quote"


def footer(state: State, settings: Settings, is_summary: bool = False) -> list[RenderableType]:
    """What stands below an answer: a line for each citation, one line of account, the ledger where it is wanted.

    A sentence in the place of an answer is shown here, with its place. A summary has the places of its sentences.
    """
    rows: list[RenderableType] = []
    if state.answer is not None and not state.answer.text and not is_quote(state):
        rows.append(Text("Stopped before it began.", style="yellow"))
    elif is_summary:
        rows += summary_places(state)
    elif settings.sources or is_quote(state):
        rows += answer_lines(state, with_answer=is_quote(state))
    rows.append(Text(figures(state) + ("" if settings.ledger else ", /ledger shows all"), style="dim"))
    if settings.ledger:
        rows.append(ledger(state.ledger))
    return rows


def summary_places(state: State) -> list[RenderableType]:
    """Where the sentences of a summary stand: one line for each document, and what the model's words came to."""
    answer = state.answer or Answer("")
    rows: list[RenderableType] = []
    for source in dict.fromkeys(sentence.source for sentence in state.shown):
        places = [f"[{n}] {sentence.place}" for n, sentence in enumerate(state.shown, 1) if sentence.source == source]
        rows.append(Text(f"{visible(shown_path(source))}: {'; '.join(places)}", style="cyan"))
    return [*rows, *(Text(fault, style="dim") for fault in answer.faults)]


def figures(state: State) -> str:
    """Tokens and seconds of one answer, in one line."""
    generation = state.ledger.generation
    parts = [account_line(state)]
    if generation is not None:
        parts += [f"{generation.reused_tokens} reused"] if generation.reused_tokens else []
        parts += [f"{generation.restored_tokens} kept from earlier"] if generation.restored_tokens else []
        saved_s = generation.saved_s - generation.stored_s
        parts += [f"about {saved_s:.1f} s saved"] if saved_s >= 0.1 else []
        parts += ["stopped"] if generation.finish == "cancelled" else []
        parts += ["/thoughts shows them"] if generation.thought_tokens else []
    return ", ".join(parts)


# --------------------------------------------------------------------------------------------------------- commands
def sources(state: State) -> RenderableType:
    """The passages of the last answer with their scores: as they were found, and after each stage that chose."""
    stages = [entry for entry in state.ledger.stages if entry.ranked]
    rows = []
    for n, passage in enumerate(state.shown, 1):
        scores = " -> ".join(score_in(entry.ranked, passage) for entry in stages)
        rows.append(Text(f"[{n}] {visible(location(passage))}", style="bold cyan").append(also(passage)))
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
        if isinstance(span, Soft):
            text.append(f"<{len(span.vectors)} vectors for {span.stands_for} tokens>", style=PART_STYLES[span.part])
        elif isinstance(span, Cached):
            text.append(f"<{span.n_cells} kept tokens of: {visible(span.piece.text)}>", style=PART_STYLES[span.part])
        elif isinstance(span, Excerpt):
            text.append(visible(span.text), style=f"{PART_STYLES[span.part]} underline")
        else:
            text.append(visible(span.text), style=PART_STYLES[span.part])
    legend = Text("in colour: ", style="dim")
    for part, name, _ in PART_NAMES:
        if any(span.part == part for span in state.prompt):
            legend.append(f"{name} ", style=PART_STYLES[part])
    generation = state.ledger.generation
    lines = kept_cells(generation) if generation is not None else []
    return Group(legend, *(Text(f"underlined: cells that were kept. {line}", style="dim") for line in lines), text)


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


def forgotten(done: Forgotten) -> Text:
    """What was forgotten, and which other sessions still hold it."""
    parts = [turns_said(done.turns)] if done.turns else []
    parts += [f"{done.n_lines} typed line{'s' if done.n_lines > 1 else ''}"] if done.n_lines else []
    what = " and ".join(parts) or "nothing, since no turn here holds it"
    if not done.elsewhere:
        return Text(f"Forgotten, everywhere: {what}.")
    names = [f"{held.name} ({_where_held(held)})" for held in done.elsewhere]
    others = "Another session still holds" if len(names) == 1 else "Other sessions still hold"
    return Text(f"Forgotten in this session: {what}. {others} it: {', '.join(names)}. Forget it there too? yes or no")


def _where_held(held: HeldElsewhere) -> str:
    return turns_said(held.turns) or ("typed lines" if held.n_lines else "it cannot be read, and may")


def day(time: str) -> str:
    return time[:16].replace("T", " ")


def documents(
    settings: Settings, counts: Mapping[str, int], metadata: Mapping[str, Metadata], lacking: Unread
) -> RenderableType:
    """What is named, then each file with the number of its passages and what is known of it."""
    docs, index = settings.docs, settings.index
    if index is None and not docs:
        return Text("No documents: /docs add PATH adds a file, a folder or a glob.")
    head = f"the index {shown_path(index)}" if index is not None else ", ".join(map(shown_path, docs))
    named = "" if index is not None else f"{len(docs)} named, "
    n_files = f"{len(counts)} file{'' if len(counts) == 1 else 's'}"
    width = len(str(max(counts.values(), default=0)))
    rows = [
        Text(f"{n:>{width}}  {visible(shown_path(source))}").append(known_of(metadata[source]), style="dim")
        for source, n in counts.items()
    ]
    more = f"; {lacking.n_unread} not read" if lacking.n_unread else ""
    more += f"; {lacking.n_left_out} left out" if lacking.n_left_out else ""
    more += ": /docs list --skipped" if more else ""
    last = Text(f"{named}{sum(counts.values())} passages in {n_files}{more}", style="dim")
    chosen = [Text(f"filter: {visible(settings.filter)}; /docs filter off searches all")] if settings.filter else []
    return Group(Text(visible(head), style="bold"), *rows, last, *chosen)


def known_of(about: Metadata) -> str:
    """`  pdf, 3 pages, 2024-05-17, en, Ada: The Fares`; a date of the file, and not of the document, is in brackets."""
    n_pages = f"{about.n_pages} page{'' if about.n_pages == 1 else 's'}" if about.n_pages else ""
    day = about.document_date or (f"({about.file_date})" if about.file_date else "")
    named = ": ".join(one_line(part, 60) for part in (about.author, about.title) if part)
    return "  " + ", ".join(filter(None, (about.kind, n_pages, day, about.language, named)))


def is_searched(about: Metadata, scope: Scope, index: Index) -> bool:
    """Whether a filter leaves a document, or some of its pages."""
    pages = index.pages(about.source) if scope.has_pages else ()
    return any(scope.matches(about, page) for page in pages or (None,))


def skipped(found: Unread) -> RenderableType:
    """The files that were not read, by reason, and what was left out of those that were."""
    if not found.files and not found.notes:
        return Text("Every file was read.")
    rows: list[Text] = []
    for why in dict.fromkeys(why for _, why in found.files):
        paths = [visible(shown_path(path)) for path, reason in found.files if reason == why]
        rows.append(Text(f"{visible(why)} ({len(paths)}):", style="bold"))
        rows += [Text(f"  {path}") for path in paths]
    if found.notes:
        rows.append(Text("left out of files that were read:", style="bold"))
        rows += [Text(f"  {visible(shown_path(path))}: {visible(note)}") for path, note in found.notes]
    return Group(*rows)


def transcript(title: str, turns: Sequence[tuple[str, str, str]]) -> str:
    """A conversation as Markdown: (time, question, answer) of each turn."""
    parts = [f"# {title}\n"]
    parts += [f"\n**{question}**  \n*{day(time)}*\n\n{answer or '(stopped)'}\n" for time, question, answer in turns]
    return "".join(parts)


def file_said(path: Path) -> str:
    return visible(shown_path(str(path)))
