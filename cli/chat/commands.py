"""The commands of the chat, as one table: name, arguments, what it does, what completes it, what runs.

A command's function takes the chat and its arguments, prints what it has to say, and raises a LongthreadError with the
way out where something is wrong. One with sub-commands looks the first argument up in a table of its own.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from rich.text import Text

from cli.chat import views
from cli.chat.chat import Chat, Pending
from cli.chat.docs_commands import absolute, docs_add, docs_filter, docs_list, docs_remove
from cli.chat.settings import OWN, answering_names, changed, recovered_settings, save_settings
from cli.chat.talk import Leave, talk
from cli.chat.why import why
from cli.input import as_text
from cli.printing import ledger as print_ledger
from cli.printing import shown_path
from cli.printing import thoughts as print_thoughts
from pipeline.default import with_generator_settings
from pipeline.errors import ConfigError
from pipeline.presets import preset_or_path
from pipeline.registry import nearest, settings_of, stage_name
from pipeline.storage.whole import write_whole
from pipeline.text.visible import visible
from pipeline.types import State

Choice = tuple[str, str]
"""A word that completes an argument, and what it means."""
Complete = Callable[[Chat, Sequence[str]], Iterator[Choice]]
Run = Callable[[Chat, list[str]], None]


@dataclass(frozen=True)
class Command:
    """`arguments` is what stands after the name in /help; `complete` gives the choices for the word being typed.

    It is given the words typed after the command's name, the one under way last.
    """

    name: str
    arguments: str
    help: str
    run: Run
    complete: Complete


RETRY_TEMPERATURE = 0.7
"""For the answers that /retry asks for where the pipeline's own temperature is 0."""
WITH_PATHS = ("docs", "session", "model", "config", "save")
"""Commands whose arguments are quoted as in a shell; to the others, quotes are a part of the text."""


# --------------------------------------------------------------------------------------------------------- completers
def nothing(chat: Chat, words: Sequence[str]) -> Iterator[Choice]:
    yield from ()


def paths(chat: Chat, words: Sequence[str]) -> Iterator[Choice]:
    """Files and folders that begin with the word; a folder ends in a slash, so that one can go on into it."""
    word = unquoted(words[-1])
    folder, slash, _ = word.rpartition("/")
    try:
        entries = sorted(Path(f"{folder}{slash}" or ".").expanduser().iterdir())
    except OSError:
        return
    for entry in entries:
        if not entry.name.startswith(".") or word.rpartition("/")[2].startswith("."):
            yield quoted(f"{folder}{slash}{entry.name}") + ("/" if entry.is_dir() else ""), ""


def quoted(path: str) -> str:
    return re.sub(r"([\s\\'\"])", r"\\\1", path)


def unquoted(word: str) -> str:
    return re.sub(r"\\(.)", r"\1", word)


def sub_commands(table: dict[str, tuple[str, str, Run, Complete]]) -> Complete:
    """Completes a sub-command's name, and then what that sub-command takes."""

    def complete(chat: Chat, words: Sequence[str]) -> Iterator[Choice]:
        if len(words) == 1:
            yield from ((name, what) for name, (_, what, _, _) in table.items())
        elif words[0] in table:
            yield from table[words[0]][3](chat, words[1:])

    return complete


def first(complete: Callable[[Chat], Iterator[Choice]]) -> Complete:
    """Completes the first word alone."""
    return lambda chat, words: complete(chat) if len(words) == 1 else nothing(chat, words)


def command_names(chat: Chat) -> Iterator[Choice]:
    yield from ((name, command.help) for name, command in COMMANDS.items())


def named_documents(chat: Chat) -> Iterator[Choice]:
    yield from ((quoted(shown_path(path)), "") for path in chat.settings.docs)


def skipped_option(chat: Chat, words: Sequence[str]) -> Iterator[Choice]:
    if len(words) == 1:
        yield "--skipped", "files that were not read, and why"


def fields(chat: Chat, words: Sequence[str]) -> Iterator[Choice]:
    """The fields of a filter, wherever in it the next word stands."""
    from pipeline.retrieval.filters import FIELDS

    yield from ((field, f"compared as a {sort}") for field, sort in FIELDS.items())


def sessions(chat: Chat) -> Iterator[Choice]:
    from pipeline.sessions import list_sessions

    yield from ((info.name, f"{info.n_turns} turns, {views.day(info.time)}") for info in list_sessions())


def models(chat: Chat) -> Iterator[Choice]:
    from pipeline.models.catalogue import list_models

    yield from ((model.name, model.what_for) for model in list_models() if model.is_here)


def model_or_path(chat: Chat, words: Sequence[str]) -> Iterator[Choice]:
    yield from models(chat)
    yield from paths(chat, words)


def what_to_forget(chat: Chat, words: Sequence[str]) -> Iterator[Choice]:
    if len(words) == 1:
        yield from (
            ("turn", "one or more turns, by number"),
            ("before", "all before a date"),
            ("matching", "by a text"),
        )
    elif words[0] == "turn":
        yield from ((str(turn.number), turn.question) for turn in chat.turns)


def setting(chat: Chat, words: Sequence[str]) -> Iterator[Choice]:
    if len(words) == 1:
        yield from ((name, value) for name, value in setting_values(chat))
    elif len(words) == 2:
        known = {
            "keys": ("emacs", "vi"),
            "thinking": ("auto", "off", "on"),
            **dict.fromkeys(("rewrite", "ahead", "sources", "ledger"), ("on", "off")),
        }
        yield from ((value, "") for value in known.get(words[0], ()))


# --------------------------------------------------------------------------------------------------------------- help
def help_(chat: Chat, words: list[str]) -> None:
    """All commands, or one with its sub-commands."""
    if not words:
        for command in COMMANDS.values():
            chat.say(_help_line(f"/{command.name} {command.arguments}", command.help))
        chat.say(
            "Beside questions: 'summarise FILE', 'which files do you have?', 'No, I meant ...'.\n"
            "A question that begins with a slash needs a space or another slash before it.\n"
            "Enter sends, Alt-Enter begins a new line, Tab completes, Ctrl-R searches what was typed before.\n"
            "Ctrl-C stops an answer and keeps what came, Ctrl-D leaves."
        )
        return
    command = find(words[0].removeprefix("/"))
    chat.say(_help_line(f"/{command.name} {command.arguments}", command.help))
    for name, (arguments, what, _, _) in SUB_COMMANDS.get(command.name, {}).items():
        chat.say(_help_line(f"  /{command.name} {name} {arguments}", what))


def _help_line(usage: str, what: str) -> Text:
    return Text(f"{usage.rstrip():<30}", style="bold").append(f" {what}", style="default")


# ----------------------------------------------------------------------------------------------------- the last answer
def last(chat: Chat) -> State:
    if chat.last is None:
        raise ConfigError("nothing has been answered since this session was opened: ask something first")
    return chat.last


def sources(chat: Chat, words: list[str]) -> None:
    state = last(chat)
    if not state.found:
        raise ConfigError("no passages were found for the last question: /docs list says what is searched")
    chat.say(views.sources(state))


def thoughts(chat: Chat, words: list[str]) -> None:
    chat.say(print_thoughts(last(chat).ledger.generation))


def prompt(chat: Chat, words: list[str]) -> None:
    state = last(chat)
    if not state.prompt:
        raise ConfigError("the last question did not reach the model: /ledger says which step ended it")
    chat.say(views.prompt(state))


def diff(chat: Chat, words: list[str]) -> None:
    from cli.ask import kept_and_dropped

    chat.say(views.differences(kept_and_dropped(last(chat))))


def ledger(chat: Chat, words: list[str]) -> None:
    account = last(chat).ledger
    chat.say(print_ledger(account))
    if account.recalled:
        chat.say(views.recollections(account))


# ------------------------------------------------------------------------------------------------------------- memory
def memory_show(chat: Chat, words: list[str]) -> None:
    chat.say(views.memories(chat.conversation.memory.items()))


def memory_search(chat: Chat, words: list[str]) -> None:
    if not words:
        _usage("memory", "search", "for which words?")
    chat.say(views.recalled(chat.conversation.memory.search(" ".join(words))))


def memory_forget(chat: Chat, words: list[str]) -> None:
    """By turn, by time, or by a text; what is forgotten is in no tier and in no file of the session any more."""
    how, rest = (words[0], words[1:]) if words else ("", [])
    if how == "turn" and rest and all(word.isdecimal() for word in rest):
        forgotten = chat.forget(turns=[int(word) for word in rest])
    elif how == "before" and rest:
        forgotten = chat.forget(before=" ".join(rest))
    elif how == "matching" and rest:
        forgotten = chat.forget(matching=" ".join(rest))
    else:
        raise ConfigError(
            "/memory forget takes 'turn NUMBER ...', 'before DATE' (such as 2026-11-25), or 'matching TEXT'"
        )
    if not (forgotten.turns or forgotten.n_lines or forgotten.elsewhere):
        raise ConfigError("nothing was forgotten: no turn is meant by that; /memory show lists them")
    chat.say(views.forgotten(forgotten))
    if forgotten.elsewhere:
        chat.pending = Pending("forget", "", "en", forgotten=forgotten)


# ----------------------------------------------------------------------------------------------------------- sessions
def session_list(chat: Chat, words: list[str]) -> None:
    from pipeline.sessions import list_sessions

    for info in list_sessions():
        here = info.name == chat.name
        held = "cannot be read" if info.n_turns < 0 else f"{info.n_turns} turns"
        line = f"{'*' if here else ' '} {info.name:<24} {held:>10}  {views.day(info.time)}"
        chat.say(Text(line, style="bold" if here else ""))


def session_new(chat: Chat, words: list[str]) -> None:
    from pipeline.sessions import list_sessions

    name = _one(words, "session", "new", "give it a name")
    if name in {info.name for info in list_sessions()}:
        raise ConfigError(f"there is a session '{name}' already: /session resume {name}, or another name")
    chat.change(replace(chat.settings, answering="{}"), name)
    chat.say(f"A new session: {name}. It answers from the same documents.")


def session_resume(chat: Chat, words: list[str]) -> None:
    from pipeline.sessions import list_sessions, session_folder

    name = _one(words, "session", "resume", "which one?")
    known = [info.name for info in list_sessions()]
    if name not in known:
        raise ConfigError(f"there is no session '{name}'" + (nearest(name, known) or "; /session list names them"))
    if name == chat.name:
        raise ConfigError(f"'{name}' is the session that is open")
    settings, damage = recovered_settings(session_folder(name))
    chat.change(settings, name)
    if damage:
        chat.remark(Text(visible(damage)))
    chat.say(greeting(chat))


def session_fork(chat: Chat, words: list[str]) -> None:
    from pipeline.sessions import fork_session

    name = _one(words, "session", "fork", "give the copy a name")
    save_settings(fork_session(chat.name, name), chat.settings)
    chat.change(chat.settings, name)
    chat.say(f"A copy of the session, and you are in it: {name}.")


def session_rename(chat: Chat, words: list[str]) -> None:
    name = _one(words, "session", "rename", "give it a new name")
    old = chat.name
    chat.rename(name)
    chat.say(f"{old} is now called {name}.")


def session_export(chat: Chat, words: list[str]) -> None:
    path = new_file(_one(words, "session", "export", "into which file?"))
    n_turns = chat.conversation.memory.export(path)
    chat.say(f"{n_turns} turns written to {views.file_said(path)}, a line of JSON each.")


def greeting(chat: Chat) -> Text:
    """What a person should know before the first question."""
    n = len(chat.turns)
    said = Text("session ", style="dim").append(chat.name, style="bold")
    said.append(f", {n} turns so far" if n else ", a new one")
    documents = [shown_path(path) for path in chat.settings.docs]
    where = shown_path(chat.settings.index) if chat.settings.index else ", ".join(documents)
    said.append(f"\n{chat.pipeline.reader.name}, answering from {where}" if where else "")
    said.append("" if where else "\nno documents yet: /docs add PATH", style="yellow")
    said.append(f"\nfilter: {chat.settings.filter}" if chat.settings.filter and where else "")
    if n:
        question, answer = chat.turns[-1].question, chat.turns[-1].answer
        said.append(f"\nlast: {views.one_line(question, 60)} {views.one_line(answer, 60)}")
    return said


# ----------------------------------------------------------------------------------------------- models, configuration
def model_list(chat: Chat, words: list[str]) -> None:
    from pipeline.models.catalogue import list_models

    now = chat.config.generator.model_name
    for model in list_models():
        mark = "*" if model.name == now else " "
        here = "here" if model.is_here else "not here: longthread models pull"
        chat.say(Text(f"{mark} {model.name:<24} {here}", style="" if model.is_here else "dim"))
    chat.say(Text("/model use takes one of these names, or the path of a GGUF file.", style="dim"))


def model_use(chat: Chat, words: list[str]) -> None:
    name = _one(words, "model", "use", "a name from /model list, or the path of a GGUF file")
    chat.change(replace(chat.settings, model=absolute(name) if name.endswith(".gguf") else name))
    chat.say(f"Now {chat.pipeline.reader.name} answers.")


def config_show(chat: Chat, words: list[str]) -> None:
    from cli.show import drawing

    chat.say(Text(chat.config.path, style="bold"), drawing(chat.config))


def config_use(chat: Chat, words: list[str]) -> None:
    path = _one(words, "config", "use", "which pipeline file?")
    chat.change(replace(chat.settings, config=absolute(str(preset_or_path(path))), model=None, answering="{}"))
    chat.say(f"{' -> '.join(stage_name(stage) for stage in chat.config.stages)}")


def set_(chat: Chat, words: list[str]) -> None:
    """All settings with their values, one of them, or one of them changed."""
    values = dict(setting_values(chat))
    if len(words) > 1:
        chat.change(changed(chat.settings, words[0], " ".join(words[1:])))
        values = dict(setting_values(chat))
    shown = [words[0]] if words and words[0] in values else [] if words else list(values)
    if not shown:
        changed(chat.settings, words[0], "")
    for name in shown:
        chat.say(f"{name:<18} {values[name]}")


def setting_values(chat: Chat) -> list[tuple[str, str]]:
    own = [(name, said(getattr(chat.settings, name))) for name in OWN]
    component = chat.config.generator
    values = settings_of(component)
    return own + [(name, said(values[name])) for name in answering_names(chat.config)]


def said(value: object) -> str:
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


def doctor(chat: Chat, words: list[str]) -> None:
    from cli.doctor import run

    run(json=False)


# -------------------------------------------------------------------------------------------------- taking turns back
def retry(chat: Chat, words: list[str]) -> None:
    """The last question again. A model that always takes the likeliest word says the same: then chance comes in."""
    with chat.replacing() as turn:
        _ask_again(chat, turn.question)


def _ask_again(chat: Chat, question: str) -> None:
    chat.tries += 1
    temperature = getattr(chat.config.generator, "temperature", None)
    if temperature is None:
        talk(chat, question)
        return
    warm = {"temperature": temperature or RETRY_TEMPERATURE, "seed": chat.tries}
    chat.remark(Text(f"again, at temperature {warm['temperature']}, seed {chat.tries}, for this answer", style="dim"))
    with chat.answering_with(with_generator_settings(chat.config, warm)):
        talk(chat, question)


def undo(chat: Chat, words: list[str]) -> None:
    """Of a rewritten follow-up the rewriting is taken back first; the next /undo takes the turn back."""
    if chat.rewritten is not None and not chat.is_correction:
        with chat.replacing() as turn:
            chat.remark(Text(f"searching for your own words: {visible(turn.question)}", style="dim"))
            chat.ask(turn.question, as_it_is=True)
        return
    turn = chat.take_back()
    chat.say(f"Taken back: turn {turn.number}, {views.one_line(turn.question, 60)}")


def edit(chat: Chat, words: list[str]) -> None:
    """The last question in the input line, to be changed; with a text, that text in its place."""
    if not chat.turns:
        raise ConfigError("there is no question to edit: nothing was asked in this session")
    if words:
        with chat.replacing():
            talk(chat, " ".join(words))
        return
    if not chat.is_terminal:
        raise ConfigError("/edit needs the new question after it where there is no terminal")
    chat.prefill, chat.replaces = chat.turns[-1].question, True


def save(chat: Chat, words: list[str]) -> None:
    path = new_file(_one(words, "save", "", "into which file?"))
    turns = [(turn.time, turn.question, turn.answer) for turn in chat.turns]
    write_whole(path, views.transcript(chat.name, turns))
    chat.say(f"{len(turns)} turns written to {views.file_said(path)}.")


def quit_(chat: Chat, words: list[str]) -> None:
    raise Leave


# --------------------------------------------------------------------------------------------------------- the tables
SUB_COMMANDS: dict[str, dict[str, tuple[str, str, Run, Complete]]] = {
    "docs": {
        "add": ("PATH...", "answer from these files, folders or globs too", docs_add, paths),
        "list": ("[--skipped]", "the files, or those that were not read and why", docs_list, skipped_option),
        "remove": ("PATH...", "no longer answer from these", docs_remove, lambda c, w: named_documents(c)),
        "filter": ("[FILTER | off]", "search only documents that match: kind=pdf and year>=2024", docs_filter, fields),
    },
    "memory": {
        "show": ("", "all that is remembered, with its turns and dates", memory_show, nothing),
        "search": ("TEXT", "what is remembered about something", memory_search, nothing),
        "forget": ("turn N | before DATE | matching TEXT", "forget it, in every tier", memory_forget, what_to_forget),
    },
    "session": {
        "list": ("", "all sessions, the last used first", session_list, nothing),
        "new": ("NAME", "begin another, with these documents", session_new, nothing),
        "resume": ("NAME", "go on with another", session_resume, first(sessions)),
        "fork": ("NAME", "go on in a copy of this one", session_fork, nothing),
        "rename": ("NAME", "give this one another name", session_rename, nothing),
        "export": ("FILE", "write all that it remembers as JSON lines", session_export, paths),
    },
    "model": {
        "list": ("", "models that have names", model_list, nothing),
        "use": ("NAME | FILE", "answer with another", model_use, model_or_path),
    },
    "config": {
        "show": ("", "the pipeline, with all its settings", config_show, nothing),
        "use": ("FILE", "answer with another pipeline", config_use, paths),
    },
}


def group(name: str, default: str) -> Run:
    """Runs the sub-command that the first argument names; without one, `default` if that is not empty."""

    def run(chat: Chat, words: list[str]) -> None:
        table = SUB_COMMANDS[name]
        if not words and default:
            words = [default]
        if not words or words[0] not in table:
            wrong = f"there is no '/{name} {words[0]}'{nearest(words[0], list(table))}; " if words else ""
            raise ConfigError(f"{wrong}/{name} takes {', '.join(table)}: /help {name}")
        table[words[0]][2](chat, words[1:])

    return run


def grouped(name: str, what: str, default: str = "") -> Command:
    table = SUB_COMMANDS[name]
    shown = [*list(table)[:3], *(["..."] if len(table) > 3 else [])]
    return Command(name, "|".join(shown), what, group(name, default), sub_commands(table))


COMMANDS: dict[str, Command] = {
    command.name: command
    for command in (
        Command("help", "[COMMAND]", "all commands, or more about one", help_, first(command_names)),
        grouped("docs", "the documents that are answered from", "list"),
        Command("sources", "", "the passages of the last answer, with their scores", sources, nothing),
        Command("prompt", "", "exactly what the model saw", prompt, nothing),
        Command("diff", "", "what was kept and what was dropped", diff, nothing),
        Command("why", "", "which passages and sentences the last answer stands on", why, nothing),
        Command("thoughts", "", "what the model thought before the last answer", thoughts, nothing),
        Command("ledger", "", "the account of the last answer's tokens", ledger, nothing),
        grouped("memory", "what is remembered", "show"),
        grouped("session", "conversations by name", "list"),
        grouped("model", "the model that answers", "list"),
        grouped("config", "the pipeline", "show"),
        Command("retry", "", "answer the last question again", retry, nothing),
        Command("undo", "", "take back the last rewriting, or the last turn", undo, nothing),
        Command("edit", "[TEXT]", "ask the last question in other words", edit, nothing),
        Command("save", "FILE", "write the conversation as Markdown", save, paths),
        Command("set", "[KEY [VALUE]]", "the settings, or one of them", set_, setting),
        Command("doctor", "", "what this machine offers and lacks", doctor, nothing),
        Command("quit", "", "leave; the session can be resumed", quit_, nothing),
    )
}


def run_command(chat: Chat, line: str) -> None:
    """Runs a line that begins with a slash. Raises ConfigError for one that is no command."""
    name, _, rest = line[1:].strip().partition(" ")
    command = find(name)
    try:
        is_filter = command.name == "docs" and rest.split()[:1] == ["filter"]  # keeps its own quotes
        words = shlex.split(rest) if command.name in WITH_PATHS and not is_filter else as_text(rest).split()
    except ValueError as error:
        raise ConfigError(f"/{command.name}: {str(error).casefold()}: close it, or put a backslash before it") from None
    command.run(chat, words)


def find(name: str) -> Command:
    """The command of that name, or the only one that begins like it."""
    begun = [command for command in COMMANDS.values() if name and command.name.startswith(name)]
    if name in COMMANDS:
        return COMMANDS[name]
    if len(begun) == 1:
        return begun[0]
    if len(begun) > 1:
        raise ConfigError(f"/{name} may be {', '.join(f'/{command.name}' for command in begun)}")
    raise ConfigError(
        f"there is no command '/{name}'{nearest(name, list(COMMANDS))}; /help lists them; a question that begins with "
        "a slash needs a space or another slash before it"
    )


def new_file(path: str) -> Path:
    """The path of a file that is not there yet: nothing is written over."""
    found = Path(path).expanduser()
    if found.exists():
        raise ConfigError(f"{path} is there already: name another file")
    if not found.absolute().parent.is_dir():
        raise ConfigError(f"{path}: there is no folder {found.absolute().parent}")
    return found


def _one(words: list[str], command: str, sub: str, wanted: str) -> str:
    if not words:
        _usage(command, sub, wanted)
    return " ".join(words)


def _usage(command: str, sub: str, wanted: str) -> NoReturn:
    arguments = SUB_COMMANDS[command][sub][0] if sub else COMMANDS[command].arguments
    raise ConfigError(f"{wanted} /{command}{f' {sub}' if sub else ''} {arguments}")
