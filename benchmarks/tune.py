"""How much faster a model reads and writes here once it is tuned, and how far that moves its predictions.

    python benchmarks/tune.py
    python benchmarks/tune.py --model /path/to/model.gguf --rounds 5

Every file takes its turn in every round; medians are reported. `load` says what else the machine was doing. The last
line is JSON; `tuned_prefill_speedup` is the chosen file's over the given one's.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from pipeline.gguf.catalogue import resolve
from pipeline.gguf.tune import Candidate, TuneReport, tune


def summary(report: TuneReport) -> dict[str, object]:
    by_name = {one.quantisation: one for one in report.candidates}
    given = next(one for one in report.candidates if one.is_given)
    score, read = by_name[report.best["score"]], by_name[report.best["read"]]
    return {
        "tuned_prefill_speedup": round(score.prefill / given.prefill, 2),
        "tuned_read_speedup": round(given.seconds("read") / read.seconds("read"), 2),
        "best": report.best,
        "divergence": score.divergence,
        "agreement": score.agreement,
        "files": {name: _figures(one) for name, one in by_name.items()},
        "n_rounds": report.n_rounds,
        "n_prefill": report.n_prefill,
        "n_decode": report.n_decode,
        "n_compared": report.n_compared,
        "seconds": report.seconds,
        "machine": report.machine,
        "llama": report.llama,
    }


def _figures(one: Candidate) -> dict[str, object]:
    return {
        "prefill": one.prefill,
        "decode": one.decode,
        "megabytes": round(one.size / 1e6),
        "divergence": one.divergence,
        "agreement": one.agreement,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    path = resolve(arguments.model)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as cache:
        os.environ["LONGTHREAD_CACHE"] = cache
        report = tune(path, lambda what, done, total: None, arguments.rounds)
    for note in report.notes:
        print(note)
    print(json.dumps({"model": path.name, "load": [round(load, 2), round(os.getloadavg()[0], 2)], **summary(report)}))


if __name__ == "__main__":
    main()
