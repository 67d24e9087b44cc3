"""Documents longer than the window, read segment by segment, and cited at their offsets."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from memory.hierarchical import Hierarchical
from pipeline.config import PipelineConfig
from pipeline.contracts import Component
from pipeline.conversation.reading import read, reading_config
from pipeline.default import default_pipeline
from pipeline.documents.load import load
from pipeline.errors import ConfigError
from pipeline.models.capabilities import Metered
from pipeline.pipeline import Pipeline
from pipeline.registry import make, stage_name
from pipeline.types import Question
from tests.memory.talks import SETTINGS
from tests.memory.test_contract import traces
from tests.models.random_file import random_model

WORDS = "harbour heron keeper lamp salt stone noon wall sack patience sea wind gate".split()
HIDDEN = "Ruth Ebel hid the silver key under the third beehive."


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """Some 3000 words; one sentence of them matters."""
    rng = random.Random(0)
    paragraphs = [" ".join(rng.choices(WORDS, k=24)).capitalize() + "." for _ in range(120)]
    paragraphs.insert(40, HIDDEN)
    path = tmp_path / "book.txt"
    path.write_text("\n\n".join(paragraphs))
    return path


def reading(memory: Component | None = None, n_ctx: int = 500) -> Pipeline:
    generate = make("generate.scripted", {"n_ctx": n_ctx, "max_tokens": 32})
    stages = (make("retrieve.bm25"), *([memory] if memory else []), make("assemble.cited"), generate)
    return Pipeline(reading_config(PipelineConfig("read.yaml", stages, SETTINGS)), Path("nowhere"))


def test_a_question_is_answered_from_more_than_the_window_holds(book: Path) -> None:
    with reading() as pipeline, read(pipeline, [str(book)]) as done:
        (document,) = done.documents
        assert pipeline.reader.count_text(document.text) > 5 * pipeline.window
        state = done.ask(Question("Where did Ruth Ebel hide the silver key?"))
    assert state.answer is not None
    assert HIDDEN in state.answer.text
    citation, *beside = state.answer.citations
    assert [other.by for other in beside] == ["question"]
    assert citation.by == "model"
    assert citation.quote is not None
    assert citation.quote.text == HIDDEN
    assert document.text[citation.quote.start : citation.quote.end] == HIDDEN
    assert all(piece.text == document.text[piece.start : piece.end] for piece in state.shown)
    assert state.ledger.prompt_tokens + 32 <= pipeline.window


def test_what_was_read_is_not_read_again(book: Path, runtime: Pipeline, tmp_path: Path) -> None:
    memory = Hierarchical(sensory_tokens=0, segment_tokens=100, summarise="extract").open(tmp_path / "read", runtime)
    pieces = runtime.chunk(load(book))
    assert memory.read(pieces[:10], runtime) == 10
    assert memory.read(pieces, runtime) == len(pieces) - 10
    assert memory.read(pieces, runtime) == 0
    assert [piece.span for piece in memory.units.pieces().values()] == [piece.span for piece in pieces]
    assert next(iter(memory.units.pieces().values())) == pieces[0]
    units = memory.units.all()
    assert [m for unit in units for m in range(unit.first, unit.last + 1)] == list(range(1, len(pieces) + 1))
    assert all(unit.summary for unit in units)
    memory.export(tmp_path / "a.jsonl")
    other = Hierarchical(sensory_tokens=0, summarise="extract").open(tmp_path / "other", runtime)
    other.import_(tmp_path / "a.jsonl")
    assert other.units.pieces() == memory.units.pieces()
    memory.forget(matching=HIDDEN)
    assert traces(tmp_path / "read", [HIDDEN]) == []
    memory.close()
    other.close()


def test_a_segment_recalls_from_before_it(runtime: Pipeline, book: Path, tmp_path: Path) -> None:
    memory = Hierarchical(sensory_tokens=0, segment_tokens=100, summarise="extract").open(tmp_path, runtime)
    memory.read(runtime.chunk(load(book)), runtime)
    first, *_, last = memory.units.all()
    assert memory._recalled_for(first, runtime) == ""
    assert memory._recalled_for(last, runtime)
    memory.close()


def test_the_default_pipeline_reads_with_a_memory_in_place_of_its_index() -> None:
    assert [stage_name(stage) for stage in reading_config(default_pipeline()).stages] == [
        "memory.hierarchical",
        "assemble.cited",
        "generate.llama",
    ]


def test_a_memory_that_reads_nothing_is_refused(book: Path) -> None:
    with (
        reading(make("memory.full")) as pipeline,
        pytest.raises(ConfigError, match=r"reads no documents: take memory\.hierarchical"),
        read(pipeline, [str(book)]),
    ):
        pass


def test_pictures_are_left_out_where_the_pipeline_recognises_none(book: Path) -> None:
    (book.parent / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    stages = (make("retrieve.bm25"), make("assemble.cited"), make("generate.scripted", {"n_ctx": 500}))
    config = PipelineConfig("read.yaml", stages, replace(SETTINGS, ocr="off"))
    with Pipeline(reading_config(config), Path("nowhere")) as pipeline, read(pipeline, [str(book.parent)]) as done:
        assert [document.source for document in done.documents] == [book.as_posix()]


def test_the_next_day_goes_on_from_what_the_last_prompt_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With other engines, as in processes that come one after the other; the reader is a model of bytes."""
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path / "cache"))
    memo = tmp_path / "memo.txt"
    memo.write_text("The key of the tower is 7431. The garden has seven beehives. The ferry sails at nine.")
    settings = (("model", str(random_model(tmp_path))), ("n_ctx", 4096), ("max_tokens", 4), ("threads", 1))
    assemble = make("assemble.cited", {"layout": "brief"})
    stages = (make("retrieve.bm25"), assemble, make("generate.llama", dict(settings)))
    config = reading_config(PipelineConfig("read.yaml", stages, SETTINGS))

    def day(*questions: str) -> list[int]:
        """Tokens that were decoded for each question, second attempts included."""
        with Pipeline(config, Path("nowhere")) as pipeline, read(pipeline, [str(memo)]) as done:
            reader, n_decoded = pipeline.reader, []
            assert isinstance(reader, Metered)
            for question in questions:
                before = reader.n_decoded
                assert not done.ask(Question(question)).ledger.generation.is_composed  # type: ignore[union-attr]
                n_decoded.append(reader.n_decoded - before)
        return n_decoded

    (first,) = day("What is the key of the tower?")
    again, other = day("What is the key of the tower?", "How many beehives are there?")
    (new,) = day("How many beehives has the garden?")
    assert first > 500
    assert again < 0.4 * first, "a second attempt's end is read in any case"
    assert new <= other + 20, "as if the day before had not ended"
