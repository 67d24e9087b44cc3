"""An answer as it is written: the end of it is drawn again and again, and the answer that counts is printed once.

Between the first piece and `end` the terminal belongs to this view alone: no input line and no progress bar is there at
the same time.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.segment import Segment

from cli.chat.markdown import rendered
from cli.output import print_line
from pipeline.text.visible import one_line

SECONDS_BETWEEN_DRAWINGS = 0.08


class Tail:
    """The end of a text under way, as many lines of it as the screen holds."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(rendered(self.text), options, pad=False)
        for line in lines[-max(1, console.height - 2) :]:
            yield from trimmed(line)
            yield Segment.line()


def trimmed(line: list[Segment]) -> list[Segment]:
    """The line without the spaces that fill it up to the terminal's edge."""
    end = len(line)
    while end and not line[end - 1].text.strip():
        end -= 1
    return line[:end]


class Markdowns:
    """Draws an answer into a terminal while it is written, and prints it when it counts.

    What a model writes may be repaired, asked for again or replaced, so nothing of it goes into the scrollback before
    its end. `before` is called once, ahead of the first piece: it clears the line.
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
        """Takes what came off the screen: another attempt follows."""
        self._take_off()

    def _take_off(self) -> None:
        if self._live is not None:
            live, self._live = self._live, None
            live.update("")
            live.stop()
        self.text = ""

    def end(self, text: str) -> None:
        """Prints the text in the place of what came, and gives the terminal back."""
        self._take_off()
        if text.strip():
            self.console.print(rendered(text))


class Blocks:
    """Prints an answer that comes in whole blocks, each of which counts. A progress bar may stand between them."""

    def __init__(self, console: Console, before: Callable[[], None]) -> None:
        self.console = console
        self.before = before
        self.wrote = False

    def __call__(self, piece: str) -> None:
        self.before()
        self.console.print(rendered(piece.strip()))
        self.wrote = True

    def restart(self, why: str) -> None:
        """A block that was printed counts."""

    def end(self, text: str) -> None:
        """Prints the text where no block came."""
        if text.strip() and not self.wrote:
            self.console.print(rendered(text))


class Plain:
    """Answers for a pipe: one a line, whole. Whatever breaks lines in an answer becomes a space."""

    def __call__(self, piece: str) -> None:
        """A pipe gets the text that counts, at its end."""

    def restart(self, why: str) -> None:
        """Nothing was written yet."""

    def end(self, text: str) -> None:
        """Writes the line. An answer that never came is an empty line, so that lines and questions keep in step."""
        print_line(one_line(text))
