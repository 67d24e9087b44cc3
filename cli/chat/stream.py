"""Views of an answer while it is written. Its end is redrawn for each piece, and the final answer is printed once.

Between the first piece and `end` no other part of the chat draws in the terminal.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Protocol

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.segment import Segment

from cli.chat.markdown import rendered
from cli.output import print_line
from pipeline.text.visible import one_line

SECONDS_BETWEEN_DRAWINGS = 0.08


class View(Protocol):
    """Shows an answer while it is written.

    `restart` drops the pieces so far, because another attempt follows. `end` shows the final text in their place.
    """

    def __call__(self, piece: str) -> None: ...
    def restart(self, why: str) -> None: ...
    def end(self, text: str) -> None: ...


class Tail:
    """The end of an unfinished text, as many lines as the screen holds."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(rendered(self.text), options, pad=False)
        for line in lines[-max(1, console.height - 2) :]:
            yield from trimmed(line)
            yield Segment.line()


def trimmed(line: list[Segment]) -> list[Segment]:
    """The line without the spaces at its end."""
    end = len(line)
    while end and not line[end - 1].text.strip():
        end -= 1
    return line[:end]


class Markdowns:
    """Draws an unfinished answer into a terminal, and prints the final one.

    A model's words may be repaired or replaced, so none of them goes into the scrollback before the end. `before` is
    called once, before the first piece, to clear the line.
    """

    def __init__(self, console: Console, before: Callable[[], None]) -> None:
        self.console = console
        self.before = before
        self.text = ""
        self._live: Live | None = None
        self._drawn = 0.0

    def __call__(self, piece: str) -> None:
        if self._live is None:
            self.before()
            self._live = Live(console=self.console, auto_refresh=False, transient=True, redirect_stderr=False)
            self._live.start()
        self.text += piece
        if monotonic() - self._drawn >= SECONDS_BETWEEN_DRAWINGS:
            self._draw()

    def _draw(self) -> None:
        if self._live is not None:
            self._live.update(Tail(self.text), refresh=True)
            self._drawn = monotonic()

    def restart(self, why: str) -> None:
        """Removes the pieces from the screen: another attempt follows."""
        self._clear()

    def _clear(self) -> None:
        if self._live is not None:
            live, self._live = self._live, None
            live.update("")
            live.stop()
        self.text = ""

    def end(self, text: str) -> None:
        """Prints the final text in place of the pieces."""
        self._clear()
        if text.strip():
            self.console.print(rendered(text))


class Blocks:
    """Prints an answer of finished blocks. A progress bar may be drawn between them."""

    def __init__(self, console: Console, before: Callable[[], None]) -> None:
        self.console = console
        self.before = before
        self.wrote = False

    def __call__(self, piece: str) -> None:
        self.before()
        self.console.print(rendered(piece.strip()))
        self.wrote = True

    def restart(self, why: str) -> None:
        """Keeps the printed blocks: they are final."""

    def end(self, text: str) -> None:
        """Prints the text if there was no block."""
        if text.strip() and not self.wrote:
            self.console.print(rendered(text))


class Plain:
    """Prints an answer as one line, for a pipe. A line break in it becomes a space."""

    def __call__(self, piece: str) -> None:
        """Prints nothing: a pipe gets the final text alone."""

    def restart(self, why: str) -> None:
        """Prints nothing."""

    def end(self, text: str) -> None:
        """Prints the line, empty if there is no answer, so that the nth line answers the nth question."""
        print_line(one_line(text))
