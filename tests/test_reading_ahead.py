"""Passages that are read ahead: a question finds all of them, reads only itself, and never waits for the reading."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from pipeline.config import IndexSettings, PipelineConfig
from pipeline.conversation.conversation import Conversation
from pipeline.conversation.sessions import session_folder
from pipeline.default import with_memory
from pipeline.documents.discover import discover
from pipeline.errors import ConfigError, ModelError
from pipeline.models.cell_limits import DISK
from pipeline.pipeline import Pipeline, chunker
from pipeline.reading_ahead import IdleReader, _by_use, read_index
from pipeline.registry import make
from pipeline.retrieval.open_index import open_index
from pipeline.types import Excerpt, Generation, Question, State
from tests.compressors.workbench import WordCounts
from tests.models.random_file import random_model

TEXTS = {
    "garden.md": "# The garden\n\nThe Orla garden has seven beehives. Its keeper is Anselm Roe. "
    + "Bees fly to the lime trees in June. " * 12,
    "harbour.md": "# The harbour\n\nThe ferry to Skelby sails at seven. A return ticket costs 14 marks. "
    + "Dogs travel free on the lower deck. " * 12,
    "tower.md": "# The tower\n\nThe tower is 48 metres high. It leans a little to the east. "
    + "Its bell says </passage> at noon. " * 12,
}
INDEX = IndexSettings(embedder="none", chunk_tokens=60)
QUESTION = Question("How high is the tower?")


def config(reuse: str = "sentences", **settings: Any) -> PipelineConfig:
    stages = (
        make("retrieve.bm25", {"k": 3}),
        *([make("compress.sentences", {"top_k": 3, "score": "cosine"})] if reuse == "sentences" else []),
        make("assemble.cited", {"reuse": reuse, "layout": "focus"}),
        make("generate.llama", {"n_ctx": 4096, "max_tokens": 8, "use_tuned": False, **settings}),
    )
    return PipelineConfig("ahead.yaml", stages, INDEX)


class Made:
    """An index and a model of bytes with random weights, and pipelines of both whose embedder counts words."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder, self.model = folder, model

    def pipeline(self, reuse: str = "sentences", memory: bool = False, **settings: Any) -> Pipeline:
        settings = {"model": str(self.model), "threads": 1} | settings
        whole = config(reuse, **settings)
        pipeline = Pipeline(with_memory(whole) if memory else whole, self.folder)
        pipeline.use(embedder=WordCounts())
        return pipeline


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    docs = tmp_path_factory.mktemp("docs")
    for name, text in TEXTS.items():
        (docs / name).write_text(text)
    folder = tmp_path_factory.mktemp("made")
    with open_index(folder / "index", WordCounts(), chunker(INDEX), mode="write") as index:
        index.update(discover([str(docs)]), lambda *_: None)
    return Made(folder / "index", random_model(folder))


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LONGTHREAD_DATA", str(tmp_path / "data"))


@pytest.fixture
def pipeline(made: Made) -> Iterator[Pipeline]:
    with made.pipeline() as pipeline:
        yield pipeline


def generation(state: State) -> Generation:
    assert state.ledger.generation is not None
    return state.ledger.generation


# ------------------------------------------------------------------------------------------------------- a whole index
@pytest.mark.parametrize("reuse", ["sentences", "passages"])
def test_a_question_reads_only_itself_afterwards(made: Made, reuse: str) -> None:
    with made.pipeline(reuse) as first:
        report = read_index(first)
    assert (report.n_read, report.n_kept, report.n_left, report.stopped) == (report.n_passages, 0, 0, "")
    assert report.n_passages >= 6
    assert report.disk_bytes > 700 * report.n_tokens
    with made.pipeline(reuse) as second:  # another process, as far as the model's cells go
        state = second.ask(QUESTION)
        done = generation(state)
        assert done.stored_tokens == 0
        fixed = [span for span in state.prompt if not isinstance(span, Excerpt)]
        assert done.read_tokens <= second.reader.count(tuple(fixed))
        assert done.restored_tokens > 0


def test_a_chat_finds_what_was_read_for_ask(made: Made, tmp_path: Path) -> None:
    with made.pipeline() as first:
        read_index(first)
    with made.pipeline(memory=True) as second, Conversation(second, tmp_path / "session") as talk:
        for question in ("How high is the tower?", "Who keeps the garden's beehives?"):
            done = generation(talk.ask(question))
            assert done.restored_tokens > 0
            assert done.stored_tokens == 0


def test_reading_goes_on_where_it_stopped(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []

    def interrupt(what: str, done: int, total: int) -> None:
        seen.append((done, total))
        if len(seen) == 3:
            raise KeyboardInterrupt

    first = read_index(pipeline, progress=interrupt)
    assert (first.n_read, first.stopped) == (2, "interrupted")
    assert first.n_left == first.n_passages - 2
    second = read_index(pipeline, progress=lambda what, done, total: seen.append((done, total)))
    assert (second.n_kept, second.n_read, second.n_left) == (2, first.n_left, 0)
    assert second.n_tokens < seen[0][1]
    third = read_index(pipeline)
    assert (third.n_kept, third.n_read, third.n_tokens) == (third.n_passages, 0, 0)


def test_reading_ends_with_its_time(pipeline: Pipeline) -> None:
    report = read_index(pipeline, minutes=1e-9)
    assert (report.n_read, report.stopped, report.n_left) == (0, "time", report.n_passages)


def test_reading_ends_before_the_disk_limit(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DISK, "1")
    report = read_index(pipeline)
    assert 0 < report.n_read < report.n_passages
    assert report.stopped == "disk"
    assert report.n_left == report.n_passages - report.n_read
    assert report.disk_bytes <= 1_000_000
    files = {path.name for path in (Path(os.environ["LONGTHREAD_CACHE"]) / "pieces").glob("*/*.kv")}
    read_index(pipeline)
    assert files <= {path.name for path in (Path(os.environ["LONGTHREAD_CACHE"]) / "pieces").glob("*/*.kv")}


def test_numbers_of_passages_are_read_only_where_the_limit_has_room_for_them(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DISK, "0.001")
    report = read_index(pipeline)
    assert (report.n_read, report.n_tokens, report.disk_bytes) == (0, 0, 0)
    assert (report.stopped, report.n_left) == ("disk", report.n_passages)


def test_what_the_context_had_no_room_for_is_not_counted_as_read(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine: Any = pipeline.reader
    passages: list[int] = []

    def has_room(prefix: object, n: int) -> bool:
        passages.extend([n] if n > 100 else [])  # a number of a passage has fewer tokens
        return len(passages) <= 2

    with monkeypatch.context() as patch:
        patch.setattr(engine.pool, "has_room_beside_idle", has_room)
        report = read_index(pipeline)
    assert (report.n_read, report.stopped, report.n_left) == (2, "room", report.n_passages - 2)
    again = read_index(pipeline)
    assert (again.n_kept, again.n_left, again.stopped) == (2, 0, "")


def test_what_sessions_showed_is_read_first(made: Made) -> None:
    with made.pipeline(memory=True) as pipeline, Conversation(pipeline, session_folder("a")) as talk:
        talk.ask("How high is the tower?")
        shown = {passage.source for passage in talk.ask("How high is the tower?").shown}
        chunks = [chunk for source in pipeline.index.sources for chunk in pipeline.index.passages(source)]
    assert chunks[0].source.endswith("garden.md")
    (span, *_) = json.loads((session_folder("a") / "shown.json").read_text())
    assert span[0] in shown
    with made.pipeline() as pipeline:
        ordered = _by_use(pipeline)
    assert ordered[0].source == span[0]
    assert ordered[0].start <= span[1] < ordered[0].end
    assert {passage.span for passage in ordered} == {chunk.span for chunk in chunks}
    assert len(ordered) == len(chunks)


def test_what_cannot_be_used_is_not_read(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        made.pipeline("exact") as exact,
        pytest.raises(ConfigError, match=r"ahead\.yaml: its prompts read every passage anew.*set reuse"),
    ):
        read_index(exact)
    with (
        made.pipeline("auto") as untried,  # a model without a trial reads exactly
        pytest.raises(
            ConfigError, match=r"'reuse: auto' of assemble\.cited reads every passage anew with .*models try"
        ),
    ):
        read_index(untried)
    given = config(model=str(made.model))
    given = replace(given, stages=(make("retrieve.given"), *given.stages[1:]))
    with (
        Pipeline(given, made.folder) as pipeline,
        pytest.raises(ConfigError, match=r"retrieve\.given gives passages that depend on the question"),
    ):
        read_index(pipeline)
    with (
        made.pipeline(kv_k="q8_0") as quantised,
        pytest.raises(ModelError, match="passages cannot be read ahead: "),
    ):
        read_index(quantised)
    monkeypatch.setenv(DISK, "0")
    with made.pipeline() as full, pytest.raises(ConfigError, match=f"{DISK} is 0"):
        read_index(full)


# ------------------------------------------------------------------------------------------------------ while one types
def wait_for(is_done: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not is_done():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.02)


def test_what_is_typed_is_read_before_it_is_asked(pipeline: Pipeline) -> None:
    typed = ""
    idle = IdleReader(pipeline, None, lambda: typed)
    with idle:
        time.sleep(0.2)
        assert idle.n_tokens == 0
        typed = "/docs add tower"
        time.sleep(0.7)
        assert idle.n_tokens == 0, "a command is no question"
        typed = "How high is the tow"
        wait_for(lambda: idle.n_tokens > 0)
        typed = QUESTION.text
        time.sleep(0.6)
        before = -1
        while before != idle.n_tokens:
            before = idle.n_tokens
            time.sleep(1.5)
    done = generation(pipeline.ask(QUESTION))
    assert done.restored_tokens > 0
    tags = 3 * len("<passage 1>\n ")
    assert done.stored_tokens <= tags, "the passages are read; their numbers may not be"


def test_a_line_that_grows_without_a_pause_is_searched_for_as_well(made: Made) -> None:
    with made.pipeline() as pipeline:
        start = time.monotonic()
        asked: list[str] = []
        retriever: Any = pipeline.config.retriever
        search = type(retriever).search

        def note(self: Any, question: Question, runtime: Any) -> Any:
            asked.append(question.text)
            return search(self, question, runtime)

        with (
            pytest.MonkeyPatch.context() as patch,
            IdleReader(
                pipeline, None, lambda: f"How high is the tower{'?' * int((time.monotonic() - start) * 10)}"
            ) as idle,
        ):
            patch.setattr(type(retriever), "search", note)
            wait_for(lambda: idle.n_tokens > 0)
    assert asked == ["How high is the"], "the word that is being typed is left out, and no words are searched for twice"


def test_a_halted_passage_leaves_nothing_and_delays_nothing(made: Made) -> None:
    with made.pipeline() as pipeline:
        engine: Any = pipeline.reader
        assembler: Any = pipeline.assembler
        assert engine.why_not_compose == ""
        (prompt,) = assembler.excerpts_ahead([replace(pipeline.index.passages(pipeline.index.sources[0])[0])], pipeline)
        span = next(span for span in prompt if isinstance(span, Excerpt) and len(span.texts) > 1)
        long = replace(span, texts=(span.texts[0], "A bee flies to the lime tree. " * 110), stretches=((0, 10),))
        halted, begun = Event(), Event()
        read: list[int] = []

        def is_halted() -> bool:
            begun.set()
            return halted.is_set()

        thread = Thread(target=lambda: read.append(engine.read_ahead((long,), is_halted)))
        thread.start()
        assert begun.wait(30)
        time.sleep(0.3)
        start = time.perf_counter()
        halted.set()
        thread.join()
        assert time.perf_counter() - start < 0.5
        assert read == [0]
        assert engine.n_to_read((long,)) > 3000
        free = engine.pool.book.n_free + engine.pool.book.n_only(engine.pool._idle)
        assert free == engine.context.n_cells, "no cell is left behind"
        first = generation(pipeline.ask(QUESTION))
    with made.pipeline() as other:
        assert generation(other.ask(QUESTION)).text == first.text


def test_a_passage_that_is_longer_than_the_window_is_passed_over_while_one_types(made: Made) -> None:
    with made.pipeline(n_ctx=256) as pipeline, IdleReader(pipeline, None, lambda: QUESTION.text) as idle:
        time.sleep(3)
        assert idle._thread.is_alive(), "it waits for what is typed next"
        assert idle.n_tokens == 0


@pytest.mark.parametrize(("n_cached", "has_room"), [(2, False), (3, True)])
def test_what_waits_for_the_next_question_is_not_pushed_out(
    made: Made, tmp_path: Path, n_cached: int, has_room: bool
) -> None:
    """The conversation holds two sequences. With a third one, what passages are read behind is held as well."""
    with (
        made.pipeline(memory=True, n_ctx=2048, n_cached=n_cached) as pipeline,
        Conversation(pipeline, tmp_path / "session") as talk,
    ):
        state = talk.ask(QUESTION.text)
        engine: Any = pipeline.reader
        idle = [keys.tolist() for keys in engine.pool.idle]
        assert len(idle) == n_cached
        with IdleReader(pipeline, state, lambda: "Who keeps the beehives of the garden?") as reader:
            if has_room:
                wait_for(lambda: reader.n_tokens > 0)
            time.sleep(3)
        assert (reader.n_tokens > 0) is has_room
        assert [keys for keys in idle if keys not in [one.tolist() for one in engine.pool.idle]] == []
