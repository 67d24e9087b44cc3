"""`longthread sessions`: list, show, delete and export conversations."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from cli.command import command, new_app
from cli.names import for_each
from cli.options import Json
from cli.output import open_console, print_json, print_line
from pipeline.conversation.sessions import (
    delete_session,
    existing_session,
    list_sessions,
    move_from_cache,
    sessions_folder,
)
from pipeline.conversation.transcript import read_turns
from pipeline.errors import DataError
from pipeline.text.counting import counted, size_text
from pipeline.text.visible import one_line

if TYPE_CHECKING:
    from pipeline.pipeline import Pipeline

SessionName = Annotated[str, typer.Argument(metavar="NAME", help="A name from 'sessions list'.", show_default=False)]

app = new_app("List, show, delete and export your conversations.", "longthread sessions list")


@dataclass(frozen=True, kw_only=True)
class ListOptions:
    """The options of `longthread sessions list`."""

    json: Json = False


@dataclass(frozen=True, kw_only=True)
class ShowOptions:
    """The options of `longthread sessions show`."""

    name: SessionName
    json: Json = False


@dataclass(frozen=True, kw_only=True)
class DeleteOptions:
    """The options of `longthread sessions delete`."""

    names: Annotated[
        tuple[str, ...], typer.Argument(metavar="NAME...", help="Names from 'sessions list'.", show_default=False)
    ]


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """The options of `longthread sessions export`."""

    name: SessionName
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="The file to write, which must not exist yet.", show_default=False)
    ]


@command(app, "list", "longthread sessions list")
def list_all(options: ListOptions) -> int:
    """List all conversations, the last used first, with their turns and their size."""
    move_old_sessions()
    infos = list_sessions()
    if options.json:
        print_json([{**asdict(info), "folder": str(info.folder)} for info in infos])
        return 0
    console = open_console()
    for info in infos:
        content = "cannot be read" if info.n_turns < 0 else counted(info.n_turns, "turn")
        when = info.time[:16].replace("T", " ")
        console.print(Text(f"{info.name:<24} {content:>14}  {size_text(info.size):>8}  {when}"))
    console.print(Text(f"{counted(len(infos), 'conversation')} in {sessions_folder()}", style="dim"))
    return 0


@command(app, "show", "longthread sessions show default")
def show(options: ShowOptions) -> int:
    """Print the questions and answers of a conversation."""
    move_old_sessions()
    folder = existing_session(options.name)
    _finish_forgetting(folder)
    turns = read_turns(folder)
    if options.json:
        print_json([asdict(turn) for turn in turns])
        return 0
    console = open_console()
    for turn in turns:
        console.print(Text(f"{turn.number}  {turn.time[:16].replace('T', ' ')}", style="dim"))
        console.print(Text(turn.question, style="bold"))
        console.print(Text(f"{turn.answer}\n"))
    return 0


@command(app, "delete", "longthread sessions delete trip old-trip")
def delete(options: DeleteOptions) -> int:
    """Delete conversations with everything that they remember."""

    def delete_one(name: str) -> str:
        delete_session(name)
        return "deleted"

    move_old_sessions()
    return for_each(options.names, delete_one)


@command(app, "export", "longthread sessions export default memories.jsonl")
def export(options: ExportOptions) -> int:
    """Write everything that a conversation remembers as JSON lines."""
    from pipeline.conversation.conversation import Conversation

    move_old_sessions()
    folder = existing_session(options.name)
    path = Path(options.file).expanduser()
    if path.exists():
        raise DataError(f"{options.file} exists already: name another file")
    with _chat_pipeline() as pipeline, Conversation(pipeline, folder) as conversation:
        n_turns = conversation.memory.export(path)
    line = f"{counted(n_turns, 'turn')} written to {one_line(options.file)}, a line of JSON each"
    open_console().print(Text(line))
    return 0


def move_old_sessions() -> None:
    """Moves the conversations that an older version kept in the cache, and reports it."""
    moved, left = move_from_cache()
    if moved:
        what = "1 conversation was" if len(moved) == 1 else f"{len(moved)} conversations were"
        print_line(f"{what} moved from the cache, which cleaners empty, to {sessions_folder()}", is_error=True)
    for name, why in left:
        print_line(f"the conversation {name} is still in the cache: {why}", is_error=True)


def _finish_forgetting(folder: Path) -> None:
    """Finishes a forgetting that a killed chat left unfinished, so that nothing of it is shown."""
    from pipeline.conversation.forgetting import is_pending

    if is_pending(folder):
        from pipeline.conversation.conversation import Conversation

        with _chat_pipeline() as pipeline:
            Conversation(pipeline, folder).close()


def _chat_pipeline() -> Pipeline:
    """The chat's pipeline. Its memory reads what any other memory wrote, and nothing is loaded for that."""
    from pipeline.default import chat_pipeline, with_default_model
    from pipeline.pipeline import Pipeline

    return Pipeline(with_default_model(chat_pipeline()), Path("no index"))
