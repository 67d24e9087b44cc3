"""The only module that imports llama.cpp's binding. It redirects llama.cpp's log.

By default llama.cpp logs to stderr. Here every line goes to the logger `longthread.llama` at debug level; the last
errors and warnings are buffered, so that our errors can give llama.cpp's reason.
"""

from __future__ import annotations

import logging
import os
import re
from collections import deque
from functools import cache
from types import ModuleType

LOG = logging.getLogger("longthread.llama")
_COMPLAINTS: deque[tuple[int, str]] = deque(maxlen=16)
"""Level and line of the last errors and warnings."""
_KEPT: list[object] = []
"""Callbacks that llama.cpp calls: Python must not collect them."""
INFO, WARN, ERROR, CONTINUED = 2, 3, 4, 5
"""`enum ggml_log_level` of ggml.h. llama-cpp-python 0.3.36 has an outdated table (INFO 1)."""
_FUNCTION = re.compile(r"^(?:\w+: )+")
"""llama.cpp begins a line with the name of the function that wrote it."""
_EMPTY_REASONS = ("failed to load model", "failed to initialize the context")
_SPIN = "1000"
"""Spins of llama.cpp's threads before they sleep while waiting for others (libgomp's GOMP_SPINCOUNT).

With libgomp's default, a single busy program starves the thread that the others wait for: measured on 2 cores, below
1 token/s, against 30 with this value. Without load it costs nothing (89 tokens/s either way; without spinning: 39).
"""


@cache
def library() -> ModuleType:
    """Returns the module `llama_cpp.llama_cpp`; the first call imports it, starts its backend and redirects its log."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPIN)
    import llama_cpp
    from llama_cpp import llama_cpp as binding

    lib: ModuleType = binding
    last_level = INFO

    @lib.llama_log_callback  # type: ignore[untyped-decorator]
    def on_log(level: int, text: bytes, _: object) -> None:
        nonlocal last_level
        line = text.decode("utf-8", "replace").rstrip("\n")
        if level != CONTINUED:
            last_level = level
        if not line.strip(" ."):
            return
        if last_level in (WARN, ERROR):
            _COMPLAINTS.append((last_level, line))
        LOG.debug("%s", line)

    lib.llama_log_set(on_log, None)
    _KEPT.append(on_log)
    lib.llama_backend_init()
    LOG.debug("llama-cpp-python %s", llama_cpp.__version__)
    return lib


def complaints() -> str:
    """Returns and clears llama.cpp's last errors, oldest first; its last warnings if there was no error.

    Call it before an action as well, so that only that action's lines remain.
    """
    entries, lines = list(_COMPLAINTS), []
    _COMPLAINTS.clear()
    level = max((level for level, _ in entries), default=WARN)
    for kept_level, line in entries:
        reason = " ".join(_FUNCTION.sub("", line.strip()).split()).removeprefix("error loading model: ")
        if kept_level == level and reason not in _EMPTY_REASONS:
            lines.append(reason)
    return "; ".join(dict.fromkeys(lines))
