"""The input history of a chat for prompt-toolkit, stored with the session."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from prompt_toolkit.history import History

from pipeline.conversation.typed import TypedLine, append_typed, read_typed


class Typed(History):
    """A session's input history. `turn` gives the number of the turn that a line is typed for."""

    def __init__(self, folder: Path, turn: Callable[[str], int | None] = lambda line: None) -> None:
        super().__init__()
        self.folder = folder
        self.turn = turn

    def load_history_strings(self) -> Iterable[str]:
        """The lines, newest first."""
        return [line.text for line in reversed(read_typed(self.folder))]

    def store_string(self, string: str) -> None:
        if not is_never_kept(string):
            append_typed(self.folder, TypedLine(string, self.turn(string)))

    def append_string(self, string: str) -> None:
        if not is_never_kept(string):
            super().append_string(string)


def is_never_kept(line: str) -> bool:
    """Whether the line is a form of `/memory forget ...`, which contains what to forget."""
    words = line.strip()[1:].split()
    return line.strip().startswith("/") and words[1:2] == ["forget"] and "memory".startswith(words[0])
