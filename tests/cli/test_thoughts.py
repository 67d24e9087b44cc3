"""Thoughts of models that speak, in ask, eval, chat, memory and crag: shown where they are asked for, used nowhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.config import IndexSettings, PipelineConfig
from pipeline.conversation.conversation import Conversation
from pipeline.conversation.followup import rewrite
from pipeline.pipeline import Pipeline
from pipeline.registry import make
from pipeline.types import Passage, Question
from tests.cli.conftest import Run
from tests.compressors.workbench import WordCounts
from tests.models.speaking import MUSINGS, speaking

KINDS = ("switched", "opened", "control", "endless", "harmony")
LEAK = "mmm"
"""Stands in what every kind thinks, and in no document, question or answer."""
SAID = "The garden has seven hives"
GARDEN = "# The garden\n\nThe garden has seven hives. A wall of red brick stands around the garden.\n"
QUESTION = "How many hives has the garden?"


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return speaking(request.param, tmp_path)


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "garden.md").write_text(GARDEN)
    return tmp_path / "documents"


def config(folder: Path, model: Path, thinking: str, stages: str = "", memory: str = "") -> Path:
    path = folder / f"{thinking}.yaml"
    path.write_text(
        "index: {embedder: none}\nstages:\n  - retrieve.bm25: {k: 2}\n"
        f"{stages}{memory}  - assemble.cited: {{layout: brief}}\n"
        f"  - generate.llama: {{model: {model}, n_ctx: 1024, n_seq_max: 2, threads: 1, max_tokens: 24, "
        f"thinking: {thinking}, thinking_tokens: 40, use_tuned: false}}\n"
    )
    return path


def leaks(record: dict[str, object]) -> list[str]:
    """The fields of a record that hold a thought, beside those for thoughts and the settings."""
    ledger = record["ledger"]
    assert isinstance(ledger, dict)
    generation = {**ledger["generation"], "thoughts": ""}
    seen = {**record, "thoughts": "", "config": "", "ledger": {**ledger, "generation": generation}}
    return [key for key, value in seen.items() if LEAK in json.dumps(value)]


@pytest.mark.parametrize("thinking", ["on", "auto", "off"])
def test_ask_keeps_thoughts_in_a_field_of_their_own(
    model: Path, documents: Path, tmp_path: Path, thinking: str, run: Run
) -> None:
    done = run("ask", QUESTION, str(documents), "-c", str(config(tmp_path, model, thinking)), "--json", "-q")
    assert done.code == 0, done.err
    record = json.loads(done.out)
    assert record["answer"].startswith(SAID)
    assert leaks(record) == []
    assert all(citation["quote"] is None or LEAK not in citation["quote"]["text"] for citation in record["citations"])
    if thinking == "on":
        assert record["thoughts"].startswith(MUSINGS)
        assert record["thought_tokens"] > 0
    elif model.stem != "harmony":
        assert (record["thoughts"], record["thought_tokens"]) == ("", 0)
    notes = [note for stage in record["ledger"]["stages"] for note in stage["notes"]]
    is_cut = any("thoughts before the answer were cut" in note for note in notes)
    assert is_cut == (model.stem == "endless" and thinking == "on")


def test_thoughts_are_folded_and_shown_when_asked_for(model: Path, documents: Path, tmp_path: Path, run: Run) -> None:
    folded = run("ask", QUESTION, str(documents), "-c", str(config(tmp_path, model, "on")))
    assert "thought for " in folded.out
    assert LEAK not in folded.out
    shown = run("ask", QUESTION, str(documents), "-c", str(config(tmp_path, model, "auto")), "--thoughts")
    assert shown.code == 0, shown.err
    assert shown.out.startswith("thought for ")
    assert MUSINGS in shown.out
    assert shown.out.index(MUSINGS) < shown.out.index(SAID)
    if model.stem != "harmony":
        off = run("ask", QUESTION, str(documents), "-c", str(config(tmp_path, model, "off")), "--thoughts")
        assert off.out.startswith("No thoughts before this answer.")


def test_eval_measures_answers_without_thoughts(model: Path, tmp_path: Path, run: Run) -> None:
    item = {"question": QUESTION, "answers": [SAID], "documents": [{"text": GARDEN, "title": "Garden"}]}
    (tmp_path / "data.jsonl").write_text(json.dumps(item) + "\n")
    methods = [str(config(tmp_path, model, thinking)) for thinking in ("on", "off")]
    out = tmp_path / "out"
    data = ("--data", str(tmp_path / "data.jsonl"), "--kind", "jsonl")
    done = run("eval", *methods, *data, "--output", str(out), "--json", "-q")
    assert done.code == 0, done.err
    assert LEAK not in done.out
    on, off = (one["metrics"]["f1"]["mean"] for one in json.loads(done.out)["runs"])
    assert on == off > 0.9
    for path in out.rglob("*.jsonl"):
        for line in path.read_text().splitlines():
            record = json.loads(line)
            if "ledger" in record:
                assert leaks(record) == []


# --------------------------------------------------------------------------------------------------- conversations
@pytest.fixture
def pipeline(model: Path, documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """With a memory whose tiers are so small that the model is asked to summarise each turn."""
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path / "cache"))
    memory = (("sensory_tokens", 30), ("segment_tokens", 10), ("summary_tokens", 40), ("recall_tokens", 60))
    settings = (("model", str(model)), ("n_ctx", 3000), ("threads", 1), ("max_tokens", 24), ("thinking", "on"))
    stages = (
        make("memory.hierarchical", dict(memory)),
        make("assemble.cited", {"layout": "brief"}),
        make("generate.llama", {**dict(settings), "thinking_tokens": 40, "use_tuned": False}),
    )
    with Pipeline(PipelineConfig("talk.yaml", stages, IndexSettings(embedder="none")), tmp_path / "index") as pipeline:
        pipeline.use(embedder=WordCounts())
        yield pipeline


def test_a_conversation_thinks_and_remembers_answers_alone(pipeline: Pipeline, tmp_path: Path) -> None:
    with Conversation(pipeline, tmp_path / "session") as conversation:
        for text in (QUESTION, "And how red is its wall?", "Who keeps them?"):
            state = conversation.ask(text)
            conversation.settle()
            generation = state.ledger.generation
            assert generation is not None
            assert MUSINGS in generation.thoughts
            sent = "".join(getattr(span, "text", "") for span in state.prompt)
            assert LEAK not in sent
        earlier = [(turn.question, turn.answer) for turn in conversation.turns]
        followed = rewrite("And how red is it?", earlier, pipeline.reader)
        assert followed is not None
        assert LEAK not in repr(followed)
        assert all(LEAK not in turn.answer for turn in conversation.turns)
        assert all(LEAK not in item.text for item in conversation.memory.items())
    for path in (tmp_path / "session").rglob("*"):
        assert path.is_dir() or LEAK.encode() not in path.read_bytes(), path


def test_crag_summarises_without_thoughts(pipeline: Pipeline, tmp_path: Path) -> None:
    from compressors.crag import Crag

    texts = [f"The garden of house {n} has {n} hives. Bees live there." for n in range(6)]
    passages = [Passage(f"{n}.md", 0, len(text), text) for n, text in enumerate(texts)]
    summaries = Crag(k=2, max_tokens=24).compress(Question(QUESTION), passages, pipeline)
    assert summaries
    assert all(LEAK not in passage.text for passage in summaries)
