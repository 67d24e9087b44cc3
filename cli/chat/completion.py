"""Completion of the arguments of chat commands."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cli.chat import views
from cli.chat.chat import Chat
from cli.chat.command_types import Choice, Complete, complete_nothing
from cli.chat.setting_commands import SETTING_VALUES, setting_values
from cli.printing import shown_path
from pipeline.text.counting import counted


def first(complete: Callable[[Chat], Iterator[Choice]]) -> Complete:
    """Completes only the first word."""
    return lambda chat, words: complete(chat) if len(words) == 1 else complete_nothing(chat, words)


def paths(chat: Chat, words: Sequence[str]) -> Iterator[Choice]:
    """Files and folders that begin with the last word. A folder ends in a slash, so that completion can continue."""
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


def named_documents(chat: Chat, words: Sequence[str]) -> Iterator[Choice]:
    yield from ((quoted(shown_path(path)), "") for path in chat.settings.docs)


def skipped_option(chat: Chat) -> Iterator[Choice]:
    yield "--skipped", "files that were not read, and why"


def filter_fields(chat: Chat, words: Sequence[str]) -> Iterator[Choice]:
    """The fields of a filter, at any place in it."""
    from pipeline.retrieval.filters import FIELDS

    yield from ((field, f"compared as a {sort}") for field, sort in FIELDS.items())


def session_names(chat: Chat) -> Iterator[Choice]:
    from pipeline.conversation.sessions import list_sessions

    yield from ((info.name, f"{counted(info.n_turns, 'turn')}, {views.day(info.time)}") for info in list_sessions())


def models(chat: Chat, words: Sequence[str]) -> Iterator[Choice]:
    """The models that are here, and paths."""
    from pipeline.gguf.catalogue import list_models

    yield from ((model.name, model.what_for) for model in list_models() if model.is_here)
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
    """The name of a setting, then its values."""
    if len(words) == 1:
        yield from setting_values(chat)
    elif len(words) == 2:
        yield from ((value, "") for value in SETTING_VALUES.get(words[0], ()))
