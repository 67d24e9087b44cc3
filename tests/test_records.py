"""A record is the same after its JSON, records of older versions open, and what is no record is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import load_config
from pipeline.executors.folder import parse_record
from pipeline.pipeline import Pipeline
from pipeline.records import QuestionResult, Record, TaskFault
from pipeline.retrieval.given import Given
from pipeline.types import (
    Answer,
    Citation,
    Copy,
    Document,
    Dropped,
    Generation,
    Ledger,
    Passage,
    Place,
    Question,
    Ranked,
    Recalled,
    Span,
    StageEntry,
)
from tests.evaluation import records as older

OFFLINE = Path(__file__).parent.parent / "configs" / "offline.yaml"
TEXT = st.text(max_size=20)
SPANS = st.builds(Span, TEXT, st.integers(0, 99), st.integers(0, 99))
PLACES = st.builds(Place, st.none() | st.integers(1, 9), st.none() | st.integers(1, 9), st.tuples(TEXT), label=TEXT)
PASSAGES = st.builds(
    Passage, TEXT, st.integers(0, 9), st.integers(0, 99), TEXT, st.floats(0, 1), PLACES,
    spans=st.lists(SPANS, max_size=2).map(tuple),
    copies=st.lists(st.builds(Copy, TEXT, st.integers(0, 9), PLACES), max_size=1).map(tuple),
)  # fmt: skip
CITATIONS = st.builds(
    Citation, st.integers(1, 9), st.sampled_from(("model", "match", "attribution", "question")),
    st.none() | TEXT.map(lambda source: Passage(source, 0, 0, "")), st.none() | PASSAGES,
    st.sampled_from((0.0, 0.25, 1.0)), st.sampled_from((None, 0.5)),
)  # fmt: skip
ANSWERS = st.builds(
    Answer, TEXT, st.lists(CITATIONS, max_size=2).map(tuple), st.booleans(), TEXT, st.tuples(TEXT),
    st.sampled_from(("model", "quote", "gate")), TEXT, st.tuples(TEXT),
)  # fmt: skip
GENERATIONS = st.builds(Generation, TEXT, st.just("stop"), *[st.integers(0, 99)] * 3, st.floats(0, 9), st.floats(0, 9))
STAGES = st.builds(
    StageEntry, TEXT, st.floats(0, 9), *[st.integers(0, 99)] * 4,
    st.lists(st.builds(Dropped, SPANS, TEXT, PLACES, st.integers(0, 9), TEXT), max_size=2).map(tuple),
    st.tuples(TEXT), st.lists(st.builds(Ranked, SPANS, st.floats(0, 1)), max_size=2).map(tuple),
)  # fmt: skip
RECALLED = st.builds(
    Recalled, st.just("unit"), TEXT, st.integers(0, 9), st.none() | st.floats(0, 1), st.just((1, 2)), TEXT
)
LEDGERS = st.builds(
    Ledger, st.lists(STAGES, max_size=2).map(tuple), st.just((("template", 3), ("passages", 9))), st.integers(0, 99),
    st.integers(0, 99), TEXT, st.none() | GENERATIONS, st.tuples(TEXT), st.lists(RECALLED, max_size=1).map(tuple),
    st.just((2, 5)), TEXT,
)  # fmt: skip
FOUND = st.builds(Passage, TEXT, st.integers(0, 9), st.integers(0, 99), st.just(""), st.floats(0, 1))
RESULTS = st.builds(
    QuestionResult, TEXT, TEXT, st.none() | ANSWERS, LEDGERS, st.lists(FOUND, max_size=2).map(tuple),
    st.lists(PASSAGES, max_size=2).map(tuple), st.none() | st.just(0.75), st.just({}), TEXT, TEXT,
)  # fmt: skip
FAULTS = st.builds(TaskFault, TEXT, TEXT, TEXT, st.just(False), TEXT)
RECORDS = st.builds(
    Record, st.integers(0, 99), TEXT, TEXT, TEXT, RESULTS, st.none(), st.lists(FAULTS, max_size=2).map(tuple),
    st.integers(0, 3), st.floats(0, 9), TEXT, st.just({"gold": {"answers": ["x"]}}), TEXT,
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(RECORDS)
def test_a_record_is_the_same_after_its_json(record: Record) -> None:
    again = Record.from_dict(json.loads(json.dumps(record.to_dict())))
    assert again == record
    assert json.dumps(again.to_dict()) == json.dumps(record.to_dict())


def test_an_error_is_the_same_after_its_json() -> None:
    record = Record(3, "q", "k", "Why?", None, TaskFault("RuntimeError", "no", "compress.x", trace="Traceback"))
    assert record.status == "error"
    assert Record.from_dict(json.loads(json.dumps(record.to_dict()))) == record


def test_a_real_answer_loses_nothing_that_its_json_has() -> None:
    config = load_config(OFFLINE)
    documents = tuple(Document(f"{n}.txt", f"The ferry number {n} leaves at noon from pier {n}.") for n in range(20))
    config = replace(config, stages=(Given(), *config.stages[-2:]))
    with Pipeline(config, Path("none")) as pipeline:
        state = pipeline.ask(Question("When does ferry 7 leave?", "q7", documents=documents))
    values = json.loads(json.dumps(QuestionResult.of(state, config).to_dict()))
    result = QuestionResult.from_dict(values)
    assert json.loads(json.dumps(result.to_dict())) == values
    assert (result.question, result.text, result.config_hash) == (
        state.question.text,
        state.answer and state.answer.text,
        config.hash,
    )
    assert [passage.span for passage in result.shown] == [passage.span for passage in state.shown]


def test_a_record_of_an_older_longthread_opens() -> None:
    """Without labels and paragraphs of places, restored tokens, ranks, and who wrote the answer."""
    quote = older.passage("a.txt", 4, "The harbour.")
    drop = older.dropped("b.txt", 0, "Nothing.")
    entry = older.record("It is here [1].", [quote], [older.citation(1, quote)], ["a.txt"], drops=[drop])
    for name in ("found", "unsupported"):
        del entry[name]
    record = parse_record(
        json.dumps(older.line(2, entry, {"answers": ["here"]}, "Where?")).encode(), needs_checksum=False
    )
    assert (record.n, record.question, record.answer, record.status) == (2, "Where?", "It is here [1].", "ok")
    assert record.result is not None
    assert record.result.citations[0].quote == Passage("a.txt", 4, 16, "The harbour.", 1.0, Place(1))
    assert record.result.ledger.generation is not None
    assert record.result.ledger.generation.read_tokens == 80
    assert record.result.ledger.stages[1].dropped == (
        Dropped(Span("b.txt", 0, 8), "Nothing.", Place(1), 1, "not kept"),
    )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"id": 3}, "'id', 'key' or 'n' has another type"),
        ({"status": "error"}, "'status' does not agree with 'record' and 'error'"),
        ({"record": {"answer": "x"}}, "is no record of this longthread: KeyError: 'citations'"),
        ({"record": None}, "'status' does not agree"),
    ],
)
def test_what_is_no_record_is_refused(changes: dict[str, Any], why: str) -> None:
    values = {**older.line(0, older.record("x")), **changes}
    with pytest.raises(ValueError, match=why):
        Record.from_dict(values)
