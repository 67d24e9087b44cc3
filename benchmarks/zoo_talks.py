"""Whole conversations with one file of the zoo: what the second turn reads again, and where thoughts turn up."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.types import Text

TEXT = (
    "The garden has seven hives, and the keeper counts them every morning before the bees are awake. A wall of red "
    "brick stands around it, with a gate of oak on the side of the river. In winter the hives are wrapped in straw. "
)


def say(line: str) -> None:
    print(line, flush=True)


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

    from pipeline.config import IndexSettings, PipelineConfig
    from pipeline.conversation.conversation import Conversation
    from pipeline.documents.discover import discover
    from pipeline.pipeline import Pipeline, chunker
    from pipeline.registry import make
    from pipeline.retrieval.open_index import open_index
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
        make("retrieve.bm25", {"k": 8}),
        make("memory.hierarchical", dict(memory)),
        make("assemble.cited", {"layout": "brief"}),
        make("generate.llama", dict(settings)),
    )

    @contextmanager
    def opened() -> Any:
        (folder / "garden.md").write_text(GARDEN)
        with ExitStack() as stack:
            config = PipelineConfig("zoo.yaml", stages, IndexSettings(embedder="none"))
            with open_index(folder / "index", WordCounts(), chunker(config.index), "write") as index:
                index.update(discover([str(folder / "garden.md")]), lambda *_: None)
            pipeline = stack.enter_context(Pipeline(config, folder / "index"))
            pipeline.use(embedder=WordCounts())
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
    from pipeline.conversation.followup import rewrite
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
    item = {"question": QUESTIONS[0], "answers": ["The answer is 7"], "documents": [{"text": GARDEN, "title": "G"}]}
    (folder / "data.jsonl").write_text(json.dumps(item) + "\n")
    for thinks in ("on", "off"):
        (folder / f"{thinks}.yaml").write_text(
            "index: {embedder: none}\nstages:\n  - retrieve.bm25: {k: 2}\n  - assemble.cited: {layout: brief}\n"
            f"  - generate.llama: {{model: {path}, n_ctx: 1500, threads: 1, max_tokens: 24, thinking: {thinks}, "
            "thinking_tokens: 40, use_tuned: false}\n"
        )
    say("step eval")
    methods = [str(folder / "on.yaml"), str(folder / "off.yaml")]
    data = ["--data", str(folder / "data.jsonl"), "--kind", "jsonl", "--output", str(folder / "out"), "--json", "-q"]
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "eval", *methods, *data], capture_output=True, text=True, check=False
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
