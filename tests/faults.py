"""Commands whose writes go wrong: killed before any change to a folder, torn inside a write, or on a disk that is full.

    library = build(tmp_path)
    n = count(library, command, folder, environment)          # changes of an undisturbed command
    done = disturbed(library, command, folder, "kill", 7, environment)

For tests and for benchmarks/faults.py. The library is preloaded (tests/faults.c), so Linux and a C compiler are needed.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parent.parent
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
Kind = Literal["kill", "tear", "full"]
TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Done:
    """How a command ended. `n_changes` counts what it changed under the folder; `timed_out`: it had to be killed."""

    code: int
    out: str
    err: str
    n_changes: int
    timed_out: bool = False

    @property
    def was_killed(self) -> bool:
        return self.code == -signal.SIGKILL and not self.timed_out

    @property
    def has_traceback(self) -> bool:
        return "Traceback (most recent call last)" in self.err or "panicked at" in self.err


def build(folder: Path) -> Path:
    """Compiles the library into a folder."""
    library = folder / "faults.so"
    source = ROOT / "tests" / "faults.c"
    command = [str(COMPILER), "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return library


def run(
    command: Sequence[str], environment: Mapping[str, str], input_text: str = "", timeout_s: float = TIMEOUT_S
) -> Done:
    """A command to its end, in a process group of its own; after `timeout_s` the whole group is killed."""
    process = subprocess.Popen(
        list(command),
        cwd=ROOT,
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    timed_out = False
    try:
        out, err = process.communicate(input_text, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        timed_out = True
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
    return Done(process.returncode, out, err, 0, timed_out)


def disturbed(
    library: Path,
    command: Sequence[str],
    folder: Path,
    kind: Kind,
    at: int,
    environment: Mapping[str, str],
    input_text: str = "",
    timeout_s: float = TIMEOUT_S,
) -> Done:
    """A command whose change number `at` to files under `folder`, from 1, goes wrong; with 0 none does."""
    with tempfile.TemporaryDirectory() as place:
        counter = Path(place) / "counter"
        counter.write_bytes(bytes(8))
        more = {
            "LD_PRELOAD": str(library),
            "FAULT_COUNTER": str(counter),
            "FAULT_FOLDER": str(folder.resolve()),
            "FAULT_AT": str(at),
            "FAULT_KIND": kind,
        }
        done = run(command, {**environment, **more}, input_text, timeout_s)
        n = int.from_bytes(counter.read_bytes(), "little")
    return Done(done.code, done.out, done.err, n, done.timed_out)


def count(
    library: Path, command: Sequence[str], folder: Path, environment: Mapping[str, str], input_text: str = ""
) -> int:
    """How many changes an undisturbed command makes to files under `folder`."""
    return disturbed(library, command, folder, "kill", 0, environment, input_text).n_changes


def damage(data: bytes, rng: random.Random) -> bytes:
    """The bytes with one part cut off, changed, emptied, or replaced by something else."""
    if not data:
        return bytes(rng.randbytes(rng.randint(1, 64)))
    place = rng.randrange(len(data))
    size = min(len(data) - place, rng.choice((1, 1, 1, 4, 64, 1024)))
    kind = rng.randrange(8)
    if kind == 0:
        return data[:place]
    if kind == 1:
        return data[:place] + bytes(size) + data[place + size :]
    if kind == 2:
        return data[:place] + rng.randbytes(size) + data[place + size :]
    if kind == 3:
        return data[:place] + data[place + size :]
    if kind == 4:
        return rng.choice((b"", b"[]", b"null", b"{}", b"\xff\xfe\x00", b"[" * 100_000, b"0", b'"x"'))
    if kind == 5:
        return data[:place] + data[place : place + size] + data[place:]
    return data[:place] + bytes([data[place] ^ (1 << rng.randrange(8))]) + data[place + 1 :]
