"""The progress display. It is on stderr, so that stdout holds only the results."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from cli.output import SafeConsole, print_line
from pipeline.text.counting import duration

if TYPE_CHECKING:
    from pipeline.executors.run import RunStatus

SECONDS_BETWEEN_LINES = 5.0


class Display:
    """Draws one bar with the time left. Without a terminal it prints a line every 5 seconds.

    A call with `(what, done, total)` shows a piece of work, and `show_batch` the status of a batch of questions. With
    `after_s` the bar appears only if the work takes longer than that, so that it does not flash. `has_batch` says
    whether a batch was shown.
    """

    def __init__(self, quiet: bool = False, after_s: float = 0.0) -> None:
        self.console = SafeConsole(is_error=True)
        self.quiet = quiet
        self.after_s = after_s
        self.has_batch = False
        self.bar: Progress | None = None
        self._is_batch_bar = False
        self._task: Any = None
        self._work = ("", 0)
        self._done = 0
        self._first_drawn: float | None = None
        self._started = self._last_line = time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Shows a piece of work. Work of the same name that starts again gets an estimate of its own."""
        if self.quiet:
            return
        is_new = (what, total) != self._work or done < self._done
        self._work, self._done = (what, total), done
        if self.console.is_terminal:
            self._draw_work(is_new)
        else:
            self._print_work(is_new)

    def show_batch(self, status: RunStatus, name: str = "", suffix: str = "") -> None:
        """Shows the status of a batch: done of all, failures, speed, the time left, then the suffix."""
        if not self._is_batch_bar:
            self.stop()
            self._is_batch_bar = True
        if not self.has_batch:
            self.has_batch, self._last_line = True, time.monotonic()
        if self.quiet:
            return
        text = ", ".join(filter(None, (status_text(status), suffix)))
        prefix = f"{name}: " if name else ""
        if self.console.is_terminal:
            if self.bar is None:
                self._start(BarColumn(20), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
                self._add_task("", status.n_samples)
            self._update(status.n_done, status.n_samples, prefix + text)
        elif time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            print_line(f"{prefix}{status.n_done} of {status.n_samples}: {text}", is_error=True)

    def note(self, text: str) -> None:
        """Prints a line above the bar, even if the display is quiet."""
        if not self._is_batch_bar:
            self.stop()
        self.console.print(text, style="yellow", highlight=False, markup=False, soft_wrap=True)

    def stop(self) -> None:
        """Removes the bar, so that other output can follow."""
        self._first_drawn, self._is_batch_bar = None, False
        if self.bar is not None:
            self.bar.stop()
            self.bar = self._task = None

    def _draw_work(self, is_new: bool) -> None:
        (what, total), done = self._work, self._done
        now = time.monotonic()
        if self._is_batch_bar:  # the bar of a batch has other columns
            self.stop()
        self._first_drawn = self._first_drawn or now
        if self.bar is None:
            if now - self._first_drawn < self.after_s:
                return
            columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
            self._start(*columns, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        if is_new or self._task is None:
            self._add_task(what, total)
        self._update(done, total, what)

    def _start(self, *columns: ProgressColumn) -> None:
        self.bar = Progress(*columns, console=self.console, transient=True)
        self.bar.start()

    def _add_task(self, what: str, total: int) -> None:
        if self.bar is None:
            return
        if self._task is not None:
            self.bar.remove_task(self._task)
        self._task = self.bar.add_task(what, total=total or None)

    def _update(self, done: int, total: int, description: str) -> None:
        if self.bar is not None:
            self.bar.update(self._task, completed=done, total=total or None, description=description)

    def _print_work(self, is_new: bool) -> None:
        (what, total), done = self._work, self._done
        now = time.monotonic()
        if is_new:
            self._started = self._last_line = now
        if now - self._last_line < SECONDS_BETWEEN_LINES:
            return
        self._last_line = now
        left = f", about {(now - self._started) / done * (total - done):.0f} s left" if done and total else ""
        print_line(f"{what}: {done}{f' of {total}' if total else ''}{left}", is_error=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def status_text(status: RunStatus) -> str:
    """A batch's status in words: `2 failed, 1.25 a second, 90 tokens/s written, 3 min left`."""
    parts = [f"{status.n_failed} failed"] if status.n_failed else []
    if status.per_second:
        parts.append(f"{status.per_second:.2f} a second")
    if status.seconds > 0 and status.answer_tokens:
        parts.append(f"{status.answer_tokens / status.seconds:.0f} tokens/s written")
    if status.seconds_left is not None:
        parts.append(f"{duration(status.seconds_left)} left")
    return ", ".join(parts) or "the first answers are being written"
