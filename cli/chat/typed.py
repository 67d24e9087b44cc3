"""The lines that were typed into a session, so that they can be found again; forgotten questions are not among them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from prompt_toolkit.history import History

from pipeline.storage.whole import write_whole

NAME = "typed.jsonl"
NEVER_KEPT = "/memory forget"
"""Such a line says what is to be forgotten."""


class Typed(History):
    """A session's input history: a JSON string a line, oldest first. A line that a crash cut short is passed over."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.path = folder / NAME

    def load_history_strings(self) -> Iterable[str]:
        """The newest first, as prompt-toolkit wants them."""
        return reversed(self._lines())

    def store_string(self, string: str) -> None:
        if not string.startswith(NEVER_KEPT):
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(string) + "\n")

    def append_string(self, string: str) -> None:
        if not string.startswith(NEVER_KEPT):
            super().append_string(string)

    def forget(self, questions: Sequence[str]) -> None:
        """Writes the file anew without these questions, and without lines that hold one."""
        wanted = [question for question in questions if question.strip()]
        kept = [line for line in self._lines() if not any(question in line for question in wanted)]
        if self.path.exists():
            write_whole(self.path, "".join(json.dumps(line) + "\n" for line in kept), private=True)

    def _lines(self) -> list[str]:
        try:
            text = self.path.read_text("utf-8")
        except FileNotFoundError:
            return []
        found: list[str] = []
        for line in text.splitlines():
            try:
                found.append(str(json.loads(line)))
            except ValueError:
                continue
        return found
