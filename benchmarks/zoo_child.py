"""What zoo.py does with one file, template folder or vocabulary. `step` lines say how far it came; the last is JSON."""

from __future__ import annotations

import json
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from pipeline.errors import LongthreadError, ModelError
from pipeline.models.cells import common
from pipeline.models.engine import Engine, open_engine
from pipeline.models.scoring import distribution
from pipeline.models.settings import EngineSettings
from pipeline.types import Message, Prompt, Sampling, Text

TIE = 0.1
"""Nats between two next tokens below which another batch shape may choose the other one."""
TEXT = (
    "The garden has seven hives, and the keeper counts them every morning before the bees are awake. A wall of red "
    "brick stands around it, with a gate of oak on the side of the river. In winter the hives are wrapped in straw. "
)
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


def say(line: str) -> None:
    print(line, flush=True)


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

    from pipeline.models.gguf import inspect
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

    def engine(**settings: Any) -> Engine:
        given = {"model": str(path), "n_ctx": 512, "n_seq_max": 4, "n_cached": 4, "threads": 1, **settings}
        return open_engine(EngineSettings(**given), path)

    def settled(**settings: Any) -> None:
        with engine(**settings) as other:
            other.generate([prompt], Sampling(max_tokens=4))[0].result()

    reader: Engine | None = steps("open", engine)
    if reader is None:
        return {"refused": steps.messages.get("open", ""), "tracebacks": list(steps.tracebacks.values())}
    rendered = [steps(f"render {n}", lambda m=m: reader.render(m)) for n, m in enumerate(([SYSTEM, USER], [USER]))]
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
    for name, settings in {
        "q8_0": {"kv_k": "q8_0", "kv_v": "q8_0"},
        "q4_0 without flash attention": {"kv_k": "q4_0", "flash_attention": "off"},
        "flash attention on": {"flash_attention": "on"},
        "ntk": {"rope_scaling": "ntk", "rope_factor": 2.0},
        "yarn": {"n_ctx": 1024, "rope_scaling": "yarn", "rope_factor": 2.0},
        "linear": {"rope_scaling": "linear", "rope_factor": 2.0},
        "beyond": {"n_ctx": 4096, "n_cells": 4096},
        "draft": {"draft": "lookup"},
        "small batch": {"n_batch": 32, "n_ubatch": 32, "n_seq_max": 2},
        "auto": {"n_ctx": "auto"},
    }.items():
        steps(name, lambda settings=settings: settled(**settings))
    equal = steps("equal", lambda: equality(engine))
    return {
        "messages": steps.messages,
        "tracebacks": [f"{name}: {text}" for name, text in steps.tracebacks.items()],
        **(equal or {}),
    }


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


# ------------------------------------------------------------------------------------------------- conversations
PLACES = ("garden", "orchard", "meadow", "park", "wood", "yard")
GARDEN = "# The gardens\n\n" + "\n\n".join(TEXT.replace("garden", place) for place in PLACES) + "\n"
"""About 500 tokens, which all passages together show."""
QUESTIONS = ("How many hives has the garden?", "And who counts them in the morning?", "What is the wall made of?")


def turns(path: Path) -> dict[str, Any]:
    """Two turns of a conversation on the same passages, as `longthread chat` has them."""
    with tempfile.TemporaryDirectory() as name, _talk(Path(name), path, "auto", 256) as conversation:
        generations = [conversation.ask(text).ledger.generation for text in QUESTIONS[:2]]
    first, second = generations
    return {
        "prompt_tokens": [first.prompt_tokens, second.prompt_tokens],
        "reused_tokens": [first.reused_tokens, second.reused_tokens],
        "reused_share": round(second.reused_tokens / second.prompt_tokens, 3),
    }


def _talk(folder: Path, model: Path, thinking: str, tier_tokens: int) -> Any:
    """A conversation on the garden; small tiers make the model summarise each turn."""
    from contextlib import ExitStack, contextmanager

    from pipeline.build import Pipeline
    from pipeline.config import IndexSettings, PipelineConfig
    from pipeline.conversation import Conversation
    from pipeline.docs_index import chunker
    from pipeline.documents.discover import discover
    from pipeline.registry import Spec
    from pipeline.retrieval.index import open_index
    from tests.compressors.workbench import WordCounts

    settings: tuple[tuple[str, Any], ...] = (
        ("model", str(model)),
        ("n_ctx", 2000),
        ("threads", 1),
        ("max_tokens", 24),
        ("use_tuned", False),
    )
    if _separates_thoughts():
        settings += (("thinking", thinking), ("thinking_tokens", 40))
    memory = (
        ("sensory_tokens", 3 * tier_tokens),
        ("segment_tokens", tier_tokens),
        ("summary_tokens", 2 * tier_tokens),
        ("recall_tokens", 60),
    )
    stages = (
        Spec("retrieve.bm25", (("k", 8),)),
        Spec("memory.hierarchical", memory),
        Spec("assemble.cited", (("layout", "brief"),)),
        Spec("generate.llama", settings),
    )

    @contextmanager
    def opened() -> Any:
        (folder / "garden.md").write_text(GARDEN)
        with ExitStack() as stack:
            config = PipelineConfig("zoo.yaml", stages, IndexSettings(embedder="none"))
            with open_index(folder / "index", WordCounts(), chunker(config.index), "write") as index:
                index.update(discover([str(folder / "garden.md")]), lambda *_: None)
            pipeline = stack.enter_context(Pipeline(config, folder / "index"))
            pipeline.__dict__["embedder"] = WordCounts()
            yield stack.enter_context(Conversation(pipeline, folder / "session"))

    return opened()


def _separates_thoughts() -> bool:
    from pipeline.types import Generation

    return "thoughts" in Generation.__dataclass_fields__


# ------------------------------------------------------------------------------------------------------------ thoughts
THOUGHTS = {"thinks-control": "do not know"}
"""What a file's thoughts hold, and no document, question or answer; "Hm" of the others."""
MARKS = ("<think>", "</think>", "[THINK]", "[/THINK]", "<|channel|>", "<|message|>")


def thinking(path: Path) -> dict[str, Any]:
    """Where the thoughts of a speaking model turn up: answers, citations, memory, follow-ups, summaries, metrics.

    `leaks` is null where this version does not separate thoughts.
    """
    if not _separates_thoughts():
        return {"leaks": None}
    found = (THOUGHTS.get(path.stem, "Hm"), *MARKS)
    leaks: list[str] = []

    def check(where: str, value: object) -> None:
        text = value if isinstance(value, str) else repr(value)
        at = [(mark, text.find(mark)) for mark in found if mark in text]
        leaks.extend(f"{where}: {mark!r} in {text[max(0, n - 60) : n + 40]!r}" for mark, n in at)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        n_thought = _talk_leaks(folder / "talk", path, check)
        _eval_leaks(folder, path, check)
    return {"leaks": leaks, "thought_tokens": n_thought}


def _talk_leaks(folder: Path, path: Path, check: Callable[[str, object], None]) -> int:
    """Three turns, thinking, with a memory that summarises, a follow-up's rewriting, and summaries of passages."""
    from compressors.crag import Crag
    from pipeline.followup import rewrite
    from pipeline.types import Passage, Question

    folder.mkdir()
    n_thought = 0
    with _talk(folder, path, "on", 10) as conversation:
        for text in QUESTIONS:
            say(f"step ask {text}")
            state = conversation.ask(text)
            conversation.settle()
            n_thought += state.ledger.generation.thought_tokens
            check("answer", state.ledger.generation.text)
            check("shown answer", state.answer.text)
            check("citations", state.answer.citations)
            check("notes", [stage.notes for stage in state.ledger.stages])
            for span in state.prompt:
                if isinstance(span, Text) and not span.special:
                    check(f"prompt, {span.part}", span.text)
        reader = conversation.pipeline.reader
        earlier = [(turn.question, turn.answer) for turn in conversation.turns]
        check("turns", earlier)
        check("follow-up", rewrite("And how high is it?", earlier, reader))
        check("memory", [item.text for item in conversation.memory.items()])
        texts = [f"The garden of house {n} has {n} hives. Bees live there." for n in range(4)]
        passages = [Passage(f"{n}.md", 0, len(text), text) for n, text in enumerate(texts)]
        summaries = Crag(k=2, max_tokens=24).compress(Question(QUESTIONS[0]), passages, conversation.pipeline)
        check("summaries", [passage.text for passage in summaries])
    for kept in (folder / "session").rglob("*"):
        if kept.is_file():
            check(f"memory file {kept.name}", kept.read_bytes().decode("utf-8", "replace"))
    return n_thought


def _eval_leaks(folder: Path, path: Path, check: Callable[[str, object], None]) -> None:
    """Metrics with thoughts are those without, and no record of an evaluation holds one where it is none."""
    import subprocess

    item = {"question": QUESTIONS[0], "answers": ["The answer is 7"], "documents": [{"text": GARDEN, "title": "G"}]}
    (folder / "data.jsonl").write_text(json.dumps(item) + "\n")
    for thinks in ("on", "off"):
        (folder / f"{thinks}.yaml").write_text(
            "index: {embedder: none}\nstages:\n  - retrieve.bm25: {k: 2}\n  - assemble.cited: {layout: brief}\n"
            f"  - generate.llama: {{model: {path}, n_ctx: 1500, threads: 1, max_tokens: 24, thinking: {thinks}, "
            "thinking_tokens: 40, use_tuned: false}\n"
        )
    say("step eval")
    arms = [str(folder / "on.yaml"), str(folder / "off.yaml")]
    data = ["--data", str(folder / "data.jsonl"), "--kind", "jsonl", "--output", str(folder / "out"), "--json", "-q"]
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "eval", *arms, *data], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"eval: code {done.returncode}: {done.stderr[-300:]}")
    check("eval", done.stdout)
    scores = [run["metrics"]["f1"]["mean"] for run in json.loads(done.stdout)["runs"]]
    if scores[0] != scores[1]:
        check("metrics", f"{MARKS[0]} f1 {scores}")
    for file in (folder / "out").rglob("*.jsonl"):
        for line in file.read_text().splitlines():
            record = _without_thoughts(json.loads(line))
            check("record", json.dumps(record))


def _without_thoughts(value: Any) -> Any:
    """A record without the fields that are for thoughts, and without settings."""
    if isinstance(value, dict):
        return {key: _without_thoughts(one) for key, one in value.items() if key not in ("thoughts", "config")}
    return [_without_thoughts(one) for one in value] if isinstance(value, list) else value


# ---------------------------------------------------------------------------------------------------------------- peer
def peer(path: Path) -> dict[str, Any]:
    """Tokens decoded and seconds against `llama_cpp.Llama`: 16 suffixes on one prefix, 16 prompts over 4 documents.

    The prompts of a document follow one another; `interleaved` they do not.
    """
    documents = [LONG.replace("seven", f"{n}") for n in (3, 5, 7, 9)]
    suffixes = [f"\nSentence {n}: the bees are awake. Useful?" for n in range(16)]
    prompts = [(documents[n // 4], f"\nQuestion {n}: how many hives?") for n in range(16)]
    mixed = [prompts[n % 4 * 4 + n // 4] for n in range(16)]
    with open_engine(EngineSettings(model=str(path), n_ctx=2048, n_cells=8192, threads=1), path) as engine:
        start, n = perf_counter(), engine.n_decoded
        engine.score((Text(documents[0]),), suffixes, [" Yes", " No"])
        ours_fan = (engine.n_decoded - n, perf_counter() - start)
        ours_batch, ours_mixed = _ours(engine, prompts), _ours(engine, mixed)
    theirs_fan = _llama(path, [documents[0] + suffix for suffix in suffixes], 1)
    theirs_batch, theirs_mixed = (_llama(path, ["".join(one) for one in each], 8) for each in (prompts, mixed))
    return {
        name: {
            "ours_tokens": ours[0],
            "llama_tokens": theirs[0],
            "times_fewer": round(theirs[0] / ours[0], 2),
            "ours_s": round(ours[1], 3),
            "llama_s": round(theirs[1], 3),
        }
        for name, ours, theirs in (
            ("16_suffixes", ours_fan, theirs_fan),
            ("16_prompts_over_4_documents", ours_batch, theirs_batch),
            ("interleaved", ours_mixed, theirs_mixed),
        )
    }


def _ours(engine: Engine, prompts: Sequence[tuple[str, str]]) -> tuple[int, float]:
    engine.pool.forget()
    start, n = perf_counter(), engine.n_decoded
    parted = [(Text(document, "passages"), Text(question, "question")) for document, question in prompts]
    for stream in engine.generate(parted, Sampling(max_tokens=8)):
        stream.result()
    return engine.n_decoded - n, perf_counter() - start


def _llama(path: Path, prompts: Sequence[str], n_answer: int) -> tuple[int, float]:
    from llama_cpp import Llama

    llama = Llama(str(path), n_ctx=2048, n_batch=512, n_threads=1, n_threads_batch=1, verbose=False)
    n_decoded, evaluate = 0, llama.eval

    def counted(tokens: Sequence[int]) -> None:
        nonlocal n_decoded
        n_decoded += len(tokens)
        evaluate(tokens)

    llama.eval = counted
    start = perf_counter()
    for prompt in prompts:
        tokens = llama.tokenize(prompt.encode(), add_bos=False)
        for n, _ in enumerate(llama.generate(tokens, temp=0.0), start=1):
            if n == n_answer:
                break
    seconds = perf_counter() - start
    llama.close()
    return n_decoded, seconds


if __name__ == "__main__":
    ACTIONS = {
        "templates": templates,
        "vocabulary": vocabulary,
        "file": file,
        "thinking": thinking,
        "turns": turns,
        "peer": peer,
    }
    say(json.dumps(ACTIONS[sys.argv[1]](Path(sys.argv[2]))))
