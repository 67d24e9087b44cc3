r"""Everything that longthread writes to standard output and standard error goes through this file.

Documents, models, file names and settings can contain escape sequences that write the clipboard or move the cursor.
`visible` replaces every character that drives a terminal or reverses a line by a mark. `SafeConsole`, `print_line` and
`print_json` apply it to their output.

A character that the console's encoding lacks is escaped (`\u0141`). A failed write to standard output raises
OutputError. Standard error is best effort, so that a log on a full disk ends no run.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from pipeline.text.visible import MARK, UNSAFE, visible

_NO_WRAP = 100_000
_ERRORS = "longthread"
_PLAIN = {"→": "->", "…": "...", "–": "-", "—": "-", "’": "'", "“": '"', "”": '"', "│": "|", "▼": "v", MARK: "?"}


class OutputError(Exception):
    """Standard output cannot be written. Earlier results are kept."""


class OutputClosedError(OutputError):
    """The reader of standard output has gone, as `head` does when it has its lines."""


class _Stream:
    """Standard output or standard error, looked up at each write."""

    def __init__(self, name: Literal["stdout", "stderr"]) -> None:
        self.name = name

    @property
    def rich_proxied_file(self) -> _Stream:
        """Itself: rich looks here for the stream behind the proxy that it sets up while a bar is drawn."""
        return self

    @property
    def stream(self) -> TextIO:
        stream = getattr(sys, self.name)
        proxied: TextIO = getattr(stream, "rich_proxied_file", stream)
        return proxied

    def write(self, text: str) -> int:
        with self._translate_errors():
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._translate_errors():
            self.stream.flush()

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            silence(self.stream)
            if self.name == "stderr":
                return
            if isinstance(error, BrokenPipeError):
                raise OutputClosedError("the reader of standard output has gone") from None
            raise OutputError(f"standard output cannot be written: {error.strerror or error}") from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


STDOUT, STDERR = _Stream("stdout"), _Stream("stderr")


class SafeConsole(Console):
    """A rich console whose output is always visible text: no markup, no emoji codes, no control characters."""

    def __init__(self, is_error: bool = False, **settings: Any) -> None:
        file = settings.pop("file", STDERR if is_error else STDOUT)
        super().__init__(file=file, markup=False, emoji=False, highlight=False, **settings)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """Raises OutputClosedError, where rich would end the process."""
        raise OutputClosedError("the reader of standard output has gone")


def open_console(is_error: bool = False) -> SafeConsole:
    """A console on stdout, or on stderr. Without a terminal there are no colours, and no line is wrapped."""
    console = SafeConsole(is_error)
    return console if console.is_terminal else SafeConsole(is_error, width=_NO_WRAP)


def print_line(text: str, is_error: bool = False) -> None:
    """Prints a text as it is, one line or several, on stdout or on stderr."""
    stream = STDERR if is_error else STDOUT
    stream.write(f"{visible(text)}\n")
    stream.flush()


def print_json(value: object, indent: int | None = None) -> None:
    """Prints a value as JSON. Unsafe characters in its strings are escaped, so none is lost."""
    is_unicode = str(STDOUT.encoding).lower().replace("-", "").startswith("utf")
    text = json.dumps(value, ensure_ascii=not is_unicode, indent=indent)
    STDOUT.write(UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n")
    STDOUT.flush()


def prepare_streams() -> None:
    """Makes standard input, output and error usable even if the process was started with closed ones.

    A closed stream is opened on the null device, so that no other file gets its number. Standard output is opened for
    reading, so that a write fails instead of getting lost. Characters that the encoding lacks are escaped.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            with contextlib.suppress(OSError):
                os.fstat(number)
                continue
            os.open(os.devnull, os.O_WRONLY if name == "stderr" else os.O_RDONLY)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - for good
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_ERRORS)


def silence(stream: TextIO) -> None:
    """Redirects a broken stream to the null device, so that Python's last flush succeeds."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def _escape(error: UnicodeError) -> tuple[str, int]:
    """The ASCII form of characters that an encoding lacks: a similar character for our signs, else the escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_PLAIN.get(char) or char.encode("ascii", "backslashreplace").decode() for char in lacking), error.end


codecs.register_error(_ERRORS, _escape)
