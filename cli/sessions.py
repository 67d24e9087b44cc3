"""`longthread sessions`: list, show, delete, export."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from cli.errors import EXIT_ERROR
from cli.output import open_console, print_json, print_line
from pipeline.errors import DataError, LongthreadError
from pipeline.sessions import (
    delete_session,
    existing_session,
    list_sessions,
    move_from_cache,
    sessions_folder,
)
from pipeline.text.visible import one_line
from pipeline.transcript import read_turns

if TYPE_CHECKING:
    from pipeline.pipeline import Pipeline


def list_all(json: bool) -> int:
    move_old_sessions()
    infos = list_sessions()
    if json:
        rows = [{**asdict(info), "folder": str(info.folder)} for info in infos]
        print_json(rows)
        return 0
    console = open_console()
    for info in infos:
        held = "cannot be read" if info.n_turns < 0 else f"{info.n_turns} turns"
        when = info.time[:16].replace("T", " ")
        console.print(Text(f"{info.name:<24} {held:>14}  {megabytes(info.size):>8}  {when}"))
    n = "1 conversation" if len(infos) == 1 else f"{len(infos)} conversations"
    console.print(Text(f"{n} in {sessions_folder()}", style="dim"))
    return 0


def show(name: str, json: bool) -> int:
    move_old_sessions()
    folder = existing_session(name)
    _finish_forgetting(folder)
    turns = read_turns(folder)
    if json:
        print_json([asdict(turn) for turn in turns])
        return 0
    console = open_console()
    for turn in turns:
        console.print(Text(f"{turn.number}  {turn.time[:16].replace('T', ' ')}", style="dim"))
        console.print(Text(turn.question, style="bold"))
        console.print(Text(f"{turn.answer}\n"))
    return 0


def delete(names: Sequence[str]) -> int:
    def delete_one(name: str) -> str:
        delete_session(name)
        return "deleted"

    move_old_sessions()
    return for_each(names, delete_one)


def for_each(names: Sequence[str], act: Callable[[str], str]) -> int:
    """Acts on each name, whatever becomes of the others, and prints what came of it. Gives the exit code."""
    code = 0
    for name in dict.fromkeys(names):
        try:
            outcome = act(name)
        except LongthreadError as error:
            print_line(f"longthread: {one_line(str(error))}", is_error=True)
            code = EXIT_ERROR
            continue
        open_console().print(Text(f"{name}: {outcome}"))
    return code


def export(name: str, file: str) -> int:
    from pipeline.conversation import Conversation

    move_old_sessions()
    folder = existing_session(name)
    path = Path(file).expanduser()
    if path.exists():
        raise DataError(f"{file} is there already: name another file")
    with _pipeline() as pipeline, Conversation(pipeline, folder) as conversation:
        n_turns = conversation.memory.export(path)
    open_console().print(Text(f"{n_turns} turns written to {one_line(file)}, a line of JSON each"))
    return 0


def move_old_sessions() -> None:
    """Moves conversations that an older version kept in the cache, once, and says so."""
    moved, left = move_from_cache()
    if moved:
        what = "1 conversation was" if len(moved) == 1 else f"{len(moved)} conversations were"
        print_line(f"{what} moved from the cache, which cleaners empty, to {sessions_folder()}", is_error=True)
    for name, why in left:
        print_line(f"the conversation {name} is still in the cache: {why}", is_error=True)


def megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _finish_forgetting(folder: Path) -> None:
    """Nothing is shown that was to be forgotten when a chat was killed."""
    from pipeline.forgetting import is_pending

    if is_pending(folder):
        from pipeline.conversation import Conversation

        with _pipeline() as pipeline:
            Conversation(pipeline, folder).close()


def _pipeline() -> Pipeline:
    """The chat's own: its memory reads what any other memory has written, and nothing is loaded for that."""
    from pipeline.default import chat_pipeline, with_default_model
    from pipeline.pipeline import Pipeline

    return Pipeline(with_default_model(chat_pipeline()), Path("no index"))
