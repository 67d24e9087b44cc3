"""The one place that imports llama.cpp's binding, and that takes its log away from the terminal.

llama.cpp writes to stderr whatever it pleases. Here every line goes to the logger `longthread.llama` at debug level;
the last errors and warnings are kept, so that an error of ours can give llama.cpp's reason.
"""

from __future__ import annotations

import logging
import os
import re
from collections import deque
from functools import cache
from typing import Any

LOG = logging.getLogger("longthread.llama")
_COMPLAINTS: deque[tuple[int, str]] = deque(maxlen=16)
"""Level and line of the last errors and warnings."""
_KEPT: list[object] = []
"""Callbacks that llama.cpp calls: Python must not collect them."""
INFO, WARN, ERROR, CONTINUED = 2, 3, 4, 5
"""`enum ggml_log_level` of ggml.h. llama-cpp-python 0.3.36 has another table (INFO 1), which is out of date."""
_FUNCTION = re.compile(r"^(?:\w+: )+")
"""llama.cpp begins a line with the name of the function that wrote it."""
_EMPTY_REASONS = ("failed to load model", "failed to initialize the context")
_SPIN = "1000"
"""How often llama.cpp's threads look whether the others are done before they sleep (libgomp's GOMP_SPINCOUNT).

With libgomp's own choice a single busy program beside us starves the thread that is waited for: measured on 2 cores,
below 1 token/s, against 30 with this; alone it costs nothing (89 tokens/s either way; never spinning: 39).
"""


@cache
def library() -> Any:
    """The module `llama_cpp.llama_cpp`, its backend started and its log redirected. Imported on the first call."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPIN)
    import llama_cpp
    from llama_cpp import llama_cpp as lib

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


@cache
def has_amx_kernels() -> bool:
    """Whether this build has matrix kernels for Intel's AMX, which llama.cpp uses through its extra buffer types.

    Built by GCC 12 they end the process: `_tile_loadconfig` tells the compiler of 8 of the 64 bytes that it reads, so
    the others are never written, and the first `tileloadd` is an illegal instruction (measured on a Sapphire Rapids,
    llama-cpp-python 0.3.36, every prompt of 32 tokens or more). Without the extra buffers the AVX-512 kernels run.
    """
    return b"AMX_INT8 = 1" in library().llama_print_system_info()


def complaints() -> str:
    """llama.cpp's last errors, oldest first, or its last warnings where there was no error; empty if there are none.

    They are forgotten afterwards: call it before an action as well, so that only that action's lines are left.
    """
    entries, lines = list(_COMPLAINTS), []
    _COMPLAINTS.clear()
    level = max((level for level, _ in entries), default=WARN)
    for kept_level, line in entries:
        reason = " ".join(_FUNCTION.sub("", line.strip()).split()).removeprefix("error loading model: ")
        if kept_level == level and reason not in _EMPTY_REASONS:
            lines.append(reason)
    return "; ".join(dict.fromkeys(lines))
