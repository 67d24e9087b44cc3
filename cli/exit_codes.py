"""The exit codes of every command.

0    done
1    a bug
2    an error for the user (pipeline/errors.py), a file or a disk that refuses, wrong arguments
130  stopped by Ctrl-C
141  the reader of the output has gone, as after a SIGPIPE: nothing is printed
"""

from __future__ import annotations

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_CLOSED = 141
