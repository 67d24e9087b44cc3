"""The command line. Ctrl-C ends it with one line also while its modules are still being imported."""

import sys
from types import TracebackType


def _end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.stderr.write("longthread: stopped.\n")
    else:
        sys.__excepthook__(kind, error, trace)


if sys.excepthook is sys.__excepthook__:  # cli/errors.py takes over once a command runs
    sys.excepthook = _end
