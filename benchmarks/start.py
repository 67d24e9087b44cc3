"""What starting costs: `ask` and `chat` as whole processes, with MiniLM in llama.cpp and in sentence-transformers.

    .venv/bin/python benchmarks/start.py
    .venv/bin/python benchmarks/start.py --rounds 1 --model /path/to/model.gguf

`ask` answers a question from the demo's documents, whose index is there. `chat` opens a conversation about them and is
left at its first prompt: `wall` ends when the prompt is on the screen, `processor` and `peak` hold what it loads
meanwhile as well. Both ways take turns, after a run of each that is not counted; ratios are medians of llama.cpp over
medians of sentence-transformers. `same_output` says that every `ask` printed the same answer and citations.
`vector_difference` and `token_difference` are the largest of any component, over this project's own prose.
`embed_ratio` is the processor time of embedding it, on one processor each. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import re
import select
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time, time_ns
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from pipeline.offline import switch_off_telemetry
from pipeline.retrieval.embedder import SentenceEmbedder, minilm_folder, open_embedder

DOCUMENTS = "configs/demo/documents"
QUESTION = "Who repaired the clock in 1987?"
WAYS = ("llama", "torch")
LONGEST_WAIT_S = 300.0
CLOCK = re.compile(r"[\d.]+ s\b")
ESCAPE = re.compile(rb"\x1b(\[[0-9;?]*[ -/]*[@-~]|\][^\x07]*\x07|[=>()][A-Z0-9]?)")


@dataclass(frozen=True)
class Run:
    """One process: seconds until what was waited for, seconds of processor, most memory in MB, and what it printed."""

    wall: float
    processor: float
    peak: float
    output: str = ""


def config_file(folder: Path, way: str, model: str) -> Path:
    """The built-in pipeline as it is, or with the same embedder named by its folder."""
    text = (ROOT / "configs" / "default.yaml").read_text("utf-8")
    embedder = "minilm" if way == "llama" else str(minilm_folder())
    text = re.sub(r"embedder: minilm\b", f"embedder: {embedder}", text)
    text = re.sub(r"model: smollm2-135m\b", f"model: {model}", text)
    path = folder / f"{way}.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def waited(pid: int, wall: float, output: str = "") -> Run:
    """What a child used, once it has ended."""
    _, status, usage = os.wait4(pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise RuntimeError(f"the command ended with {os.waitstatus_to_exitcode(status)}: {output[-2000:]}")
    scale = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / scale, output)


def ask(config: Path, environment: Mapping[str, str]) -> Run:
    command = [sys.executable, "-m", "cli.main", "ask", QUESTION, DOCUMENTS, "--config", str(config)]
    started = perf_counter()
    child = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child.stdout as pipe:
        output = pipe.read()
    run = waited(child.pid, 0.0, output)
    child.returncode = 0
    return Run(perf_counter() - started, run.processor, run.peak, CLOCK.sub("", output))


def chat(config: Path, environment: Mapping[str, str]) -> Run:
    """A chat in a terminal of its own, until it waits for a line; then Ctrl-D ends it."""
    session = f"start-{config.stem}-{time_ns()}"
    command = [sys.executable, "-m", "cli.main", "chat", "--docs", DOCUMENTS, "--config", str(config), "-s", session]
    terminal, other = pty.openpty()
    started = perf_counter()
    child = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=other, stdout=other, stderr=other, start_new_session=True
    )
    os.close(other)
    shown, wall = b"", 0.0
    while not wall:
        if perf_counter() - started > LONGEST_WAIT_S or child.poll() is not None:
            child.kill()
            raise RuntimeError(f"no prompt after {perf_counter() - started:.0f} s: {shown[-2000:]!r}")
        shown += read(terminal)
        lines = re.split(rb"[\r\n]", ESCAPE.sub(b"", shown))
        if any(line.strip() == b">" for line in lines):
            wall = perf_counter() - started
    os.write(terminal, b"\x04")
    while select.select([terminal], [], [], LONGEST_WAIT_S)[0] and (more := read(terminal)):
        shown += more
    run = waited(child.pid, wall, shown.decode("utf-8", "replace"))
    child.returncode = 0
    os.close(terminal)
    return run


def read(terminal: int) -> bytes:
    """What the child wrote; nothing where it wrote nothing for a moment, or has ended."""
    if not select.select([terminal], [], [], 0.1)[0]:
        return b""
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # Linux: the other end is closed
        return b""


def ratios(runs: Mapping[str, Sequence[Run]]) -> dict[str, Any]:
    """Medians of both ways and what one is of the other."""
    found: dict[str, Any] = {}
    for what in ("wall", "processor", "peak"):
        ours, theirs = (statistics.median(getattr(run, what) for run in runs[way]) for way in WAYS)
        found[what] = {"llama": round(ours, 3), "torch": round(theirs, 3), "ratio": round(ours / theirs, 3)}
    return found


def differences(n_texts: int) -> dict[str, float]:
    """How far the two ways are from each other on our own prose, and what each takes for it on one thread."""
    import torch

    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):  # our threads are as many as the processors that the process may use
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    ours, theirs = open_embedder("minilm"), SentenceEmbedder("torch", minilm_folder())
    words = " ".join(path.read_text("utf-8") for path in sorted((ROOT / "docs").glob("*.md"))).split()
    draw = np.random.default_rng(0)
    texts = [
        " ".join(words[start : start + n])
        for n in (5, 15, 40, 100)
        for start in draw.integers(0, len(words) - 100, n_texts // 4)
    ]
    texts = [text for text, n in zip(texts, ours.count_tokens(texts), strict=True) if n <= ours.max_tokens]
    vectors, tokens = ours.token_vectors(texts)
    expected, expected_tokens = theirs.token_vectors(texts)
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(3):
        for way, embedder in zip(WAYS, (ours, theirs), strict=True):
            started = process_time()
            embedder.embed(texts)
            seconds[way].append(process_time() - started)
    return {
        "n_tokens": sum(ours.count_tokens(texts)),
        "vector_difference": float(np.abs(vectors - expected).max()),
        "token_difference": max(float(np.abs(a - b).max()) for a, b in zip(tokens, expected_tokens, strict=True)),
        "least_cosine": float((vectors * expected).sum(axis=1).min()),
        "embed_ratio": round(min(seconds["llama"]) / min(seconds["torch"]), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=160, help="for the differences of the vectors")
    parser.add_argument("--model", default="smollm2-135m", help="the reader")
    options = parser.parse_args()
    switch_off_telemetry()
    load = os.getloadavg()[0]
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        environment = {**os.environ, "TERM": "xterm", "PYTHONPATH": str(ROOT)}
        environment |= {"LONGTHREAD_CACHE": str(work / "cache"), "LONGTHREAD_DATA": str(work / "data")}
        configs = {way: config_file(work, way, options.model) for way in WAYS}
        for command in (ask, chat):
            runs: dict[str, list[Run]] = {way: [] for way in WAYS}
            for n in range(options.rounds + 1):
                for way in WAYS:
                    run = command(configs[way], environment)
                    if n:
                        runs[way].append(run)
                        print(
                            f"{command.__name__} {way:5} {run.wall:6.2f} s, {run.processor:6.2f} s of processor, "
                            f"{run.peak:5.0f} MB",
                            flush=True,
                        )
            found[command.__name__] = ratios(runs)
            if command is ask:
                found["same_output"] = len({run.output for way in WAYS for run in runs[way]}) == 1
    found |= differences(options.texts)
    print(json.dumps({"benchmark": "start", "rounds": options.rounds, "load": round(load, 2), **found}))


if __name__ == "__main__":
    main()
