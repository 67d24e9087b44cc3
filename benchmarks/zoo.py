"""Any model: every file, template and vocabulary of the zoo through what longthread does with it.

Each file, template set and vocabulary runs in a child process (zoo_child.py), so that an abort is counted and not
suffered. The last line is JSON. `make zoo` fetches templates and vocabularies; the tiny files are made by the zoo's
generator and lie in the same folder, under `tiny` (set ZOO to the folder).

- `templates`: those that plain jinja renders, in the environment of transformers; `templates_same`: rendered alike in
  all conversations that the reference renders, but for a default system prompt that we leave out beside ours;
  `templates_error`: those that differ or raise.
- `files`, `aborts` (the process ended by a signal), `tracebacks` (an exception that is not ours for the user).
- `forged_tokens`: control tokens that came out of content, over all vocabularies.
- `thinking_leaks`: places where a thought of a speaking model stands that is not for thoughts; null where this version
  does not separate thoughts.
- `reused_share`: of the prompt of a conversation's second turn, the part that was not decoded again.
- `answers_equal`: files whose answers, one by one and in a batch after other work, are those of a fresh engine.
  `answers_tied` of them part only where two tokens are within 0.1 nats, which another batch shape decides.
- `can_compose`, `cannot_compose`: files whose kept cells can be put together, with the divergence from reading in nats
  (of a text that was moved, and of two passages that have not seen one another), and the others with the reason;
  `compose_wrong`: those that say they can and fail.
- `peer`: tokens decoded and seconds against `llama_cpp.Llama` on hybrid models: 16 suffixes on one prefix, and 16
  prompts over 4 documents.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
CHILD = Path(__file__).parent / "zoo_child.py"
LIMIT_S = 900
RECURRENT = ("qwen35", "lfm2", "mamba")
SPEAKING = ("thinks-qwen3", "thinks-qwen35", "thinks-control", "thinks-long", "speaks-harmony")
PARTS = ("templates", "vocabularies", "files", "compose", "thinking", "turns", "peer")


@dataclass(frozen=True)
class Outcome:
    """How a child ended. `result` is its last line, empty where it did not come so far; `step` what it did last."""

    what: str
    code: int
    result: dict[str, Any] = field(default_factory=dict)
    step: str = ""
    error: str = ""

    @property
    def is_abort(self) -> bool:
        return self.code < 0 or self.code >= 128

    @property
    def n_tracebacks(self) -> int:
        return len(self.result.get("tracebacks", ())) + ("Traceback (most recent call last)" in self.error)


def child(part: str, path: Path) -> Outcome:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, str(CHILD), part, str(path)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LIMIT_S, cwd=ROOT, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        return Outcome(path.stem, 1, error=f"Traceback (most recent call last): none, it ran past {LIMIT_S} s")
    lines = done.stdout.splitlines()
    steps = [line for line in lines if line.startswith("step ")]
    is_whole = done.returncode == 0 and bool(lines) and lines[-1].startswith("{")
    result = json.loads(lines[-1]) if is_whole else {}
    outcome = Outcome(path.stem, done.returncode, result, steps[-1][5:] if steps else "", done.stderr[-2000:])
    if not is_whole:
        say(f"  {path.stem}: code {done.returncode} at '{outcome.step}': {done.stderr.strip()[-300:]}")
    return outcome


def say(line: str) -> None:
    print(line, flush=True)


def each(part: str, paths: Sequence[Path]) -> list[Outcome]:
    outcomes = []
    for path in paths:
        outcomes.append(child(part, path))
        result = {key: value for key, value in outcomes[-1].result.items() if key != "messages"}
        say(f"{part} {path.stem}: {json.dumps(result)[:400]}")
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    home = os.environ.get("ZOO", Path.home() / ".cache" / "longthread-zoo")
    parser.add_argument("--zoo", type=Path, default=Path(home), help="the zoo's folder")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to run")
    parser.add_argument("--only", default="", help="files whose name has this in it")
    options = parser.parse_args()
    zoo, parts = options.zoo.resolve(), options.parts
    os.environ["ZOO"] = str(zoo)
    tiny = [path for path in sorted((zoo / "tiny").glob("*.gguf")) if options.only in path.stem]
    named = {path.stem: path for path in tiny}
    vocabularies = [path for path in sorted((zoo / "models").glob("ggml-vocab-*.gguf")) if options.only in path.stem]
    if not tiny:
        raise SystemExit(f"there are no files in {zoo / 'tiny'}: set ZOO to the zoo's folder")

    found = {
        "templates": [child("templates", zoo / "models" / "templates")] if "templates" in parts else [],
        "vocabularies": each("vocabulary", [*vocabularies, *tiny]) if "vocabularies" in parts else [],
        "files": each("file", tiny) if "files" in parts else [],
        "compose": each("compose", tiny) if "compose" in parts else [],
        "thinking": each("thinking", [named[n] for n in SPEAKING if n in named]) if "thinking" in parts else [],
        "turns": each("turns", [named[n] for n in RECURRENT if n in named]) if "turns" in parts else [],
        "peer": each("peer", [named[n] for n in RECURRENT[:2] if n in named]) if "peer" in parts else [],
    }
    say(json.dumps(report(found)))


def report(found: dict[str, list[Outcome]]) -> dict[str, Any]:
    every = [outcome for outcomes in found.values() for outcome in outcomes]
    files = found["files"]
    compared = [outcome for outcome in files if "is_equal" in outcome.result]
    leaks = [outcome.result.get("leaks") for outcome in found["thinking"]]
    templates = found["templates"][0].result if found["templates"] else {}
    return {
        "templates": templates.get("rendered"),
        "templates_same": templates.get("same"),
        "templates_error": templates.get("error"),
        "templates_without_default_prompt": templates.get("without_default"),
        "files": len(files),
        "refused": {outcome.what: outcome.result["refused"] for outcome in files if outcome.result.get("refused")},
        "aborts": sum(outcome.is_abort for outcome in every),
        "aborted": {outcome.what: outcome.step for outcome in every if outcome.is_abort},
        "tracebacks": sum(outcome.n_tracebacks for outcome in every),
        "traced": {o.what: o.result.get("tracebacks") or o.error[-300:] for o in every if o.n_tracebacks},
        "vocabularies": len(found["vocabularies"]),
        "forged_tokens": _sum(found["vocabularies"], "forged"),
        "texts_changed": _sum(found["vocabularies"], "changed"),
        "thinking_leaks": sum(len(one or ()) for one in leaks) if leaks and None not in leaks else None,
        "leaks": {
            outcome.what: outcome.result["leaks"] for outcome in found["thinking"] if outcome.result.get("leaks")
        },
        "thinking_files": {outcome.what: outcome.result.get("thought_tokens") for outcome in found["thinking"]},
        "reused_share": {outcome.what: outcome.result.get("reused_share") for outcome in found["turns"]},
        "answers_equal": sum(outcome.result["is_equal"] for outcome in compared),
        "answers_compared": len(compared),
        "answers_tied": [outcome.what for outcome in compared if outcome.result["n_tied"]],
        "answers_differ": [outcome.what for outcome in compared if not outcome.result["is_equal"]],
        "can_compose": {
            outcome.what: [outcome.result["kl"], outcome.result.get("kl_composed")]
            for outcome in found["compose"]
            if outcome.result.get("why_not") == ""
        },
        "cannot_compose": {o.what: o.result["why_not"] for o in found["compose"] if o.result.get("why_not")},
        "compose_wrong": {o.what: o.result["wrong"] for o in found["compose"] if o.result.get("wrong")},
        "peer": {outcome.what: outcome.result for outcome in found["peer"]},
        "load": os.getloadavg()[0],
    }


def _sum(outcomes: Sequence[Outcome], key: str) -> int | None:
    return sum(outcome.result.get(key, 0) for outcome in outcomes) if outcomes else None


if __name__ == "__main__":
    main()
