"""How a chat's answers, passages, prompts and memories look. Text of documents and models goes through `visible`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from cli.chat.chat import Chat
from cli.chat.settings import Settings
from cli.printing import account_line, also, answer_lines, kept_cells, ledger, location, overlaps, shown_path, table
from pipeline.contracts import Index
from pipeline.conversation.followup import Rewritten
from pipeline.conversation.forgetting import Forgotten, HeldElsewhere
from pipeline.docs_index import Unread
from pipeline.retrieval.metadata import Metadata
from pipeline.retrieval.scope import Scope
from pipeline.text.counting import counted
from pipeline.text.visible import visible
from pipeline.types import Answer, Cached, Excerpt, Item, Ledger, Part, Passage, Ranked, Recalled, Soft, State

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
"""The parts of a prompt with their long and their short names."""
KEPT, DROPPED = "green", "red strike"


def cut_line(text: str, width: int) -> str:
    """The text on one line of at most `width` characters, cut with an ellipsis."""
    line = " ".join(visible(text).split())
    return line if len(line) <= width else line[: max(0, width - 1)] + "…"


def rewriting(rewritten: Rewritten, is_correction: bool = False) -> Text:
    undo = "/undo takes it back" if is_correction else "/undo searches for your own words"
    text = Text("searching for: ", style="dim")
    text.append(visible(rewritten.text), style="cyan")
    return text.append(f"  ({rewritten.why}; {undo})", style="dim")


def is_quote(state: State) -> bool:
    """Whether a sentence of the documents replaces the model's answer."""
    return state.answer is not None and state.answer.by == "quote"


def footer(state: State, settings: Settings, is_summary: bool = False) -> list[RenderableType]:
    """The lines below an answer: a line for each citation, a line of account, the ledger if the settings ask for it.

    A quote that replaces the answer is shown here with its place. A summary has the places of its sentences.
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
    """The places of a summary's sentences, a line for each document, then the faults of the model's words."""
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


def sources(state: State) -> RenderableType:
    """The passages of the last answer with their scores after retrieval and after each stage that ranks."""
    stages = [entry for entry in state.ledger.stages if entry.ranked]
    rows = []
    for n, passage in enumerate(state.shown, 1):
        scores = " -> ".join(score_in(entry.ranked, passage) for entry in stages)
        rows.append(Text(f"[{n}] {visible(location(passage))}", style="bold cyan").append(also(passage)))
        rows.append(Text(f"    {scores}", style="dim"))
        rows.append(Text("    " + " ".join(visible(passage.text).split())))
    head = Text(f"score after {' -> '.join(entry.stage for entry in stages)}; each has its own scale", style="dim")
    return Group(head, *rows, *left_out(state))


def score_in(ranked: Sequence[Ranked], passage: Passage) -> str:
    """The score and rank of the best span that overlaps with the passage, `-` if there is none."""
    for rank, other in enumerate(ranked, 1):
        if overlaps(passage, other.span):
            return f"{other.score:.3f} (#{rank})"
    return "-"


def left_out(state: State) -> list[RenderableType]:
    """Retrieved passages that were not shown, with the stage that left them out."""
    rows: list[RenderableType] = []
    for rank, passage in enumerate(state.found, 1):
        if any(overlaps(shown, passage) for shown in state.shown):
            continue
        stages = [e.stage for e in state.ledger.stages if any(overlaps(passage, drop.span) for drop in e.dropped)]
        who = stages[0] if stages else "a passage that contains it"
        rows.append(
            Text(f"    {visible(location(passage))}  {passage.score:.3f} (#{rank}), left out by {who}", style="dim")
        )
    return [Text("found, and not shown:", style="dim"), *rows] if rows else []


def prompt(state: State) -> RenderableType:
    """Exactly what the model saw, each part in its colour. Soft vectors cannot be shown, so they are counted."""
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
    """Kept and dropped texts, each with a sign for where there is no colour."""
    if not pairs:
        return Text("Nothing was retrieved for the last answer.")
    return Group(
        *(
            Text(f"{'+' if is_kept else '-'} {visible(text)}", style=KEPT if is_kept else DROPPED)
            for text, is_kept in pairs
        )
    )


def memories(items: Sequence[Item]) -> RenderableType:
    """Every memory with tier, turns and date. A superseded one is struck through, followed by its replacement."""
    if not items:
        return Text("Nothing is remembered yet. Each question will be, with its answer.")
    rows: list[Text] = []
    for item in items:
        row = Text(f"{item.tier:<8} {turns_text(item.turns):<12} {day(item.time)}  ", style="dim")
        row.append(" ".join(visible(item.text).split()), style="strike dim" if item.superseded_by else "default")
        if item.superseded_by:
            row.append(f"  superseded by: {visible(item.superseded_by)}", style="yellow")
        rows.append(row)
    return Group(*rows)


def recalled(memories: Sequence[Recalled]) -> RenderableType:
    if not memories:
        return Text("Nothing remembered matches that.")
    rows = []
    for memory in memories:
        weight = "" if memory.weight is None else f"{memory.weight:.0%}"
        row = Text(f"{weight:>4} {turns_text(memory.turns):<12} {day(memory.time)}  ", style="dim")
        rows.append(row.append(" ".join(visible(memory.text).split()), style="default"))
    return Group(*rows)


def recollections(account: Ledger) -> RenderableType:
    """The memories in the last prompt: tier, weight, tokens, and the turns that they come from."""
    rows = [
        (r.tier, "" if r.weight is None else f"{r.weight:.2f}", r.tokens, turns_text(r.turns), cut_line(r.text, 60))
        for r in account.recalled
    ]
    return table("", ("recalled", "weight", "tokens", "from", "text"), rows) if rows else Text("")


def turns_text(turns: Sequence[int]) -> str:
    """`turn 3`, `turns 3-7`, `turns 1, 4`."""
    if not turns:
        return ""
    if len(turns) == 1:
        return f"turn {turns[0]}"
    if list(turns) == list(range(turns[0], turns[-1] + 1)):
        return f"turns {turns[0]}-{turns[-1]}"
    return f"turns {', '.join(map(str, turns))}"


def forgotten(result: Forgotten) -> Text:
    """What was forgotten, and which other sessions still contain it."""
    parts = [turns_text(result.turns)] if result.turns else []
    parts += [counted(result.n_lines, "typed line")] if result.n_lines else []
    what = " and ".join(parts) or "nothing, since no turn here holds it"
    if not result.elsewhere:
        return Text(f"Forgotten, everywhere: {what}.")
    names = [f"{other.name} ({_place(other)})" for other in result.elsewhere]
    others = "Another session still holds" if len(names) == 1 else "Other sessions still hold"
    return Text(f"Forgotten in this session: {what}. {others} it: {', '.join(names)}. Forget it there too? yes or no")


def _place(session: HeldElsewhere) -> str:
    return turns_text(session.turns) or ("typed lines" if session.n_lines else "unreadable, so it may contain it")


def day(time: str) -> str:
    return time[:16].replace("T", " ")


def documents(
    settings: Settings, counts: Mapping[str, int], metadata: Mapping[str, Metadata], missing: Unread
) -> RenderableType:
    """The named documents, then each file with its number of passages and its metadata."""
    docs, index = settings.docs, settings.index
    if index is None and not docs:
        return Text("No documents: /docs add PATH adds a file, a folder or a glob.")
    head = f"the index {shown_path(index)}" if index is not None else ", ".join(map(shown_path, docs))
    named = "" if index is not None else f"{len(docs)} named, "
    width = len(str(max(counts.values(), default=0)))
    rows = [
        Text(f"{n:>{width}}  {visible(shown_path(source))}").append(metadata_text(metadata[source]), style="dim")
        for source, n in counts.items()
    ]
    more = f"; {missing.n_unread} not read" if missing.n_unread else ""
    more += f"; {missing.n_left_out} left out" if missing.n_left_out else ""
    more += ": /docs list --skipped" if more else ""
    last = Text(
        f"{named}{counted(sum(counts.values()), 'passage')} in {counted(len(counts), 'file')}{more}", style="dim"
    )
    chosen = [Text(f"filter: {visible(settings.filter)}; /docs filter off searches all")] if settings.filter else []
    return Group(Text(visible(head), style="bold"), *rows, last, *chosen)


def metadata_text(about: Metadata) -> str:
    """`  pdf, 3 pages, 2024-05-17, en, Ada: The Fares`. A date of the file, not of the document, is in brackets."""
    n_pages = counted(about.n_pages, "page") if about.n_pages else ""
    date = about.document_date or (f"({about.file_date})" if about.file_date else "")
    named = ": ".join(cut_line(part, 60) for part in (about.author, about.title) if part)
    return "  " + ", ".join(filter(None, (about.kind, n_pages, date, about.language, named)))


def is_searched(about: Metadata, scope: Scope, index: Index) -> bool:
    """Whether a filter matches a document, or some of its pages."""
    pages = index.pages(about.source) if scope.has_pages else ()
    return any(scope.matches(about, page) for page in pages or (None,))


def skipped(missing: Unread) -> RenderableType:
    """The files that were not read, by reason, and what was left out of the others."""
    if not missing.files and not missing.notes:
        return Text("Every file was read.")
    rows: list[Text] = []
    for why in dict.fromkeys(why for _, why in missing.files):
        paths = [visible(shown_path(path)) for path, reason in missing.files if reason == why]
        rows.append(Text(f"{visible(why)} ({len(paths)}):", style="bold"))
        rows += [Text(f"  {path}") for path in paths]
    if missing.notes:
        rows.append(Text("left out of files that were read:", style="bold"))
        rows += [Text(f"  {visible(shown_path(path))}: {visible(note)}") for path, note in missing.notes]
    return Group(*rows)


def transcript(title: str, turns: Sequence[tuple[str, str, str]]) -> str:
    """A conversation of turns (time, question, answer) as Markdown."""
    parts = [f"# {title}\n"]
    parts += [f"\n**{question}**  \n*{day(time)}*\n\n{answer or '(stopped)'}\n" for time, question, answer in turns]
    return "".join(parts)


def greeting(chat: Chat) -> Text:
    """The session, the model, the documents and the last turn, for the start of a session."""
    n = len(chat.turns)
    text = Text("session ", style="dim").append(chat.name, style="bold")
    text.append(f", {counted(n, 'turn')} so far" if n else ", a new one")
    documents = [shown_path(path) for path in chat.settings.docs]
    where = shown_path(chat.settings.index) if chat.settings.index else ", ".join(documents)
    text.append(f"\n{chat.pipeline.reader.name}, answering from {where}" if where else "")
    text.append("" if where else "\nno documents yet: /docs add PATH", style="yellow")
    text.append(f"\nfilter: {chat.settings.filter}" if chat.settings.filter and where else "")
    if n:
        question, answer = chat.turns[-1].question, chat.turns[-1].answer
        text.append(f"\nlast: {cut_line(question, 60)} {cut_line(answer, 60)}")
    return text
