"""The commands of the chat in one table: name, arguments, help, function, completion."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from rich.text import Text

from cli.chat import answer_commands as answer
from cli.chat import completion as complete
from cli.chat import docs_commands as docs
from cli.chat import session_commands as session
from cli.chat import setting_commands as settings
from cli.chat.chat import Chat
from cli.chat.command_types import Choice, Command, Group, MissingArgumentError
from cli.chat.talk import Leave
from cli.input import as_text
from pipeline.errors import ConfigError
from pipeline.settings import nearest


def show_help(chat: Chat, words: list[str]) -> None:
    """Prints all commands, or one with its sub-commands."""
    if not words:
        for command in COMMANDS.values():
            chat.say(_help_line(f"/{command.name} {command.arguments}", command.help))
        chat.say(
            "Other lines: 'summarise FILE', 'which files do you have?', 'No, I meant ...'.\n"
            "A question that begins with a slash needs a space or another slash before it.\n"
            "Enter sends, Alt-Enter begins a new line, Tab completes, Ctrl-R searches earlier lines.\n"
            "Ctrl-C stops an answer and keeps what was written, Ctrl-D leaves."
        )
        return
    command = find(words[0].removeprefix("/"))
    chat.say(_help_line(f"/{command.name} {command.arguments}", command.help))
    for sub in command.subs if isinstance(command, Group) else ():
        chat.say(_help_line(f"  /{command.name} {sub.name} {sub.arguments}", sub.help))


def leave(chat: Chat, words: list[str]) -> None:
    raise Leave


def command_names(chat: Chat) -> Iterator[Choice]:
    yield from ((name, command.help) for name, command in COMMANDS.items())


DOCS = (
    Command("add", "PATH...", "also search these files, folders or globs", docs.docs_add, complete.paths),
    Command(
        "list",
        "[--skipped]",
        "the files, or those that were not read and why",
        docs.docs_list,
        complete.first(complete.skipped_option),
    ),
    Command("remove", "PATH...", "no longer search these", docs.docs_remove, complete.named_documents),
    Command(
        "filter",
        "[FILTER | off]",
        "search only documents that match: kind=pdf and year>=2024",
        docs.docs_filter,
        complete.filter_fields,
    ),
)
MEMORY = (
    Command("show", "", "everything remembered, with its turns and dates", session.memory_show),
    Command("search", "TEXT", "what is remembered about a text", session.memory_search),
    Command(
        "forget",
        "turn N | before DATE | matching TEXT",
        "forget it everywhere in this session",
        session.memory_forget,
        complete.what_to_forget,
    ),
)
SESSION = (
    Command("list", "", "all sessions, the last used first", session.session_list),
    Command("new", "NAME", "start another session with these documents", session.session_new),
    Command("resume", "NAME", "open another session", session.session_resume, complete.first(complete.session_names)),
    Command("fork", "NAME", "copy this session, and open the copy", session.session_fork),
    Command("rename", "NAME", "rename this session", session.session_rename),
    Command("export", "FILE", "write its memories as JSON lines", session.session_export, complete.paths),
)
MODEL = (
    Command("list", "", "the models that have names", settings.model_list),
    Command("use", "NAME | FILE", "answer with another model", settings.model_use, complete.models),
)
CONFIG = (
    Command("show", "", "the pipeline with all its settings", settings.config_show),
    Command("use", "FILE", "answer with another pipeline", settings.config_use, complete.paths),
)

COMMANDS: dict[str, Command | Group] = {
    command.name: command
    for command in (
        Command("help", "[COMMAND]", "all commands, or more about one", show_help, complete.first(command_names)),
        Group("docs", "the documents to search", DOCS, "list", has_paths=True),
        Command("sources", "", "the passages of the last answer, with their scores", answer.sources),
        Command("prompt", "", "exactly what the model saw", answer.prompt),
        Command("diff", "", "what was kept and what was dropped", answer.diff),
        Command("why", "", "the passages and sentences that support the last answer", answer.why),
        Command("thoughts", "", "the model's thoughts before the last answer", answer.thoughts),
        Command("ledger", "", "the tokens and seconds of the last answer, by stage", answer.ledger),
        Group("memory", "what is remembered", MEMORY, "show"),
        Group("session", "conversations by name", SESSION, "list", has_paths=True),
        Group("model", "the model that answers", MODEL, "list", has_paths=True),
        Group("config", "the pipeline", CONFIG, "show", has_paths=True),
        Command("retry", "", "answer the last question again", answer.retry),
        Command("undo", "", "take back the last rewriting, or the last turn", answer.undo),
        Command("edit", "[TEXT]", "ask the last question in other words", answer.edit),
        Command("save", "FILE", "write the conversation as Markdown", session.save, complete.paths, has_paths=True),
        Command("set", "[KEY [VALUE]]", "the settings, or one of them", settings.change_setting, complete.setting),
        Command("doctor", "", "what this machine offers and lacks", settings.doctor),
        Command("quit", "", "leave; the session can be resumed", leave),
    )
}


def run_command(chat: Chat, line: str) -> None:
    """Runs a line that begins with a slash. Raises ConfigError if it is no command."""
    name, _, rest = line[1:].strip().partition(" ")
    command = find(name)
    is_filter = command.name == "docs" and rest.split()[:1] == ["filter"]  # a filter keeps its own quotes
    try:
        words = shlex.split(rest) if command.has_paths and not is_filter else as_text(rest).split()
    except ValueError as error:
        raise ConfigError(f"/{command.name}: {str(error).casefold()}: close it, or put a backslash before it") from None
    usage = f"/{command.name}"
    if isinstance(command, Group):
        words = words or [command.default]
        sub = command.by_name.get(words[0])
        if sub is None:
            names = list(command.by_name)
            raise ConfigError(
                f"there is no '{usage} {words[0]}'{nearest(words[0], names)}; {usage} takes {', '.join(names)}: "
                f"/help {command.name}"
            )
        usage, words, command = f"{usage} {sub.name}", words[1:], sub
    try:
        command.run(chat, words)
    except MissingArgumentError as error:
        question = str(error)
        separator = "" if question.endswith("?") else ":"
        raise ConfigError(f"{question}{separator} {usage} {command.arguments}") from None


def find(name: str) -> Command | Group:
    """The command of that name, or the only one that begins with it."""
    if name in COMMANDS:
        return COMMANDS[name]
    candidates = [command for command in COMMANDS.values() if name and command.name.startswith(name)]
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise ConfigError(f"/{name} may be {', '.join(f'/{command.name}' for command in candidates)}")
    raise ConfigError(
        f"there is no command '/{name}'{nearest(name, list(COMMANDS))}; /help lists them; a question that begins with "
        "a slash needs a space or another slash before it"
    )


def _help_line(usage: str, text: str) -> Text:
    return Text(f"{usage.rstrip():<30}", style="bold").append(f" {text}", style="default")
