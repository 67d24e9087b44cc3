"""Opens a new file in a child process first, so that a failed assertion of llama.cpp becomes an error message.

llama.cpp ends the process on unexpected input (GGML_ASSERT). Known cases are refused before (limits.py,
`check_vocabulary`); all others appear here. The child loads the file with the same settings, creates a small context
and decodes a few tokens. That costs one start of Python and one reading of the file, whose pages stay in the system's
cache for the actual load. The outcome is cached under the hash of the file's header (assertions depend on its metadata,
shapes and types, not on weights), its size, the settings and llama.cpp's version. A known file costs a hash of some
megabytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import ModelError
from pipeline.gguf.header import inspect, parts, strings
from pipeline.models.settings import EngineSettings
from pipeline.storage.cache import cache_folder

if TYPE_CHECKING:
    from pipeline.contracts import Progress

SHIPPED = frozenset(
    {
        "abb8bb1e6a3be88b75e45874ca4b4d30ced43a5d9a05611874ae898f00058120",  # smollm2-135m
        "b8d046569a07705ac9a146c14c26ce954232ee312a5549dd26152f8108f04fa3",  # gemma3-270m
    }
)
"""The keys of packaged files, which our tests cover."""
_RELEVANT = (
    *("kv_k", "kv_v", "flash_attention", "rope_scaling", "rope_factor", "rope_freq_base", "lora", "control_vectors"),
    *("n_gpu_layers", "split_mode", "main_gpu", "tensor_split", "mmap", "kv_unified", "swa_full"),
)
"""Settings that change llama.cpp's graph."""
_SMALL = 256
_ASSERTION = re.compile(r"GGML_ASSERT\(.*\) failed|GGML_ABORT.*|fatal error.*")
CRASHES = {-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGILL, -signal.SIGFPE, -getattr(signal, "SIGBUS", 7), 3}
"""Exit codes of crashed processes; 3 is `abort` on Windows."""
_is_child = False


def look_first(path: Path, settings: EngineSettings | None = None, progress: Progress | None = None) -> None:
    """Raises ModelError for a file on which llama.cpp would end this process; quick for a known file.

    Only crashes count: other errors are left to the actual load. If no child process can be started, nothing is
    checked.
    """
    if _is_child:
        return
    stat = path.stat()
    _look(path, stat.st_size, stat.st_mtime_ns, settings or EngineSettings(model=str(path)), progress)


def _look(path: Path, size: int, mtime_ns: int, settings: EngineSettings, progress: Progress | None) -> None:
    relevant = {name: value for name, value in asdict(settings).items() if name in _RELEVANT}
    seen = (str(path), size, mtime_ns, json.dumps(relevant, sort_keys=True))
    if seen in _seen or header_key(path) in SHIPPED:
        return
    memory = _memory(path, relevant)
    crash = _known(memory)
    if crash is None:
        check_vocabulary(path)
        if progress is not None:
            progress(f"first look at {path.name}", 0, 0)
        crash = _try(path, relevant)
        if crash is None:
            return
        _keep(memory, path, relevant, crash)
        if not crash:
            _keep(_memory(path, _DEFAULTS), path, _DEFAULTS, "")
    if crash:
        raise ModelError(
            f"{path}: llama.cpp cannot run this file with these settings, it ends the process: {crash}. Take another "
            f"conversion or quantisation of the model, or another llama-cpp-python (here is {_llama()})"
        )
    _seen.add(seen)


_seen: set[tuple[str, int, int, str]] = set()
"""The checks that this process has made."""


def check_vocabulary(path: Path) -> None:
    """Raises ModelError for a vocabulary with equal tokens: llama.cpp asserts that there are none."""
    numbers: dict[bytes, int] = {}
    for n, token in enumerate(strings(path, "tokenizer.ggml.tokens")):
        text = token.split(b"\0", 1)[0] or b"[EMPTY_%d]" % n  # as llama.cpp reads it
        first = numbers.setdefault(text, n)
        if first != n:
            token_text = text.decode("utf-8", "replace")
            raise ModelError(
                f"{path}: the tokens {first} and {n} of its vocabulary are both {token_text!r}, and llama.cpp ends the "
                "process on such a file; take another conversion of the model"
            )


def header_key(path: Path) -> str:
    """Hashes what llama.cpp's assertions depend on: the headers of all parts of a file, and their sizes."""
    stat = path.stat()
    return _header_key(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(32)
def _header_key(path: Path, size: int, mtime_ns: int) -> str:
    digest = hashlib.sha256()
    for part in parts(path):
        with part.open("rb") as file:
            digest.update(file.read(inspect(part).header_bytes if part == path else 1 << 20))
        digest.update(f" {part.stat().st_size} ".encode())
    return digest.hexdigest()


def _llama() -> str:
    return version("llama-cpp-python")


def _memory(path: Path, relevant: dict[str, object]) -> Path:
    key = json.dumps([header_key(path), relevant, _llama()], sort_keys=True)
    return cache_folder() / "opened" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"


def _known(memory: Path) -> str | None:
    """Returns the cached outcome: an assertion, '' for success, None if unknown."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        crash = json.loads(memory.read_text("utf-8"))["crash"]
        return crash if isinstance(crash, str) else None
    return None


def _keep(memory: Path, path: Path, relevant: dict[str, object], crash: str) -> None:
    """Caches the outcome, except a crash that may be the machine's fault."""
    from pipeline.storage.files import write_json

    if crash and "GGML_ASSERT" not in crash:
        return
    with contextlib.suppress(ModelError):  # a cache that cannot be written costs time, nothing else
        write_json(memory, {"file": path.name, "settings": relevant, "llama": _llama(), "crash": crash})


def _try(path: Path, relevant: dict[str, object]) -> str | None:
    """Opens the file in a child process; returns the failed assertion, '' for success, None if it is inconclusive."""
    root = str(Path(__file__).parent.parent.parent)
    places = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "GGML_NO_BACKTRACE": "1"}
    command = [sys.executable, "-m", "pipeline.models.first_look", str(path.absolute()), json.dumps(relevant)]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
    except OSError:
        return None
    if done.returncode == 0:
        return ""
    if done.returncode == -getattr(signal, "SIGKILL", 9):
        return "the system killed it, probably for want of memory"
    if done.returncode not in CRASHES:
        return None
    lines = [match.group() for match in map(_ASSERTION.search, done.stderr.splitlines()) if match]
    return " ".join((lines or done.stderr.strip().splitlines() or [f"signal {-done.returncode}"])[-1].split())


def _open(path: Path, relevant: dict[str, object]) -> None:
    """Runs in the child. A ModelError is no crash: the parent will raise it as well."""
    import numpy as np

    from pipeline.gguf.purpose import purpose
    from pipeline.models.context import Context, Rows
    from pipeline.models.resolving import resolve
    from pipeline.models.weights import Weights
    from pipeline.settings import build_dataclass

    settings, faults = build_dataclass(EngineSettings, {**relevant, "model": str(path), "n_seq_max": 2}, "settings")
    if not isinstance(settings, EngineSettings):
        raise TypeError(f"the parent's settings are refused: {faults}")
    weights = Weights(path, settings)
    if purpose(inspect(path)).kind != "generator":  # its own opener chooses the context
        return
    longest = int(weights.n_ctx_trained * settings.rope_factor)
    if longest >= _SMALL:
        settings = replace(settings, n_ctx=_SMALL)
    context = Context(weights, resolve(settings, weights), 3, settings.flash_attention)
    tokens = np.arange(8, dtype=np.int32) % weights.n_vocab
    context.decode([Rows(0, 0, tokens, None, [7]), Rows(1, 0, tokens[:3], None, [2])])
    context.decode([Rows(0, 8, tokens[:1], None, [0])])


_DEFAULTS = {name: value for name, value in asdict(EngineSettings()).items() if name in _RELEVANT}


if __name__ == "__main__":
    from pipeline.models import first_look

    first_look._is_child = True
    with contextlib.suppress(ModelError):
        _open(Path(sys.argv[1]), json.loads(sys.argv[2]))
