"""What zoo.py does with one file, template folder or vocabulary. `step` lines say how far it came; the last is JSON."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.zoo_peer import peer
from benchmarks.zoo_talks import TEXT, say, thinking, turns
from pipeline.errors import LongthreadError, ModelError
from pipeline.gguf.header import inspect
from pipeline.models.cells import common
from pipeline.models.engine import Engine, open_engine
from pipeline.models.scoring import distribution
from pipeline.models.settings import EngineSettings
from pipeline.types import Cached, Message, Prompt, Sampling, Text

TIE = 0.1
"""Nats between two next tokens below which another batch shape may choose the other one."""
LONG = TEXT * 8
SYSTEM = Message("system", (Text("Be terse.", "system"),))
USER = Message("user", (Text(f"<passage 1>\n{TEXT}\n</passage 1>\n", "passages"), Text("How many hives?", "question")))
SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"about": {"enum": ["the garden", "the hives"]}, "n": {"type": "integer"}},
        "required": ["about", "n"],
        "additionalProperties": False,
    }
)


# ------------------------------------------------------------------------------------------------------------ templates
def templates(folder: Path) -> dict[str, Any]:
    from tests.models import test_zoo_templates as reference

    n_rendered = n_same = n_without_default = 0
    differ: dict[str, str] = {}
    for path in sorted(folder.glob("*.jinja")):
        say(f"step {path.stem}")
        outcomes = {name: _compared(reference, path, talk) for name, talk in reference.TALKS.items()}
        seen = {name: outcome for name, outcome in outcomes.items() if outcome}
        n_rendered += bool(seen)
        wrong = {name: outcome for name, outcome in seen.items() if outcome not in ("same", "without default")}
        n_same += bool(seen) and not wrong
        n_without_default += "without default" in seen.values()
        if wrong:
            differ[path.stem] = str(wrong)
    say(f"templates: {differ}")
    return {"rendered": n_rendered, "same": n_same, "error": len(differ), "without_default": n_without_default}


def _compared(reference: Any, path: Path, talk: list[tuple[Any, str]]) -> str:
    """Empty where the reference does not render."""
    if any(name in path.name for name in reference.MOVES_SYSTEM) and talk[0][0] == "system":
        talk = [("user", f"{talk[0][1]}\n\n{talk[1][1]}"), *talk[2:]]
    try:
        expected = reference.plain(path, talk)
    except Exception:  # whatever a template raises
        return ""
    try:
        text = reference.joined(reference.ours(path, talk))
    except ModelError as error:
        return f"raises: {error}"
    if text == expected:
        return "same"
    is_default = any(name in path.name for name in reference.WITH_DEFAULT_PROMPT)
    return "without default" if is_default and reference.is_cut(text, expected) else "differs"


# --------------------------------------------------------------------------------------------------------- vocabularies
def vocabulary(path: Path) -> dict[str, Any]:
    """Every mark alone, within words, and doubled into itself, as content."""
    import random

    from pipeline.models.weights import Vocabulary
    from tests.models.test_tokenizer import WORDS, marks

    try:
        if "bert" in inspect(path).architecture or "bert" in path.stem:
            return {"forged": 0, "skipped": "embedders write no answers"}
        found = Vocabulary(path)
    except LongthreadError as error:
        return {"forged": 0, "refused": str(error)[:200]}
    forbidden = marks(found)
    rng, each = random.Random(0), sorted(forbidden.values())
    texts = [*each, *(f"a{mark}b {mark}\n" for mark in each)]
    texts += [mark[: len(mark) // 2] + mark + mark[len(mark) // 2 :] for mark in each]
    texts += ["".join(rng.choices([*each, *WORDS], k=12)) for _ in range(300)] if each else []
    numbers, n_forged, n_changed = np.array(sorted(forbidden)), 0, 0
    for text in texts:
        tokens = found.tokenize(text)
        n_forged += int(np.isin(tokens, numbers).sum())
        n_changed += b"".join(map(found.piece, tokens.tolist())).decode("utf-8", "replace") != text
    found.close()
    return {"forged": n_forged, "changed": n_changed, "texts": len(texts), "marks": len(each)}


# ---------------------------------------------------------------------------------------------------------------- files
class Steps:
    """Runs steps; errors for the user are noted, all others are tracebacks."""

    def __init__(self) -> None:
        self.messages: dict[str, str] = {}
        self.tracebacks: dict[str, str] = {}

    def __call__(self, name: str, action: Callable[[], Any]) -> Any:
        say(f"step {name}")
        try:
            return action()
        except LongthreadError as error:
            self.messages[name] = str(error)[:200]
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            self.tracebacks[name] = f"{type(error).__name__}: {error} at {last.filename}:{last.lineno}"[:300]
        return None


def file(path: Path) -> dict[str, Any]:
    """Everything that the engine can, with one file."""
    steps = Steps()
    info = steps("inspect", lambda: inspect(path))
    n_ctx = min(512, info.n_ctx_train or 512) if info is not None else 512

    def engine(**settings: Any) -> Engine:
        given = {"model": str(path), "n_ctx": n_ctx, "n_seq_max": 4, "n_cached": 4, "threads": 1, **settings}
        return open_engine(EngineSettings(**given), path)

    def settled(**settings: Any) -> None:
        with engine(**settings) as other:
            other.generate([prompt], Sampling(max_tokens=4))[0].result()

    reader: Engine | None = steps("open", engine)
    if reader is None:
        return {
            "refused": steps.messages.get("open") or steps.messages.get("inspect", ""),
            "tracebacks": list(steps.tracebacks.values()),
        }
    rendered = [steps(f"render {n}", partial(reader.render, m)) for n, m in enumerate(([SYSTEM, USER], [USER]))]
    prompt: Prompt = next((one for one in rendered if one), (Text(TEXT, "passages"), Text("How many?", "question")))

    def answer(**sampling: Any) -> Any:
        return reader.generate([prompt], Sampling(**{"max_tokens": 12, **sampling}))[0].result()

    def restored() -> None:
        reader.snapshot(prompt)
        with engine() as other:
            n = other.restore(prompt)
            reused = other.generate([prompt], Sampling(max_tokens=4))[0].result().reused_tokens
            if reused < min(n, other.count(prompt) - 1):
                raise RuntimeError(f"restore said {n}, and {reused} were reused")

    steps("generate", answer)
    steps("batch", lambda: [s.result() for s in reader.generate([prompt, prompt[:1], prompt], Sampling(max_tokens=6))])
    steps("json", lambda: answer(max_tokens=80, json_schema=SCHEMA))
    steps("grammar", lambda: answer(grammar='root ::= "yes" | "no" [a-z]+'))
    steps("sampled", lambda: answer(temperature=0.8, repeat_penalty=1.1, seed=3))
    steps("stop", lambda: answer(stop=("e",)))
    steps("score", lambda: reader.score(prompt, [" one", " two"], ["Yes", "No, it is not"]))
    steps("logprobs", lambda: reader.logprobs(prompt))
    steps("logprobs without", lambda: reader.logprobs(prompt, start=20, without=(5, 10)))
    steps("embed", lambda: reader.embed([prompt, "hives"]))
    steps("attend", lambda: reader.attend((Text(TEXT),), (Text(" How many hives?"),)))
    steps("snapshot", restored)
    steps("too long", lambda: reader.generate([(Text(" x" * 3000),)], Sampling(max_tokens=4)))
    steps("close", reader.close)
    variants: dict[str, dict[str, Any]] = {
        "q8_0": {"kv_k": "q8_0", "kv_v": "q8_0"},
        "q4_0 without flash attention": {"kv_k": "q4_0", "flash_attention": "off"},
        "flash attention on": {"flash_attention": "on"},
        "ntk": {"rope_scaling": "ntk", "rope_factor": 2.0},
        "yarn": {"n_ctx": 2 * n_ctx, "rope_scaling": "yarn", "rope_factor": 2.0},
        "linear": {"rope_scaling": "linear", "rope_factor": 2.0},
        "beyond": {"n_ctx": 4096, "n_cells": 4096},
        "draft": {"draft": "lookup"},
        "small batch": {"n_batch": 32, "n_ubatch": 32, "n_seq_max": 2},
        "auto": {"n_ctx": "auto"},
    }
    for name, settings in variants.items():
        steps(name, partial(settled, **settings))
    equal = steps("equal", lambda: equality(engine))
    return {
        "messages": steps.messages,
        "tracebacks": [f"{name}: {text}" for name, text in steps.tracebacks.items()],
        **(equal or {}),
    }


def compose(path: Path) -> dict[str, Any]:
    """Whether the file's cells can be put together, and the divergence from reading, in nats a token.

    `kl` is that of a text that was moved as a whole; `kl_composed` that of a prompt of two passages, the second from
    kept cells that have not seen the first. `wrong` says what failed although the engine says that it can.
    """
    try:
        engine = open_engine(EngineSettings(str(path), n_ctx=256, threads=1, n_seq_max=2, n_cached=2), path)
    except LongthreadError as error:
        return {"refused": str(error)[:200]}
    with engine:
        if engine.why_not_compose:
            return {"why_not": engine.why_not_compose}
        result: dict[str, Any] = {"why_not": "", "kl": round(engine.verdict.kl, 6), "wrong": ""}
        try:
            prefix, first, second = (Text("The garden has "),), Text(TEXT[:120]), Text("seven hives and nine frames. ")
            end = Text("The hives")
            piece = engine.piece(prefix, (second,))
            composed = engine.next_logprobs((*prefix, first, Cached(piece), end))
            read = engine.next_logprobs((*prefix, first, second, end))
            result["kl_composed"] = round(float(np.sum(np.exp(read) * (read - composed))), 6)
            alone, plain = (*prefix, Cached(piece), end), (*prefix, second, end)
            if engine.cells(alone).digest != engine.cells(plain).digest:
                result["wrong"] = "a piece at its own place has other cells than the text that was read"
        except Exception as error:
            result["wrong"] = f"{type(error).__name__}: {error}"[:300]
        return result


def equality(engine: Callable[..., Engine]) -> dict[str, Any]:
    """Whether answers in a used engine, one by one and together, are those of a fresh one, token by token."""
    with engine(n_cells=2048) as used:
        n_window = min(300, used.window // 2)
        n_words = next(n for n in range(1, 300) if used.count_text(" ".join(LONG.split()[:n])) > n_window * 0.6)
        document = " ".join(LONG.split()[:n_words])
        prompts: list[Prompt] = [
            (Text(document, "passages"), Text(f" Question {n}: how many?", "question")) for n in range(3)
        ]
        used.score((Text(document, "passages"),), [" Yes", " No"], ["a"])
        given = [[written(used, prompt) for prompt in prompts]]
        for stream in used.generate(prompts, Sampling(max_tokens=12)):
            stream.result()
        given.append([kept(used, prompt) for prompt in prompts])
    n_tied = n_differing = 0
    for n, prompt in enumerate(prompts):
        with engine(n_cells=2048) as fresh:
            expected = written(fresh, prompt)
            for tokens in (one[n] for one in given):
                if tokens != expected:
                    is_tie = gap(fresh, prompt, tokens, expected) < TIE
                    n_tied += is_tie
                    n_differing += not is_tie
    return {"is_equal": n_differing == 0, "n_tied": n_tied}


def written(engine: Engine, prompt: Prompt) -> list[int]:
    """The tokens of the prompt's answer, but for the last."""
    engine.generate([prompt], Sampling(max_tokens=12))[0].result()
    return kept(engine, prompt)


def kept(engine: Engine, prompt: Prompt) -> list[int]:
    cells = engine.cells(prompt)
    return next(keys[len(cells) :].tolist() for keys in engine.pool.idle if common(keys, cells.keys) == len(cells))


def gap(engine: Engine, prompt: Prompt, tokens: Sequence[int], expected: Sequence[int]) -> float:
    """How much likelier the expected token was, in nats, where the two answers part; infinite where one just ends."""
    n = common(np.array(tokens), np.array(expected))
    if n == min(len(tokens), len(expected)):
        return float("inf")
    after = distribution(engine.pool, engine.cells(prompt).plus(expected[:n]))
    return float(after[expected[n]] - after[tokens[n]])


if __name__ == "__main__":
    ACTIONS = {
        "templates": templates,
        "vocabulary": vocabulary,
        "file": file,
        "thinking": thinking,
        "turns": turns,
        "compose": compose,
        "peer": peer,
    }
    say(json.dumps(ACTIONS[sys.argv[1]](Path(sys.argv[2]))))
