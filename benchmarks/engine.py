"""The engine against llama-cpp-python's `Llama`, on the same file in the same run.

Both use the same threads, batch and flash attention. Ways that are compared take turns, and medians are reported. The
last line is JSON. Run it on a machine that does nothing else: `load` says what was going on.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from pipeline.gguf.catalogue import resolve as find
from pipeline.models.engine import Engine, open_engine
from pipeline.models.settings import EngineSettings
from pipeline.types import Prompt, Sampling, Text

N_CTX = 8192
ROOT = Path(__file__).parent.parent


def own_text(engine: Engine, n_tokens: int, start: int = 0) -> str:
    """About n_tokens tokens of this project's own prose, from different places for different starts."""
    files = [
        *sorted((ROOT / "configs/demo/documents").glob("*")),
        *sorted((ROOT / "docs").rglob("*.md")),
        ROOT / "CONTRIBUTING.md",
    ]
    words = " ".join(file.read_text("utf-8") for file in files).split()
    words = words[start * 211 % len(words) :] + words
    while engine.count_text(" ".join(words)) < n_tokens:
        words += words
    low, high = 0, len(words)
    while low < high:
        middle = (low + high + 1) // 2
        if engine.count_text(" ".join(words[:middle])) <= n_tokens:
            low = middle
        else:
            high = middle - 1
    return " ".join(words[:low])


def peer(path: Path, threads: int) -> Any:
    from llama_cpp import Llama

    return Llama(
        str(path), n_ctx=N_CTX, n_batch=512, n_threads=threads, n_threads_batch=threads, flash_attn=True, verbose=False
    )


def seconds(work: Callable[[], Any]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def in_turn(repeats: int, *ways: Callable[[], Any]) -> list[float]:
    """Median seconds of each way; they take turns."""
    times: list[list[float]] = [[] for _ in ways]
    for _ in range(repeats):
        for n, way in enumerate(ways):
            times[n].append(seconds(way))
    return [statistics.median(one) for one in times]


def log_softmax(logits: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    values = np.asarray(logits, np.float64)
    values = values - values.max()
    return np.asarray(values - np.log(np.exp(values).sum()))


# ----------------------------------------------------------------------------------------------------------- the parts
def fanout(engine: Engine, llama: Any, repeats: int) -> dict[str, Any]:
    prefix = "Read the text.\n" + own_text(engine, 595)
    subjects = [
        "the ferry",
        "the tower",
        "the garden",
        "a telescope",
        "the mayor",
        "the harbour",
        "the weather",
        "roses",
    ]
    suffixes = [f"\nSentence {n}: it is about {subjects[n % 8]}.\nUseful? Answer:" for n in range(16)]
    targets = [" Yes", " No"]
    ids = [int(engine.weights.tokenize(target)[0]) for target in targets]
    head = engine.weights.tokenize(prefix).tolist()
    tails = [engine.weights.tokenize(suffix).tolist() for suffix in suffixes]
    found: dict[str, Any] = {}

    def ours() -> None:
        engine.pool.forget()
        found["ours"] = engine.score((Text(prefix),), suffixes, targets)

    def whole() -> None:
        rows = []
        for tail in tails:
            llama.reset()
            llama._ctx.kv_cache_clear()
            llama.eval([*head, *tail])
            rows.append(log_softmax(llama._ctx.get_logits_ith(-1)[: llama.n_vocab()])[ids])
        found["whole"] = np.array(rows)

    def kept() -> None:
        llama.reset()
        llama._ctx.kv_cache_clear()
        rows = []
        for tail in tails:
            next(llama.generate([*head, *tail], temp=0.0))
            rows.append(log_softmax(llama._ctx.get_logits_ith(-1)[: llama.n_vocab()])[ids])
        found["kept"] = np.array(rows)

    ours_s, whole_s, kept_s = in_turn(repeats, ours, whole, kept)
    margin = {way: rows[:, 0] - rows[:, 1] for way, rows in found.items()}
    return {
        "fanout_speedup": whole_s / ours_s,
        "fanout_speedup_prefix_match": kept_s / ours_s,
        "fanout_max_diff": float(np.abs(found["ours"] - found["whole"]).max()),
        "fanout_max_diff_of_peer": float(np.abs(found["kept"] - found["whole"]).max()),
        "fanout_same_ranking": bool((np.argsort(margin["ours"]) == np.argsort(margin["whole"])).all()),
        "fanout_same_ranking_of_peer": bool((np.argsort(margin["kept"]) == np.argsort(margin["whole"])).all()),
        "fanout_rank_correlation": float(_spearman(margin["ours"], margin["whole"])),
        "fanout_prefix_tokens": len(head),
        "fanout_suffix_tokens": statistics.mean(map(len, tails)),
        "fanout_s": {"ours": ours_s, "whole": whole_s, "prefix_match": kept_s},
    }


def _spearman(one: Any, other: Any) -> float:
    ranks = [np.argsort(np.argsort(values)) for values in (one, other)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def answered(engine: Engine, texts: Sequence[str], max_tokens: int) -> tuple[int, float]:
    """Tokens written, and the share of the time that was spent outside of llama.cpp."""
    engine.pool.forget()
    before, start = engine.context.native_s, perf_counter()
    streams = engine.generate([(Text(text),) for text in texts], Sampling(max_tokens=max_tokens))
    tokens = sum(stream.result().answer_tokens for stream in streams)
    total = perf_counter() - start
    return tokens, 1 - (engine.context.native_s - before) / total


def peer_answers(llama: Any, engine: Engine, texts: Sequence[str], max_tokens: int) -> int:
    llama.reset()
    llama._ctx.kv_cache_clear()
    tokens = 0
    for text in texts:
        prompt = engine.weights.tokenize(text).tolist()
        done = llama.create_completion(prompt, max_tokens=max_tokens, temperature=0.0)
        tokens += done["usage"]["completion_tokens"]
    return tokens


def batch(engine: Engine, llama: Any, repeats: int) -> dict[str, Any]:
    texts = [own_text(engine, 60, n + 1) for n in range(16)]
    said: dict[str, Any] = {}

    def ours() -> None:
        said["ours"], said["overhead"] = answered(engine, texts, 64)

    def theirs() -> None:
        said["theirs"] = peer_answers(llama, engine, texts, 64)

    ours_s, theirs_s = in_turn(repeats, ours, theirs)
    return {
        "batch_speedup": (said["ours"] / ours_s) / (said["theirs"] / theirs_s),
        "batch_tokens": {"ours": said["ours"], "llama": said["theirs"]},
        "batch_s": {"ours": ours_s, "llama": theirs_s},
        "overhead": said["overhead"],
    }


def interleaved(engine: Engine, llama: Any, repeats: int) -> dict[str, Any]:
    documents = [own_text(engine, 600, 3 * n + 2) for n in range(4)]
    texts = [f"{documents[n % 4]}\nQuestion {n}: what is said first?\nAnswer:" for n in range(16)]
    said: dict[str, Any] = {}

    def ours() -> None:
        said["ours"], _ = answered(engine, texts, 16)

    def theirs() -> None:
        said["theirs"] = peer_answers(llama, engine, texts, 16)

    ours_s, theirs_s = in_turn(repeats, ours, theirs)
    return {
        "batch_interleaved_speedup": theirs_s / ours_s,
        "batch_interleaved_tokens": {"ours": said["ours"], "llama": said["theirs"]},
        "batch_interleaved_s": {"ours": ours_s, "llama": theirs_s},
    }


def restored(path: Path, threads: int) -> dict[str, Any]:
    """Time to the first token of 2000, in new processes: once read, once from disk (checksum and all)."""
    with tempfile.TemporaryDirectory() as cache:
        run: dict[str, Any] = {}
        for way in ("hash", "cold", "restored"):
            command = [sys.executable, __file__, "--model", str(path), "--child", way, "--threads", str(threads)]
            done = subprocess.run(
                command, capture_output=True, text=True, check=True, env={**os.environ, "LONGTHREAD_CACHE": cache}
            )
            run[way] = json.loads(done.stdout.splitlines()[-1])
        return {
            "ttft_restored_over_cold": run["restored"]["ttft_s"] / run["cold"]["ttft_s"],
            "ttft_s": {"cold": run["cold"]["ttft_s"], "restored": run["restored"]["ttft_s"]},
            "ttft_same_token": run["restored"]["token"] == run["cold"]["token"],
            "ttft_max_diff": max(abs(a - b) for a, b in zip(run["restored"]["top"], run["cold"]["top"], strict=True)),
        }


def child(path: Path, way: str, threads: int) -> None:
    with open_engine(EngineSettings(model=str(path), n_ctx=N_CTX, threads=threads), path) as engine:
        prompt: Prompt = (Text(own_text(engine, 2000)),)
        start = perf_counter()
        if way == "restored":
            n = engine.restore(prompt)
            assert n > 1900, n
        stream = engine.generate([prompt], Sampling(max_tokens=1))[0]
        token = stream.result().text
        took = perf_counter() - start
        top = np.sort(engine.next_logprobs(prompt))[-20:].tolist()
        if way == "cold":
            engine.snapshot(prompt)
        print(json.dumps({"ttft_s": took, "token": token, "top": top}))


def lookup(path: Path, threads: int, repeats: int) -> dict[str, Any]:
    """Answers that copy from the context: with and without drafting."""
    engines = [
        open_engine(EngineSettings(model=str(path), n_ctx=2048, threads=threads, draft=draft), path)
        for draft in ("none", "lookup")
    ]
    text = own_text(engines[0], 120)
    prompt = (Text(f"{text}\n\nThe same text again:\n\n{text[:40]}"),)
    said: dict[int, str] = {}

    def run(n: int) -> Callable[[], None]:
        def work() -> None:
            engines[n].pool.forget()
            said[n] = engines[n].generate([prompt], Sampling(max_tokens=96))[0].result().text

        return work

    plain_s, drafted_s = in_turn(repeats, run(0), run(1))
    accepted, drafted = engines[1].batcher.n_accepted, engines[1].batcher.n_drafted
    for engine in engines:
        engine.close()
    return {
        "lookup_speedup": plain_s / drafted_s,
        "lookup_same_text": said[0] == said[1],
        "lookup_accepted": accepted / max(1, drafted),
    }


def probe(engine: Engine, llama: Any, repeats: int) -> dict[str, Any]:
    prefix, query = (
        (Text(own_text(engine, 1000)),),
        (Text("\nWhat does the text say of the ferry, and where does it land?"),),
    )
    tokens = [*engine.weights.tokenize(prefix[0].text).tolist(), *engine.weights.tokenize(query[0].text).tolist()]
    n_layer, n_head = engine.weights.n_layer, engine.weights.n_head
    some = [(layer, head) for layer in range(2 * n_layer // 3) for head in range(n_head)]
    engine.attend(prefix, query, [(0, 0)])

    def run(heads: Sequence[tuple[int, int]] | None) -> Callable[[], None]:
        def work() -> None:
            assert engine._probe is not None
            assert engine._probe._context is not None
            engine._probe._forget(engine._probe._context)
            engine.attend(prefix, query, heads)

        return work

    def plain() -> None:
        llama.reset()
        llama._ctx.kv_cache_clear()
        llama.eval(tokens)

    every_s, some_s, plain_s = in_turn(repeats, run(None), run(some), plain)
    return {
        "probe_cost": every_s / plain_s,
        "probe_cost_two_thirds": some_s / plain_s,
        "probe_s": {"all_layers": every_s, "two_thirds": some_s, "plain": plain_s},
        "probe_tokens": [len(engine.weights.tokenize(part[0].text)) for part in (prefix, query)],
    }


def tuned_speedup(path: Path, threads: int, repeats: int) -> dict[str, Any]:
    """Prefill of 1000 tokens by the file that `longthread models tune` chose, against the file as it is."""
    from pipeline.gguf.tune import tune, tuned

    report = tune(path, lambda what, done, total: None)
    faster = tuned(path, "read") or path
    chosen = next(one for one in report.candidates if one.quantisation == report.best["read"])
    engines = [open_engine(EngineSettings(n_ctx=2048, threads=threads), file) for file in (path, faster)]
    prompt = (Text(own_text(engines[0], 1000)),)

    def run(engine: Engine) -> Callable[[], None]:
        def work() -> None:
            engine.pool.forget()
            engine.next_logprobs(prompt)

        return work

    plain_s, faster_s = in_turn(repeats, *(run(engine) for engine in engines))
    for engine in engines:
        engine.close()
    return {
        "tuned_prefill_speedup": plain_s / faster_s,
        "tuned_file": faster.name,
        "tuned_kl": chosen.divergence,
        "tuned_agreement": chosen.agreement,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", default="")
    parser.add_argument("--only", default="", help="comma-separated names of parts")
    arguments = parser.parse_args()
    path = find(arguments.model)
    threads = arguments.threads or len(os.sched_getaffinity(0))
    if arguments.child:
        child(path, arguments.child, threads)
        return
    result: dict[str, Any] = {
        "model": path.name,
        "threads": threads,
        "repeats": arguments.repeats,
        "load": os.getloadavg()[0],
    }
    engine = open_engine(EngineSettings(model=str(path), n_ctx=N_CTX, threads=threads), path)
    llama = peer(path, threads)
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "fanout": lambda: fanout(engine, llama, arguments.repeats),
        "batch": lambda: batch(engine, llama, arguments.repeats),
        "interleaved": lambda: interleaved(engine, llama, arguments.repeats),
        "probe": lambda: probe(engine, llama, arguments.repeats),
        "lookup": lambda: lookup(path, threads, arguments.repeats),
        "restored": lambda: restored(path, threads),
        "tuned": lambda: tuned_speedup(path, threads, arguments.repeats),
    }
    for name, part in parts.items():
        if arguments.only and name not in arguments.only.split(","):
            continue
        found = part()
        print(f"{name}: {json.dumps(found)}", flush=True)
        result |= found
    engine.close()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
