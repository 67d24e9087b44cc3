"""Checks this machine, and lists what it offers and what is missing, each with what to do about it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

from pipeline.errors import ConfigError, LongthreadError
from pipeline.storage.cache import cache_folder

Status = Literal["ok", "warn", "miss"]

SHOWN = (
    "llama-cpp-python",
    "torch",
    "sentence-transformers",
    "chromadb",
    "bm25s",
    "langchain-core",
    "numpy",
    "pydantic",
)
"""The libraries whose versions a bug report needs. Of the others only the missing are named."""
EXTRAS = {"pdf": "PDF files", "html": "HTML files", "docx": "Word files"}
_FEATURES = ("AVX", "AVX2", "FMA", "F16C", "AVX512", "AVX512_VNNI", "AVX512_BF16", "AMX_INT8", "NEON", "DOTPROD", "SVE")
LEAST_MEMORY = 1_500_000_000
LEAST_DISK = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `todo` says what to do about a warn or a miss.

    `miss`: longthread does not work without it. `warn`: longthread works, but is slower or can do less.
    """

    what: str
    status: Status
    message: str
    todo: str = ""


def findings() -> Iterator[Finding]:
    """Yields the findings in reading order. The last ones load the default model's weights."""
    yield _python()
    for section in (_libraries, _extras, _machine, _cache, _embedder, _models):
        try:
            yield from section()
        except ImportError as error:
            what = section.__name__.strip("_")
            yield Finding(what, "miss", f"cannot be checked: {error}", "see 'libraries' above")


def _python() -> Finding:
    return Finding("python", "ok", f"{platform.python_version()} ({sys.executable}), {platform.platform(terse=True)}")


def _libraries() -> Iterator[Finding]:
    try:
        installed, needed = version("longthread"), _requirements()[""]
    except PackageNotFoundError:
        yield Finding(
            "longthread", "miss", "runs from a folder, and is not installed", "pip install -e . in its folder"
        )
        return
    yield Finding("longthread", "ok", installed)
    missing = [name for name in needed if _version(name) is None]
    shown = [f"{name} {number}" for name in SHOWN if (number := _version(name))]
    yield Finding("libraries", "ok", ", ".join(shown))
    if missing:
        yield Finding("libraries", "miss", f"not installed: {', '.join(missing)}", f"pip install {' '.join(missing)}")


def _extras() -> Iterator[Finding]:
    try:
        needed = _requirements()
    except PackageNotFoundError:
        return
    for extra, what in EXTRAS.items():
        missing = [name for name in needed.get(extra, []) if _version(name) is None]
        if missing:
            message = f"cannot be read: {', '.join(missing)} not installed"
            yield Finding(what, "warn", message, f"pip install 'longthread[{extra}]'")
        else:
            yield Finding(what, "ok", "can be read")


def _requirements() -> dict[str, list[str]]:
    """The distributions that longthread needs, by extra. Those that it always needs are under ''."""
    names: dict[str, list[str]] = {}
    for line in requires("longthread") or []:
        name = re.split(r"[^\w.-]", line, maxsplit=1)[0]
        extra = re.search(r"extra == ['\"](\w+)['\"]", line)
        names.setdefault(extra[1] if extra else "", []).append(name)
    return names


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _machine() -> Iterator[Finding]:
    from pipeline.gguf.tune import machine
    from pipeline.models.llama import library
    from pipeline.models.resolving import threads

    lib = library()
    has = re.findall(r"(\w+) = 1", lib.llama_print_system_info().decode())
    yield Finding("processor", "ok", f"{machine()} (of {os.cpu_count()} logical); {threads()} threads are used")
    yield _features(has)
    if "AMX_INT8" in has:
        yield _amx()
    if lib.llama_supports_gpu_offload():
        yield Finding("GPU", "ok", "llama.cpp can use one: all layers run on it, unless n_gpu_layers says less")
    else:
        yield Finding("GPU", "ok", "not used: this llama.cpp was built for the processor alone (README: for a GPU)")
    yield _memory()


def _features(has: list[str]) -> Finding:
    known = [feature for feature in _FEATURES if feature in has]
    lacks = [f for f in ("AVX2", "FMA", "AVX512") if f not in has and f in _processor_flags()]
    if lacks:
        return Finding(
            "llama.cpp",
            "warn",
            f"built with {', '.join(known) or 'no vector instructions'}; this processor has {', '.join(lacks)} too",
            "pip install --force-reinstall --no-cache-dir --no-binary llama-cpp-python llama-cpp-python",
        )
    return Finding("llama.cpp", "ok", f"built with {', '.join(known) or 'no vector instructions'}")


def _amx() -> Finding:
    from pipeline.models.amx import INCONCLUSIVE, SWITCHED_OFF, why_no_extra_buffers

    why = why_no_extra_buffers()
    if not why:
        return Finding("AMX", "ok", "llama.cpp's kernels for it are used")
    if why == SWITCHED_OFF:
        return Finding("AMX", "ok", f"not used: {why}")
    cost = f"not used: {why}; with them models in Q8_0, Q4_K and others are read 3 to 5 times as fast"
    if why == INCONCLUSIVE:
        return Finding("AMX", "warn", cost, "longthread doctor, once more: on an idle machine with memory free")
    return Finding(
        "AMX",
        "warn",
        cost,
        "CC=clang CXX=clang++ pip install --force-reinstall --no-cache-dir --no-binary llama-cpp-python "
        "llama-cpp-python (or GCC 14)",
    )


def _processor_flags() -> set[str]:
    """The features of the processor in llama.cpp's spelling. Empty on systems other than Linux."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            flags = next((line.split() for line in file if line.startswith("flags")), [])
    except OSError:
        return set()
    return {flag.upper().replace("AVX512F", "AVX512") for flag in flags}


def _memory() -> Finding:
    import psutil

    from pipeline.models.resolving import free_memory

    free = free_memory()
    message = f"{free / 1e9:.1f} GB free of {psutil.virtual_memory().total / 1e9:.1f}"
    if free < LEAST_MEMORY:
        todo = f"free {LEAST_MEMORY / 1e9:.1f} GB, or use index.embedder: none"
        return Finding("memory", "warn", message, todo)
    return Finding("memory", "ok", message)


def _cache() -> Iterator[Finding]:
    folder = cache_folder()
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    todo = "set the environment variable LONGTHREAD_CACHE to a writable folder with free space"
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        yield Finding("cache folder", "miss", f"{folder} cannot be written", todo)
        return
    free = shutil.disk_usage(existing).free
    message = f"{folder}, {free / 1e9:.1f} GB free"
    is_little = free < LEAST_DISK
    yield Finding("cache folder", "warn" if is_little else "ok", message, todo if is_little else "")
    yield _kept_cells()


def _kept_cells() -> Finding:
    from pipeline.models.cell_limits import BITS, DISK, MEMORY, cell_limits
    from pipeline.storage.cell_files import size_of

    try:
        limits = cell_limits()
    except ConfigError as error:
        return Finding("kept cells", "miss", str(error), "correct it, or unset it")
    parts = []
    for folder, what in (("pieces", "passages"), ("snapshots", "conversations")):
        n_files, n_bytes = size_of(cache_folder() / folder)
        parts.append(f"{n_files} {what} that were read take {n_bytes / 1e6:.0f} MB")
    disk, memory, bits = limits.max_disk_bytes / 1e6, limits.max_memory_bytes / 1e6, 8 if limits.is_packed else 16
    parts.append(f"at most {disk:.0f} MB each ({DISK}), {memory:.0f} MB in memory ({MEMORY}), {bits} bits ({BITS})")
    return Finding("kept cells", "ok", "; ".join(parts))


def _embedder() -> Iterator[Finding]:
    from pipeline.retrieval.embedder import open_embedder

    try:
        embedder = open_embedder("minilm")
        yield Finding("embedder", "ok", f"minilm, {embedder.dimension} dimensions, {embedder.max_tokens} tokens a text")
    except LongthreadError as error:
        yield Finding("embedder", "miss", "minilm is missing", str(error))


def _models() -> Iterator[Finding]:
    from pipeline.gguf.catalogue import list_models, models_folder, resolve
    from pipeline.models.settings import EngineSettings
    from pipeline.models.thinking import profile_of_file
    from pipeline.user import UserSettings, user_file, user_settings

    try:
        settings = user_settings()
    except LongthreadError as error:
        yield Finding("your settings", "warn", str(error), f"correct or delete {user_file()}")
        settings = UserSettings()
    else:
        missing = "" if user_file().is_file() else " (missing: 'longthread models default' makes it)"
        yield Finding("your settings", "ok", f"{user_file()}{missing}")
    yield Finding("models folder", "ok", f"{models_folder()}: GGUF files in it have names")
    default = settings.model or EngineSettings().model
    try:
        path = resolve(default)
        what = ": tiny, for a first look" if settings.model is None else ""
        yield Finding("default model", "ok", f"{default}, {path.stat().st_size / 1e6:.0f} MB{what}")
        yield from _tuned(default, path)
        yield _settings(path)
        yield Finding("its thoughts", "ok", str(profile_of_file(path)))
    except LongthreadError as error:
        yield Finding("default model", "miss", f"{default} is missing or damaged", str(error))
    try:
        others = [model.name for model in list_models() if model.is_here and model.name != default]
    except LongthreadError:  # reported above
        return
    if others:
        yield Finding("other models", "ok", ", ".join(others))


def _tuned(name: str, path: Path) -> Iterator[Finding]:
    from pipeline.gguf.tune import is_tuned, tuned

    files = {role: tuned(path, role) for role in ("read", "score")}
    if any(files.values()):
        message = ", ".join(f"to {role}: {file.name if file else 'the given file'}" for role, file in files.items())
        yield Finding("tuned", "ok", message)
    elif is_tuned(path):
        yield Finding("tuned", "ok", "the given file is as fast as any")
    else:
        yield Finding("tuned", "warn", "no: reading may be up to twice as slow", f"longthread models tune {name}")


def _settings(path: Path) -> Finding:
    """The values of `auto` for the default model, whose weights are loaded for that."""
    from pipeline.models.resolving import resolve
    from pipeline.models.settings import EngineSettings
    from pipeline.models.weights import Weights

    weights = Weights(path)
    try:
        resolved = resolve(EngineSettings(), weights)
    finally:
        weights.close()
    return Finding(
        "its settings",
        "ok",
        f"n_ctx {resolved.n_ctx} (trained on {resolved.n_ctx_trained}), n_cells {resolved.n_cells}, "
        f"n_batch {resolved.n_batch}, n_seq_max {resolved.n_seq_max}, threads {resolved.threads}, "
        f"n_gpu_layers {resolved.n_gpu_layers}, "
        f"flash_attention {'on' if resolved.flash_attention else 'off'}; cache {resolved.kv_bytes / 1e6:.0f} MB "
        f"({resolved.kv_k}), weights {resolved.weight_bytes / 1e6:.0f} MB",
    )
