"""Commands that act on several named things."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.text import Text

from cli.exit_codes import EXIT_ERROR
from cli.output import open_console, print_line
from pipeline.errors import LongthreadError
from pipeline.text.visible import one_line


def for_each(names: Sequence[str], act: Callable[[str], str]) -> int:
    """Acts on each name, prints its outcome or its error, and returns the exit code. An error stops no other name."""
    code = 0
    for name in dict.fromkeys(names):
        try:
            outcome = act(name)
        except LongthreadError as error:
            print_line(f"longthread: {one_line(str(error))}", is_error=True)
            code = EXIT_ERROR
            continue
        open_console().print(Text(f"{name}: {outcome}"))
    return code
