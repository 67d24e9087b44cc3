"""Summaries of whole documents: every part is quoted, quotes stand at their places, and a model invents nothing."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config import IndexSettings, PipelineConfig
from pipeline.default import chat_pipeline
from pipeline.documents.load import load
from pipeline.pipeline import Pipeline
from pipeline.registry import make
from pipeline.summarise import MAX_PARTS, key_sentences, summarise, usable_sentences
from pipeline.types import Document, Generation, Passage, Question, State
from tests.rounds import rounds

DEMO = Path(__file__).parent.parent / "configs" / "demo" / "documents"
SUBJECTS = ("cranes", "pilots", "lighthouses", "dredgers", "customs officers", "fish auctions")
PROSE = "\n\n".join(
    f"The {thing} come first in chapter {n}. All {thing} are old and slow. Some {thing} are green. "
    f"Nobody likes the {thing} in winter, but the {thing} stay."
    for n, thing in enumerate(SUBJECTS, 1)
)


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Pipeline]:
    """A pipeline by words alone, with the scripted model."""
    stages = (make("retrieve.bm25"), make("assemble.cited"), make("generate.scripted", {"n_ctx": 4096}))
    config = PipelineConfig(path="a test", index=IndexSettings(embedder="none", chunk_tokens=60), stages=stages)
    with Pipeline(config, tmp_path) as pipeline:
        yield pipeline


def summary(runtime: Pipeline, *documents: Document) -> State:
    cut = {document.source: runtime.chunk(document) for document in documents}
    return summarise(Question("summarise"), cut, runtime, runtime.ledger)


def test_every_part_of_the_document_is_quoted_in_its_order(runtime: Pipeline) -> None:
    document = Document("/d/harbour.txt", PROSE)
    state = summary(runtime, document)
    quoted = [next(thing for thing in SUBJECTS if thing in sentence.text) for sentence in state.shown]
    assert len(state.shown) >= 4
    assert quoted == sorted(set(quoted), key=SUBJECTS.index)  # no two of one part, and in the document's order
    for sentence in state.shown:
        assert document.text[sentence.start : sentence.end] == sentence.text
        assert sentence.place.line == document.place(sentence.start).line


def test_the_ledger_says_that_all_was_read(runtime: Pipeline) -> None:
    document = Document("/d/harbour.txt", PROSE)
    state = summary(runtime, document)
    read, written = state.ledger.stages
    n_passages = len(runtime.chunk(document))
    assert n_passages > 3
    assert (read.stage, read.passages_in, read.passages_out) == ("summarise.read", n_passages, len(state.shown))
    assert f"all {n_passages} passages were read: 24 sentences" in read.notes[0]
    assert written.notes[0] == "the model read the whole document"
    assert sum(tokens for _, tokens in state.ledger.parts) == state.ledger.generation.prompt_tokens  # type: ignore[union-attr]


def test_each_quote_is_cited(runtime: Pipeline) -> None:
    state = summary(runtime, Document("/d/harbour.txt", PROSE))
    answer = state.answer
    assert answer is not None
    assert [citation.number for citation in answer.citations] == list(range(1, len(state.shown) + 1))
    assert all(f"[{citation.number}]" in answer.text for citation in answer.citations)
    assert all(citation.quote is not None and citation.quote.text in answer.text for citation in answer.citations)


def test_a_long_document_is_cut_by_its_passages(runtime: Pipeline) -> None:
    text = "\n\n".join(f"Day {n}. {PROSE}" for n in range(20)) + "\n\nThe zebra arrived last of all."
    passages = runtime.chunk(Document("/d/long.txt", text))
    found = key_sentences(passages, runtime)
    assert found.n_units > 400
    assert 3 <= len(found.sentences) <= MAX_PARTS
    starts = [sentence.start for sentence in found.sentences]
    assert starts == sorted(starts)
    assert starts[0] < len(text) / 4
    assert starts[-1] > len(text) / 2
    state = summary(runtime, Document("/d/long.txt", text))
    assert "sentences from all parts" in " ".join(state.ledger.stages[-1].notes)
    assert state.ledger.prompt_tokens <= 1500


def test_boilerplate_is_not_quoted(runtime: Pipeline) -> None:
    text = "\n\n".join(f"All {thing} are old. The plan is paid from the general fund every year." for thing in SUBJECTS)
    state = summary(runtime, Document("/d/lease.txt", text))
    assert state.shown
    assert not [one.text for one in state.shown if "general fund" in one.text]


def test_an_overview_has_a_sentence_of_each_document(runtime: Pipeline) -> None:
    state = summary(
        runtime, Document("/d/a.txt", "Apples are red."), Document("/d/b.txt", PROSE), Document("/d/c.txt", "")
    )
    assert [sentence.source for sentence in state.shown] == ["/d/a.txt", "/d/b.txt"]
    assert state.answer is not None
    assert state.answer.text.startswith("- a.txt: Apples are red. [1]\n- b.txt: ")


def test_tables_and_nothing_at_all(runtime: Pipeline) -> None:
    state = summary(runtime, Document("/d/ships.csv", "name,draught\nZephyrus,10.2\nAurora,7.5\n"))
    assert len(state.shown) >= 1
    empty = summary(runtime, Document("/d/empty.txt", ""))
    assert (empty.shown, empty.answer.text if empty.answer else None) == ((), "")


def test_a_stopped_summary_keeps_its_quotes(runtime: Pipeline) -> None:
    runtime.is_cancelled = True
    state = summary(runtime, Document("/d/harbour.txt", PROSE))
    assert state.shown
    assert state.ledger.generation is None


FERRY = (
    Passage("/d/f.md", 0, 0, "The Merrow was built in 1961 at the Dunmore yard as a pilot cutter."),
    Passage("/d/f.md", 0, 0, "A return ticket costs 14 marks for a grown person and 6 marks for a child."),
)


def written(text: str) -> str:
    return usable_sentences(Generation(text, "stop", 1, 0, 1, 0.0, 0.0), FERRY)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (
            "The Merrow was built in 1961 at the Dunmore yard. A return ticket costs 14 marks for a grown person.",
            "The Merrow was built in 1961 at the Dunmore yard. A return ticket costs 14 marks for a grown person.",
        ),
        ("The Merrow was built at the Dunmore yard as a pilot cutter, which is used as a taxidermy for captains.", ""),
        ("The Merrow was built in 1962 at the Dunmore yard as a pilot cutter.", ""),
        ("The Merrow was built in 1961 at the Dunmore yard by Ingrid as a pilot cutter.", ""),
        ("The Merrow costs 14 marks for a child. The Merrow costs 14 marks for a child.", ""),
        ("The ticket. The ticket. The ticket.", ""),
        ("The Merrow was built in 1961 at the Dunmore yard as a pilot", ""),
        ("[1] [2]", ""),
        ("", ""),
    ],
)
def test_of_the_models_words_only_those_stay_that_stand_there(text: str, kept: str) -> None:
    assert written(text) == kept


@pytest.mark.parametrize("name", rounds(["ferry.md", "garden.html"], 1))
def test_the_real_model_summarises_a_demo_document(tmp_path: Path, name: str) -> None:
    with Pipeline(chat_pipeline(), tmp_path) as pipeline:
        document = load(DEMO / name)
        passages = pipeline.chunk(document)
        pieces: list[str] = []
        pipeline.listener = replace(pipeline.listener, on_text=pieces.append)
        state = summarise(Question("summarise"), {document.source: passages}, pipeline, pipeline.ledger)
    answer = state.answer
    assert answer is not None
    assert len(state.shown) >= 3
    assert len({sentence.place.heading for sentence in state.shown}) == 3  # one of each section
    assert all(document.text[one.start : one.end] == one.text for one in state.shown)
    quotes, _, own_words = answer.text.partition("\n\n")
    assert "".join(pieces) == answer.text
    assert all(" ".join(one.text.split()) in quotes for one in state.shown)
    assert state.ledger.generation is not None
    assert answer.said == state.ledger.generation.text.strip()
    if own_words:
        assert own_words.startswith("In the words of SmolLM2")
    else:
        assert "no summary that stands on the document" in answer.faults[0]
