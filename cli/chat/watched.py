"""News of a chat's documents from the process that watches them.

They are printed above the line that is being typed, or before the next line runs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.text import Text

from cli.printing import shown_path
from pipeline.config import IndexSettings
from pipeline.text.visible import one_line
from pipeline.watch_process import Watcher
from pipeline.watching import News


class Watched:
    """Watches the documents of a chat.

    `announce` receives each line in another thread, and returns whether it printed the line. `is_stale` says that the
    index changed since it was set to False.
    """

    def __init__(self) -> None:
        self.announce: Callable[[Text], bool] = lambda line: False
        self._lines: deque[Text] = deque()
        self._watcher: Watcher | None = None
        self.is_stale = False

    def start(self, folder: Path, docs: Sequence[str], settings: IndexSettings) -> None:
        """Watches these documents instead of the previous ones."""
        self.close()
        self._watcher = Watcher(folder, docs, settings, self._receive)

    @property
    def is_on(self) -> bool:
        return self._watcher is not None

    def _receive(self, news: News) -> None:
        if not news:
            return
        self.is_stale = True
        line = Text(one_line(news.describe(shown_path)), style="dim")
        if not self.announce(line):
            self._lines.append(line)

    def take(self) -> list[Text]:
        """The lines that were not printed yet."""
        return [self._lines.popleft() for _ in range(len(self._lines))]

    def close(self) -> None:
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None
