"""One progress display, on stderr, so that stdout holds only what was asked for."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cli.output import SafeConsole, print_line

if TYPE_CHECKING:
    from pipeline.executors.run import RunStatus

SECONDS_BETWEEN_LINES = 5.0


class Display:
    """Draws `progress(what, done, total)` as a bar with the time left; without a terminal, a line every 5 s.

    With `after_s` the bar comes only when the work has gone on for so long: it does not flash.
    """

    def __init__(self, quiet: bool = False, after_s: float = 0.0) -> None:
        self.console = SafeConsole(is_error=True)
        self.quiet = quiet
        self.after_s = after_s
        self.begun: float | None = None
        self.bar: Progress | None = None
        self.task: Any = None
        self.work = ("", 0)
        self.done = 0
        self.started = self.last_line = time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Work of the same name that begins again, for the next question say, has an estimate of its own."""
        if self.quiet:
            return
        is_new = (what, total) != self.work or done < self.done
        self.work, self.done = (what, total), done
        if self.console.is_terminal:
            self._draw(what, done, total, is_new)
        else:
            self._line(what, done, total, is_new)

    def stop(self) -> None:
        """Removes the bar, so that other output can follow."""
        self.begun = None
        if self.bar is not None:
            self.bar.stop()
            self.bar = self.task = None

    def _draw(self, what: str, done: int, total: int, is_new: bool) -> None:
        self.begun = self.begun or time.monotonic()
        if self.bar is None and time.monotonic() - self.begun < self.after_s:
            return
        if self.bar is None:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
            )
            self.bar = Progress(
                *columns, TextColumn("left"), TimeRemainingColumn(), console=self.console, transient=True
            )
            self.bar.start()
        if is_new and self.task is not None:
            self.bar.remove_task(self.task)
            self.task = None
        if self.task is None:
            self.task = self.bar.add_task(what, total=total or None)
        self.bar.update(self.task, completed=done, total=total or None)

    def _line(self, what: str, done: int, total: int, is_new: bool) -> None:
        now = time.monotonic()
        if is_new:
            self.started = self.last_line = now
        if now - self.last_line < SECONDS_BETWEEN_LINES:
            return
        self.last_line = now
        left = f", about {(now - self.started) / done * (total - done):.0f} s left" if done and total else ""
        print_line(f"{what}: {done}{f' of {total}' if total else ''}{left}", is_error=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


class RunDisplay:
    """Draws the status of a batch: done of all, failed, questions and tokens a second, the time left.

    `name` says what is being run, where there are several; `also` is said after the rest.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.console = SafeConsole(is_error=True)
        self.quiet = quiet
        self.bar: Progress | None = None
        self.task: Any = None
        self.last_line = time.monotonic()
        self.has_begun = False
        self.name = self.also = ""

    def over(self, display: Display) -> Callable[[RunStatus], None]:
        """What to call with each status: the display of loading goes away at the first one."""

        def show(status: RunStatus) -> None:
            display.stop()
            if not self.has_begun:
                self.has_begun, self.last_line = True, time.monotonic()
            if self.quiet:
                return
            if self.console.is_terminal:
                self._draw(status)
            elif time.monotonic() - self.last_line >= SECONDS_BETWEEN_LINES:
                self.last_line = time.monotonic()
                name = f"{self.name}: " if self.name else ""
                said = f"{name}{status.n_done} of {status.n_samples}: {self._told(status)}"
                print_line(said, is_error=True)

        return show

    def note(self, text: str) -> None:
        """A line above the bar; it is said even when nothing is drawn."""
        self.console.print(text, style="yellow", highlight=False, markup=False, soft_wrap=True)

    def stop(self) -> None:
        """Removes the bar, so that other output can follow."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def _draw(self, status: RunStatus) -> None:
        if self.bar is None:
            columns = (BarColumn(20), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
            self.bar = Progress(*columns, console=self.console, transient=True)
            self.bar.start()
            self.task = self.bar.add_task("", total=status.n_samples)
        said = self._told(status)
        description = f"{self.name}: {said}" if self.name else said
        self.bar.update(self.task, completed=status.n_done, total=status.n_samples, description=description)

    def _told(self, status: RunStatus) -> str:
        return ", ".join(filter(None, (told(status), self.also)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def told(status: RunStatus) -> str:
    """How a batch goes, in words: `2 failed, 1.25 a second, 90 tokens/s written, 3 min left`."""
    parts = [f"{status.n_failed} failed"] if status.n_failed else []
    if status.per_second:
        parts.append(f"{status.per_second:.2f} a second")
    if status.seconds > 0 and status.answer_tokens:
        parts.append(f"{status.answer_tokens / status.seconds:.0f} tokens/s written")
    if status.seconds_left is not None:
        parts.append(f"{duration(status.seconds_left)} left")
    return ", ".join(parts) or "the first answers are under way"


def duration(seconds: float) -> str:
    """`40 s`, `3 min`, `2 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
