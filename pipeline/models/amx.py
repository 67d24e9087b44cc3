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
from functools import cache
from pathlib import Path

from pipeline.errors import ConfigError, ModelError
from pipeline.models.llama import library
from pipeline.storage.cache import cache_folder

SWITCH = "LONGTHREAD_AMX"
_CHOICES = ("auto", "on", "off")
MAX_KL = 0.05
"""Limit of the KL divergence, in nats, between the next tokens' distributions with and without these kernels."""
_N_TOKENS = 96
_TIMEOUT_S = 120
"""A child that takes longer has not been of use: 2 s measured."""


@cache
def use_extra_buffers() -> bool:
    """Whether weights may lie in llama.cpp's extra buffer types: always, unless there are AMX kernels that fail.

    Raises ConfigError for another value of LONGTHREAD_AMX.
    """
    chosen = os.environ.get(SWITCH, "auto")
    if chosen not in _CHOICES:
        raise ConfigError(f"{SWITCH} must be auto, on or off, was: {chosen}")
    if not has_amx_kernels():
        return True
    return _work() if chosen == "auto" else chosen == "on"


def has_amx_kernels() -> bool:
    """Whether this build has kernels for AMX, and the processor too."""
    return b"AMX_INT8 = 1" in library().llama_print_system_info()


def _work() -> bool:
    """Returns the cached outcome, or that of a child process, which is then cached if it is conclusive."""
    memory = cache_folder() / "opened" / f"amx-{_key()}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return bool(json.loads(memory.read_text("utf-8"))["works"])
    works = _try()
    if works is None:
        return False
    from pipeline.storage.files import write_json

    with contextlib.suppress(ModelError):  # a cache that cannot be written costs time, nothing else
        write_json(memory, {"works": works})
    return works


def _key() -> str:
    """Hashes what the outcome depends on: the processor, and the library's files."""
    from pipeline.gguf.tune import machine

    folder = Path(library()._lib._name).parent
    files = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(folder.glob("*ggml*"))]
    return hashlib.sha256(json.dumps([machine(), str(folder), files]).encode()).hexdigest()[:32]


def _try() -> bool | None:
    """Whether a child reads a prompt with these kernels as without; None if it is inconclusive."""
    root = str(Path(__file__).parent.parent.parent)
    places = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "GGML_NO_BACKTRACE": "1", SWITCH: "off"}
    command = [sys.executable, "-m", "pipeline.models.amx"]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=False
        )
        if done.returncode == 0:
            return float(done.stdout.split()[-1]) <= MAX_KL
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        return None
    from pipeline.models.first_look import CRASHES

    return False if done.returncode in CRASHES else None


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
