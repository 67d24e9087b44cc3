"""Makes the pages behind docs/evaluation.md and docs/needles.md anew: python docs/pages.py --model GGUF --data FOLDER.

It runs `longthread eval` and `longthread needle run` with the settings of the two pages, and leaves a folder for each,
with `report.html`, its pictures and every record. All of it takes hours on two cores; an interrupted run resumes.
`--only` names the folders to make, `--sample` asks fewer questions.

FOLDER holds xquad/xquad.en.json and hotpotqa/literaptor_100.json.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SMALL = "smollm2-135m"
EVALUATIONS = {
    "xquad": ("xquad/xquad.en.json", "squad", 200),
    "hotpotqa": ("hotpotqa/literaptor_100.json", "hotpotqa", 100),
}
"""The data, its kind and the number of questions."""
DIRECTIONS = "--direction forward --direction backward --direction random"
HOPS = f"--method hops --task thread --pairs 13100 --length 5,10 {DIRECTIONS}"
NEEDLES = {
    "qwen-full-single": "--method full --task single --pairs 14,29,59 -n 22",
    "qwen-full-threads": "--method full --task thread --pairs 14 --length 2,5 -n 20",
    "qwen-hops-1M": f"{HOPS} -n 20 --seed 7",
    "smollm2-full-single": "--method full --task single --task thread --pairs 14,28,57,113 --length 2,3,4,5 -n 20",
    "smollm2-full-threads": "--method full --task thread --pairs 14 --length 2,3,4,5 -n 20",
    "smollm2-hops-1M": f"{HOPS} -n 20 --seed 7",
}
"""The options of each run; the first word of a name is the model."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Makes the pages of docs/evaluation.md and docs/needles.md.")
    parser.add_argument("--model", required=True, help="the GGUF file of Qwen2.5-Coder-0.5B-Instruct")
    parser.add_argument("--data", type=Path, required=True, help="the folder of the data sets")
    parser.add_argument("--output", type=Path, default=Path("pages"), help="the folder of the pages")
    parser.add_argument("--only", nargs="+", choices=[*EVALUATIONS, *NEEDLES], help="the pages to make")
    parser.add_argument("--sample", type=int, help="the number of questions of an evaluation")
    arguments = parser.parse_args()
    for name in arguments.only or [*EVALUATIONS, *NEEDLES]:
        command = [sys.executable, "-m", "cli.main", *words(name, arguments), "--output", str(arguments.output / name)]
        print(" ".join(command), flush=True)
        done = subprocess.run(command, check=False)
        if done.returncode:
            return done.returncode
    return 0


def words(name: str, arguments: argparse.Namespace) -> list[str]:
    """The command's words after `longthread` that make a page, without its output."""
    if name in NEEDLES:
        model = SMALL if name.startswith("smollm2") else arguments.model
        return ["needle", "run", *NEEDLES[name].split(), "--model", model]
    data, kind, n = EVALUATIONS[name]
    pipelines = [
        str(ROOT / f"configs/eval/{name}/{method}.yaml") for method in ("uncompressed", "cosine", "probe", "exit")
    ]
    return [
        "eval", *pipelines, "--model", arguments.model, "--data", str(arguments.data / data), "--kind", kind,
        "--sample", str(arguments.sample or n), "--seed", "0",
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
