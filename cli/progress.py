"""One progress display, on stderr, so that stdout holds only what was asked for."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 5.0


class Display:
    """Draws `progress(what, done, total)` as a bar with the time left; without a terminal, a line every 5 s."""

    def __init__(self, quiet: bool = False) -> None:
        self.console = Console(stderr=True)
        self.quiet = quiet
        self.bar: Progress | None = None
        self.task: Any = None
        self.what = ""
        self.started = self.last_line = time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        if self.quiet:
            return
        if self.console.is_terminal:
            self._draw(what, done, total)
        else:
            self._line(what, done, total)

    def stop(self) -> None:
        """Removes the bar, so that other output can follow."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def _draw(self, what: str, done: int, total: int) -> None:
        if self.bar is None:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self.bar = Progress(
                *columns, TextColumn("left"), TimeRemainingColumn(), console=self.console, transient=True
            )
            self.bar.start()
            self.what = ""
        if what != self.what:
            if self.task is not None and self.what:
                self.bar.remove_task(self.task)
            self.task = self.bar.add_task(what, total=total or None)
            self.what = what
        self.bar.update(self.task, completed=done, total=total or None)

    def _line(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if what != self.what:
            self.what, self.started, self.last_line = what, now, now
        if now - self.last_line < SECONDS_BETWEEN_LINES:
            return
        self.last_line = now
        left = f", about {(now - self.started) / done * (total - done):.0f} s left" if done and total else ""
        print(f"{what}: {done}{f' of {total}' if total else ''}{left}", file=sys.stderr, flush=True)  # noqa: T201

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
