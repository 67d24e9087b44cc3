"""Turns what went wrong in a command into one message and an exit code (cli/exit_codes.py).

An error that is not for the user is a bug, and keeps its traceback.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
import traceback
from collections.abc import Callable
from types import TracebackType

from cli.exit_codes import EXIT_CLOSED, EXIT_ERROR, EXIT_INTERRUPTED
from cli.output import STDERR, STDOUT, OutputClosedError, OutputError, prepare_streams, print_line
from pipeline.errors import LongthreadError

_REMEDIES = {
    errno.ENOSPC: "make room, or name a place on another disk",
    errno.EDQUOT: "make room, or name a place on another disk",
    errno.EROFS: "name a place that can be written to",
    errno.EACCES: "change its permissions, or name another place",
    errno.EPERM: "change its permissions, or name another place",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENAMETOOLONG: "use a shorter name",
}


def run_command(command: Callable[[], object]) -> int:
    """Runs a command, prints its error, and returns the exit code. Raises only bugs."""
    prepare_streams()
    logging.lastResort = _Log(logging.WARNING)
    sys.excepthook = _print_traceback
    try:
        code = _run(command)
        STDOUT.flush()
    except OutputClosedError:
        return EXIT_CLOSED
    except OutputError as error:
        print_line(f"longthread: {error}", is_error=True)
        return EXIT_ERROR
    STDERR.flush()
    return code


def _run(command: Callable[[], object]) -> int:
    try:
        code = command()
    except LongthreadError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except UnicodeEncodeError as error:
        if "surrogate" not in error.reason:
            raise
        return _fail(f"{error.object[:200]}: holds bytes that are not UTF-8: rename the file, or type it again")
    except OSError as error:
        if error.errno is None:
            raise
        return _fail(describe(error))
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        return _explain_usage(error)
    if code == EXIT_INTERRUPTED:
        print_line("longthread: stopped. What was reported as done is kept.", is_error=True)
    return code if isinstance(code, int) else 0


def describe(error: OSError) -> str:
    """The file, the system's message and a remedy: `a.txt: No space left on device: make room, or ...`."""
    name = error.filename
    where = f"{os.fsdecode(name)}: " if isinstance(name, (str, bytes)) else ""
    remedy = _REMEDIES.get(error.errno or 0)
    return f"{where}{error.strerror or error}{f': {remedy}' if remedy else ''}"


def _fail(message: str) -> int:
    print_line(f"longthread: {message}", is_error=True)
    return EXIT_ERROR


def _explain_usage(error: Exception) -> int:
    """Prints what is wrong with the arguments, in safe characters, which click's own display would not do."""
    message = error.format_message()  # type: ignore[attr-defined]
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":  # the help itself, unless it was printed already
        if message:
            print_line(message, is_error=True)
        return EXIT_ERROR
    if context is not None:
        print_line(f"{context.get_usage()}\n", is_error=True)
        message += f" (see '{context.command_path} --help')"
    return _fail(message)


class _Log(logging.Handler):
    """Prints warnings for which no other handler is set up."""

    def emit(self, record: logging.LogRecord) -> None:
        print_line(self.format(record), is_error=True)


def _print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    print_line("".join(traceback.format_exception(kind, error, trace)).rstrip(), is_error=True)
