"""Our compressors beside LLMLingua's, on the same weights, the same questions, at the same kept ratio. Prints JSON.

    .venv/bin/pip install --no-deps --target .peers -r benchmarks/peers.txt
    .venv/bin/python benchmarks/llmlingua.py --n 50

LLMLingua (Jiang et al. 2023, arXiv 2310.05736) and LongLLMLingua (arXiv 2310.06839), PyPI llmlingua 0.2.2, run in a
process of their own on SmolLM2's weights, which transformers reads from the same GGUF file. Each XQuAD question comes
with the best 5 paragraphs of all by cosine. LLMLingua compresses them to `--rate`; ours then keep at most the share of
tokens that it really kept on that question. `answer_recall`: the share of questions whose answer still stands in what
was kept, of those where it stood in the paragraphs. Methods take turns on each question. `speed_vs_llmlingua`: seconds
of LLMLingua over ours. A question that LLMLingua raises an error for is left out for all, and counted: `n_failed`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.compression import ROOT, forget, interval, normal, paragraph_vectors, passages_of, questions_of, sample
from compressors.probe import Probe
from compressors.sentences import Sentences
from pipeline.config import PipelineConfig
from pipeline.gguf.catalogue import resolve
from pipeline.gguf.tune import machine
from pipeline.pipeline import Pipeline
from pipeline.registry import make
from pipeline.types import Passage, Question

PEERS = ("llmlingua", "longllmlingua")


class Peer:
    """The process that runs LLMLingua."""

    def __init__(self, model: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT / ".peers"), "HF_HUB_OFFLINE": "1"}
        worker = Path(__file__).parent / "peers" / "llmlingua_worker.py"
        self.process = subprocess.Popen(
            [sys.executable, str(worker), str(model)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        surprise = self.read()["surprise"]
        if surprise > 6:
            raise SystemExit(f"LLMLingua's model is not whole: {surprise:.1f} nats a token of a plain sentence")

    def read(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("the LLMLingua process ended: see its messages above, and benchmarks/peers.txt")
        return json.loads(line)

    def compress(self, name: str, context: list[str], question: str, rate: float) -> tuple[str, float] | None:
        """What it keeps and the seconds that it took; None where it raised an error."""
        assert self.process.stdin is not None
        request = {"context": context, "question": question, "rate": rate, "is_long": name == "longllmlingua"}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        reply = self.read()
        if "error" in reply:
            print(f"{name}: {reply['error']}: {question}", file=sys.stderr)
            return None
        return reply["text"], reply["seconds"]

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def ours(name: str, keep_ratio: float) -> Any:
    if name == "cosine":
        return Sentences(score="cosine", top_k=None, keep_ratio=keep_ratio)
    if name == "sentences":
        return Sentences(score="both", top_k=None, keep_ratio=keep_ratio)
    return Probe(keep_ratio=keep_ratio)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=50)
    parser.add_argument("--rate", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    options = parser.parse_args()
    everything = questions_of("xquad", options.data)
    chosen = sample(everything, options.n, options.seed)
    config = PipelineConfig(
        "the benchmark", (make("retrieve.dense"), make("assemble.cited"), make("generate.llama", {"n_ctx": 1024}))
    )
    names = ("cosine", "sentences", "probe")
    tallies: dict[str, list[dict[str, float]]] = {f"{name}@{peer}": [] for peer in PEERS for name in (peer, *names)}
    n_failed = dict.fromkeys(PEERS, 0)
    peer = Peer(resolve("smollm2-135m"))
    with Pipeline(config, ROOT / "nowhere") as runtime:
        given = passages_of(chosen, "xquad", everything, runtime)
        warm(runtime, peer, given[0])
        for n, (question, passages) in enumerate(zip(chosen, given, strict=True), 1):
            golds = [normal(gold) for gold in question.answers]
            whole = tokens(" ".join(p.text for p in passages), runtime)
            if not any(gold in normal(" ".join(p.text for p in passages)) for gold in golds):
                continue
            for rival in PEERS:
                compressed = peer.compress(rival, [p.text for p in passages], question.question, options.rate)
                if compressed is None:
                    n_failed[rival] += 1
                    continue
                text, seconds = compressed
                ratio = tokens(text, runtime) / whole
                add(tallies[f"{rival}@{rival}"], text, golds, ratio, seconds)
                for name in names:
                    component = ours(name, min(ratio, 1.0))
                    forget(runtime)
                    start = perf_counter()
                    kept = component.compress(Question(question.question), passages, runtime)
                    seconds = perf_counter() - start
                    text = " ".join(p.text for p in kept)
                    add(tallies[f"{name}@{rival}"], text, golds, tokens(text, runtime) / whole, seconds)
            print(f"{n} of {len(chosen)}: {summary(tallies)}", file=sys.stderr, flush=True)
        probed = next(m.name for m in runtime.resources.models.values())
    peer.close()
    about = {
        "set": "xquad",
        "n": {rival: len(tallies[f"{rival}@{rival}"]) for rival in PEERS},
        "n_failed": n_failed,
        "seed": options.seed,
        "rate": options.rate,
        "peer_file": resolve("smollm2-135m").name,
        "probe_file": probed,
        "machine": machine(),
        "load": os.getloadavg()[0],
    }
    print(json.dumps({"about": about, **{rival: block(tallies, rival, names, options.seed) for rival in PEERS}}))


def warm(runtime: Pipeline, peer: Peer, passages: list[Passage]) -> None:
    """Loads weights, on a paragraph that is then asked about again."""
    paragraph_vectors(passages[:1], runtime)
    for name in ("cosine", "sentences", "probe"):
        ours(name, 0.5).compress(Question("Why?"), passages[:1], runtime)
    for rival in PEERS:
        peer.compress(rival, [p.text for p in passages[:2]], "Why?", 0.5)


def tokens(text: str, runtime: Pipeline) -> int:
    return (
        next(iter(runtime.resources.models.values())).count_text(text)
        if runtime.resources.models
        else runtime.reader.count_text(text)
    )


def add(tally: list[dict[str, float]], text: str, golds: list[str], ratio: float, seconds: float) -> None:
    tally.append({"hit": float(any(gold in normal(text) for gold in golds)), "ratio": ratio, "seconds": seconds})


def mean(tally: list[dict[str, float]], key: str) -> float:
    return sum(entry[key] for entry in tally) / len(tally)


def summary(tallies: dict[str, list[dict[str, float]]]) -> str:
    return ", ".join(
        f"{k} {mean(t, 'hit'):.2f} at {mean(t, 'ratio'):.2f} {mean(t, 'seconds'):.2f} s" for k, t in tallies.items()
    )


def block(
    tallies: dict[str, list[dict[str, float]]], rival: str, names: tuple[str, ...], seed: int
) -> dict[str, dict[str, float]]:
    """The rival's figures and ours at its kept ratio."""
    report = {}
    against = tallies[f"{rival}@{rival}"]
    for name in (rival, *names):
        tally = tallies[f"{name}@{rival}"]
        entry = {
            "answer_recall": mean(tally, "hit"),
            "kept_ratio": mean(tally, "ratio"),
            "seconds": mean(tally, "seconds"),
        }
        if name != rival:
            pairs = zip(tally, against, strict=True)
            diff, low, high = interval([a["hit"] - b["hit"] for a, b in pairs], seed)
            entry |= {"recall_diff": diff, "recall_diff_low": low, "recall_diff_high": high}
            entry["speed_vs_llmlingua"] = mean(against, "seconds") / mean(tally, "seconds")
        report[name] = {key: round(value, 4) for key, value in entry.items()}
    return report


if __name__ == "__main__":
    main()
