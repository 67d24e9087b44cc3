"""What a command of the chat is, and the error for a missing argument."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from cli.chat.chat import Chat
from pipeline.errors import ConfigError

Choice = tuple[str, str]
"""A word that completes an argument, and its meaning."""
Complete = Callable[[Chat, Sequence[str]], Iterator[Choice]]
Run = Callable[[Chat, list[str]], None]


def complete_nothing(chat: Chat, words: Sequence[str]) -> Iterator[Choice]:
    yield from ()


@dataclass(frozen=True)
class Command:
    """A command or a sub-command.

    :param arguments: the arguments as /help shows them.
    :param run: prints the result, and raises a LongthreadError if something is wrong.
    :param complete: gives the choices for the last of the words typed after the command's name.
    :param has_paths: whether arguments are quoted as in a shell. Elsewhere quotes belong to the text.
    """

    name: str
    arguments: str
    help: str
    run: Run
    complete: Complete = complete_nothing
    has_paths: bool = False


@dataclass(frozen=True)
class Group:
    """A command with sub-commands. Without one, the sub-command `default` runs."""

    name: str
    help: str
    subs: tuple[Command, ...]
    default: str
    has_paths: bool = False

    @property
    def arguments(self) -> str:
        names = [sub.name for sub in self.subs]
        return "|".join([*names[:3], *(["..."] if len(names) > 3 else [])])

    @property
    def by_name(self) -> dict[str, Command]:
        return {sub.name: sub for sub in self.subs}

    def complete(self, chat: Chat, words: Sequence[str]) -> Iterator[Choice]:
        """Completes the sub-command's name, then its arguments."""
        if len(words) == 1:
            yield from ((sub.name, sub.help) for sub in self.subs)
        elif words[0] in self.by_name:
            yield from self.by_name[words[0]].complete(chat, words[1:])


class MissingArgumentError(ConfigError):
    """A command needs an argument. The message asks for it, and the caller adds the command's usage."""


def required(words: Sequence[str], question: str) -> str:
    """The words as one argument. Raises MissingArgumentError with the question if there are none."""
    if not words:
        raise MissingArgumentError(question)
    return " ".join(words)
