"""What a chat is told of its documents while it is open: changes come from another process, and wait to be said.

They are said above the line that is being typed, else before the next line is taken.
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
    """The watch over the documents of a chat: at most one at a time.

    `announce` is given each line as it comes, in a thread of its own, and says whether it has shown it.
    """

    def __init__(self) -> None:
        self.announce: Callable[[Text], bool] = lambda line: False
        self._lines: deque[Text] = deque()
        self._watcher: Watcher | None = None
        self.is_stale = False

    def start(self, folder: Path, docs: Sequence[str], settings: IndexSettings) -> None:
        """Watches these in the place of what was watched."""
        self.close()
        self._watcher = Watcher(folder, docs, settings, self._heard)

    @property
    def is_on(self) -> bool:
        return self._watcher is not None

    def _heard(self, news: News) -> None:
        if not news:
            return
        self.is_stale = True
        line = Text(one_line(news.describe(shown_path)), style="dim")
        if not self.announce(line):
            self._lines.append(line)

    def take(self) -> list[Text]:
        """The lines that nobody has seen yet."""
        return [self._lines.popleft() for _ in range(len(self._lines))]

    def close(self) -> None:
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None
