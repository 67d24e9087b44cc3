"""Decides whether llama.cpp may use its kernels for Intel's AMX, which read 3 to 5 times as fast where they work.

llama.cpp uses them through its extra buffer types, for weights in Q4_0, Q4_1, Q8_0, Q4_K, Q5_K, Q6_K and IQ4_XS, and
prompts of 32 tokens or more. Compiled by an older GCC (12.2: measured) they end the process: `_tile_loadconfig` told
the compiler of 8 of the 64 bytes that it reads (GCC bug 114098), so that the first tile load is an illegal instruction.
So on such a processor they are tried once in a child process, on the packaged model, and the outcome is cached for this
processor and this file of the library. Without the extra buffers the AVX-512 kernels run.

LONGTHREAD_AMX   on: use them untried; off: do without; auto, the default: try them
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

from pipeline.contracts import Progress
from pipeline.errors import ConfigError, ModelError
from pipeline.models.llama import library
from pipeline.storage.cache import cache_folder

SWITCH = "LONGTHREAD_AMX"
_CHOICES = ("auto", "on", "off")
SWITCHED_OFF = f"{SWITCH} is off"
CRASHED = "llama.cpp's kernels for it end the process here, as an older GCC compiles them"
DIFFERS = "with llama.cpp's kernels for it a model reads something else than without them"
INCONCLUSIVE = "llama.cpp's kernels for it could not be tried, and are tried again by the next process"
_CODES = {"": "works", CRASHED: "crashes", DIFFERS: "differs"}
MAX_KL = 0.05
"""Limit of the KL divergence, in nats, between the next tokens' distributions with and without these kernels."""
_N_TOKENS = 96
_TIMEOUT_S = 120
"""A child that takes longer has not been of use: 2 s measured."""


def use_extra_buffers(progress: Progress | None = None) -> bool:
    """Whether weights may lie in llama.cpp's extra buffer types: always, unless there are AMX kernels that fail.

    Raises ConfigError for another value of LONGTHREAD_AMX.
    """
    return not why_no_extra_buffers(progress)


def why_no_extra_buffers(progress: Progress | None = None) -> str:
    """Why weights may not lie in the extra buffer types, one of the reasons of this module; empty if they may."""
    global _why
    if _why is None:
        _why = _reason(progress)
    return _why


_why: str | None = None
"""The outcome for this process."""


def _reason(progress: Progress | None) -> str:
    chosen = os.environ.get(SWITCH, "auto")
    if chosen not in _CHOICES:
        raise ConfigError(f"{SWITCH} must be auto, on or off, was: {chosen}")
    if not has_amx_kernels() or chosen == "on":
        return ""
    return SWITCHED_OFF if chosen == "off" else _tried(progress)


def has_amx_kernels() -> bool:
    """Whether this build has kernels for AMX, and the processor too."""
    return b"AMX_INT8 = 1" in library().llama_print_system_info()


def _tried(progress: Progress | None) -> str:
    """Returns the cached outcome, or that of a child process, which is then cached if it is conclusive."""
    memory = cache_folder() / "opened" / f"amx-{_key()}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, StopIteration):
        outcome = json.loads(memory.read_text("utf-8"))["outcome"]
        return next(why for why, code in _CODES.items() if code == outcome)
    if progress is not None:
        progress("try llama.cpp's kernels for AMX", 0, 0)
    why = _try()
    if why == INCONCLUSIVE:
        return why
    from pipeline.storage.files import write_json

    with contextlib.suppress(ModelError):  # a cache that cannot be written costs time, nothing else
        write_json(memory, {"outcome": _CODES[why]})
    return why


def _key() -> str:
    """Hashes what the outcome depends on: the processor, and the library's files."""
    from pipeline.gguf.tune import machine

    folder = Path(library()._lib._name).parent
    files = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(folder.glob("*ggml*"))]
    return hashlib.sha256(json.dumps([machine(), str(folder), files]).encode()).hexdigest()[:32]


def _try() -> str:
    """Why a child cannot read a prompt with these kernels; empty if it reads the same as without."""
    root = str(Path(__file__).parent.parent.parent)
    places = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "GGML_NO_BACKTRACE": "1", SWITCH: "off"}
    command = [sys.executable, "-m", "pipeline.models.amx"]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=False
        )
        if done.returncode == 0:
            return "" if float(done.stdout.split()[-1]) <= MAX_KL else DIFFERS
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        return INCONCLUSIVE
    from pipeline.models.first_look import CRASHES

    return CRASHED if done.returncode in CRASHES else INCONCLUSIVE


def _divergence() -> float:
    """Runs in the child: KL(without || with), in nats, behind a prompt of the packaged model."""
    import numpy as np

    from pipeline.gguf.catalogue import resolve
    from pipeline.gguf.named import DEFAULT_MODEL
    from pipeline.models.context import Context, Rows
    from pipeline.models.resolving import resolve as resolved
    from pipeline.models.settings import EngineSettings
    from pipeline.models.trial import TEXT
    from pipeline.models.weights import Weights

    logs = []
    for is_extra in (False, True):
        settings = EngineSettings(n_ctx=256, n_gpu_layers=0)
        weights = Weights(resolve(DEFAULT_MODEL), settings, use_extra=is_extra)
        context = Context(weights, resolved(settings, weights), 1, settings.flash_attention)
        tokens = weights.tokenize(TEXT)[:_N_TOKENS]
        outputs = context.decode([Rows(0, 0, tokens, None, [len(tokens) - 1])])
        logits = np.array(context.logits(outputs[0]), np.float64)
        logs.append(logits - np.logaddexp.reduce(logits))
    return float((np.exp(logs[0]) * (logs[0] - logs[1])).sum())


if __name__ == "__main__":
    sys.stdout.write(str(_divergence()))
