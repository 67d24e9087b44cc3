"""The chat's commands about conversations and what they remember: /session, /memory, /save."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.text import Text

from cli.chat import views
from cli.chat.chat import Chat, Pending
from cli.chat.command_types import required
from cli.chat.settings import recovered_settings, save_settings
from cli.printing import shown_path
from pipeline.errors import ConfigError
from pipeline.settings import nearest
from pipeline.storage.whole import write_whole
from pipeline.text.counting import counted
from pipeline.text.visible import visible


def memory_show(chat: Chat, words: list[str]) -> None:
    chat.say(views.memories(chat.conversation.memory.items()))


def memory_search(chat: Chat, words: list[str]) -> None:
    chat.say(views.recalled(chat.conversation.memory.search(required(words, "for which words?"))))


def memory_forget(chat: Chat, words: list[str]) -> None:
    """Forgets by turn, by time, or by a text, in every tier and in every file of the session."""
    kind, rest = (words[0], words[1:]) if words else ("", [])
    if kind == "turn" and rest and all(word.isdecimal() for word in rest):
        forgotten = chat.forget(turns=[int(word) for word in rest])
    elif kind == "before" and rest:
        forgotten = chat.forget(before=" ".join(rest))
    elif kind == "matching" and rest:
        forgotten = chat.forget(matching=" ".join(rest))
    else:
        raise ConfigError(
            "/memory forget takes 'turn NUMBER ...', 'before DATE' (such as 2026-11-25), or 'matching TEXT'"
        )
    if not (forgotten.turns or forgotten.n_lines or forgotten.elsewhere):
        raise ConfigError("nothing was forgotten: no turn matches; /memory show lists them")
    chat.say(views.forgotten(forgotten))
    if forgotten.elsewhere:
        chat.pending = Pending("forget", "", "en", forgotten=forgotten)


def session_list(chat: Chat, words: list[str]) -> None:
    from pipeline.conversation.sessions import list_sessions

    for info in list_sessions():
        is_open = info.name == chat.name
        content = "cannot be read" if info.n_turns < 0 else counted(info.n_turns, "turn")
        line = f"{'*' if is_open else ' '} {info.name:<24} {content:>10}  {views.day(info.time)}"
        chat.say(Text(line, style="bold" if is_open else ""))


def session_new(chat: Chat, words: list[str]) -> None:
    from pipeline.conversation.sessions import list_sessions

    name = required(words, "give it a name")
    if name in {info.name for info in list_sessions()}:
        raise ConfigError(f"there is a session '{name}' already: /session resume {name}, or another name")
    chat.change(replace(chat.settings, answering="{}"), name)
    chat.say(f"A new session: {name}. It answers from the same documents.")


def session_resume(chat: Chat, words: list[str]) -> None:
    from pipeline.conversation.sessions import list_sessions, session_folder

    name = required(words, "which one?")
    known = [info.name for info in list_sessions()]
    if name not in known:
        raise ConfigError(f"there is no session '{name}'" + (nearest(name, known) or "; /session list names them"))
    if name == chat.name:
        raise ConfigError(f"'{name}' is the session that is open")
    settings, damage = recovered_settings(session_folder(name))
    chat.change(settings, name)
    if damage:
        chat.remark(Text(visible(damage)))
    chat.say(views.greeting(chat))


def session_fork(chat: Chat, words: list[str]) -> None:
    from pipeline.conversation.sessions import fork_session

    name = required(words, "give the copy a name")
    save_settings(fork_session(chat.name, name), chat.settings)
    chat.change(chat.settings, name)
    chat.say(f"A copy of the session is open now: {name}.")


def session_rename(chat: Chat, words: list[str]) -> None:
    name = required(words, "give it a new name")
    old = chat.name
    chat.rename(name)
    chat.say(f"{old} is now called {name}.")


def session_export(chat: Chat, words: list[str]) -> None:
    path = new_file(required(words, "into which file?"))
    n_turns = chat.conversation.memory.export(path)
    chat.say(f"{counted(n_turns, 'turn')} written to {file_name(path)}, a line of JSON each.")


def save(chat: Chat, words: list[str]) -> None:
    path = new_file(required(words, "into which file?"))
    turns = [(turn.time, turn.question, turn.answer) for turn in chat.turns]
    write_whole(path, views.transcript(chat.name, turns))
    chat.say(f"{counted(len(turns), 'turn')} written to {file_name(path)}.")


def new_file(name: str) -> Path:
    """The path of a file that does not exist yet. Raises ConfigError: no file is overwritten."""
    path = Path(name).expanduser()
    if path.exists():
        raise ConfigError(f"{name} exists already: name another file")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"{name}: there is no folder {path.absolute().parent}")
    return path


def file_name(path: Path) -> str:
    return visible(shown_path(str(path)))
