"""The chat's commands about its documents: /docs add, list, remove, filter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.text import Text

from cli.chat import views
from cli.chat.chat import Chat
from cli.chat.command_types import MissingArgumentError
from cli.printing import shown_path
from pipeline.errors import ConfigError, DocumentError
from pipeline.retrieval.scope import Scope, check_scope
from pipeline.text.counting import counted
from pipeline.text.visible import visible


def docs_add(chat: Chat, words: list[str]) -> None:
    if not words:
        raise MissingArgumentError("which files, folders or globs?")
    if chat.settings.index is not None:
        raise ConfigError(
            f"this chat answers from the index {chat.settings.index}: "
            f"'longthread index PATH --index {chat.settings.index}' adds to it"
        )
    chat.change(chat.settings.with_docs((*chat.settings.docs, *map(absolute, words))))
    docs_list(chat, [])


def docs_list(chat: Chat, words: list[str]) -> None:
    """Prints the documents with their metadata. With --skipped, prints the files that were not read, and why."""
    if words == ["--skipped"]:
        chat.say(views.skipped(chat.unread))
        return
    if words:
        raise ConfigError(f"there is no '{' '.join(words)}' here: /docs list [--skipped]")
    chat.say(views.documents(chat.settings, chat.counts, chat.metadata, chat.unread))


def docs_remove(chat: Chat, words: list[str]) -> None:
    if not words:
        raise MissingArgumentError("which of them?")
    removed = {absolute(word) for word in words}
    unknown = sorted(removed - set(chat.settings.docs))
    if unknown:
        raise DocumentError(f"{shown_path(unknown[0])} is not among the chat's documents: /docs list names them")
    chat.change(chat.settings.with_docs(tuple(path for path in chat.settings.docs if path not in removed)))
    docs_list(chat, [])


def docs_filter(chat: Chat, words: list[str]) -> None:
    """Prints the filter, sets another, or removes it with `off`."""
    if words:
        text = None if words == ["off"] else " ".join(words)
        if text is not None and not chat.has_documents:
            raise ConfigError("there are no documents to filter: /docs add PATH")
        settings = replace(chat.settings, filter=text)
        settings.pipeline()
        if text is not None:
            check_scope(chat.pipeline.index, Scope(filters=(text,)))
        chat.change(settings)
    if chat.settings.filter is None:
        chat.say(Text("No filter: all documents are searched."))
        return
    scope = Scope(filters=(chat.settings.filter,))
    n_kept = sum(views.is_searched(about, scope, chat.pipeline.index) for about in chat.metadata.values())
    chat.say(Text(f"{visible(chat.settings.filter)}: {n_kept} of {counted(len(chat.metadata), 'document')} searched"))


def absolute(path: str) -> str:
    """The path or glob as an absolute one."""
    return str(Path(path).expanduser().absolute()) if path else path
