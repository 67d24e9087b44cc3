"""memory.window: repeats the last turns word for word, and nothing older, as most chats do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from memory.transcribed import Transcribed, newest
from pipeline.checks import at_least
from pipeline.contracts import Runtime
from pipeline.registry import check_types
from pipeline.types import Question, Recall


@dataclass(frozen=True)
class Window:
    """Repeats the last turns. Whole turns only; the newest have priority.

    Example: `memory.window: {turns: 4}`

    :param turns: largest number of turns, at least 1.
    :param tokens: largest number of the reader's tokens for all of them, at least 1; null: all the free ones.
    """

    turns: int = 6
    tokens: int | None = None

    def __post_init__(self) -> None:
        check_types(self, Window)
        at_least("turns", self.turns, 1)
        at_least("tokens", self.tokens, 1)

    def open(self, folder: Path, runtime: Runtime) -> Last:
        return Last(folder, self.turns, self.tokens)


class Last(Transcribed):
    """The last turns of a transcript: at most `max_turns` of them (None for any number), in at most `tokens`."""

    def __init__(self, folder: Path, max_turns: int | None, tokens: int | None) -> None:
        super().__init__(folder)
        self.max_turns = max_turns
        self.tokens = tokens

    def recall(self, question: Question, runtime: Runtime, room: int) -> Recall:
        turns = self.turns if self.max_turns is None else self.turns[-self.max_turns :]
        shown = newest(turns, room if self.tokens is None else min(room, self.tokens), runtime.reader)
        if len(shown) < len(turns):
            runtime.note(f"{len(turns) - len(shown)} earlier turns have no room")
        return Recall(shown)
