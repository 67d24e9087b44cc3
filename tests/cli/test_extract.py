"""`longthread extract`: every document answers the same questions alone, and a value in the table stands in it."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import DataError
from pipeline.executors.samples import samples_of
from pipeline.extraction import ExtractedCell, ExtractedTable, _cell, extraction_samples, schema_of, write_table
from pipeline.records import QuestionResult, Record, TaskFault
from pipeline.types import Answer, Citation, Ledger, Passage, Place
from tests.cli.conftest import Run

LEASES = {
    "a.txt": "Lease of boathouse 1. The tenant is Maria Kern. The rent is 450 euros a month. It began in 2021.",
    "b [old].txt": "Lease of boathouse 2. The tenant is Jonas Vik. The rent is 510 euros a month. It ends soon.",
    "knots.txt": "Notes on knots. A bowline does not slip.",
}
QUESTIONS = [
    {"id": "tenant", "question": "Who is the tenant of the boathouse?"},
    {"id": "rent", "question": "How high is the rent of the boathouse in euros a month?", "type": "number"},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "leases").mkdir()
    for name, text in LEASES.items():
        (tmp_path / "leases" / name).write_text(text)
    (tmp_path / "q.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in QUESTIONS))
    return tmp_path


def table(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as file:
        return {Path(row["document"]).name: row for row in csv.DictReader(file)}


def test_each_document_answers_alone_and_a_second_call_answers_nothing_anew(run: Run, folder: Path) -> None:
    command = ["extract", str(folder / "q.jsonl"), str(folder / "leases"), "--output", str(folder / "t.csv")]
    done = run(*command)
    assert done.code == 0, done.err
    rows = table(folder / "t.csv")
    assert sorted(rows) == sorted(LEASES)
    assert [rows[name]["rent"] for name in LEASES] == ["450", "510", ""]
    assert rows["b [old].txt"]["rent: quote"] == "The rent is 510 euros a month."
    assert rows["knots.txt"]["tenant: note"].startswith("searched 1 passage of 1 document: ")
    assert 0.5 < float(rows["a.txt"]["rent: confidence"]) <= 1
    assert "3 documents, 2 questions, " in done.err
    before = (folder / "t.csv-records" / "records.jsonl").read_bytes()
    assert run(*command).code == 0
    assert (folder / "t.csv-records" / "records.jsonl").read_bytes() == before


def test_one_question_without_a_file(run: Run, folder: Path) -> None:
    done = run("extract", "Who is the tenant?", str(folder / "leases" / "a.txt"), "--output", str(folder / "t.jsonl"))
    assert done.code == 0, done.err
    (line,) = (folder / "t.jsonl").read_text().splitlines()
    assert set(json.loads(line)) == {"document", "answer"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nosuch.jsonl", "leases", "-o", "t.csv"], "nosuch.jsonl"),
        (["q.jsonl", "leases", "-o", "t.xlsx"], "the name of a table ends in .csv, .tsv, .jsonl"),
        (["q.jsonl", "-o", "t.csv"], "nothing to ask: name documents after the questions"),
        (["bad.jsonl", "leases", "-o", "t.csv"], "the type of a question must be number, integer, boolean, date, text"),
        (["twice.jsonl", "leases", "-o", "t.csv"], "the id 'a' is used by 2 questions: each column needs its own"),
        (["faulty.jsonl", "leases", "-o", "t.csv"], "faulty.jsonl:1: the line has no 'question'"),
    ],
)
def test_what_is_wrong_is_said(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    (folder / "bad.jsonl").write_text('{"question": "How much?", "type": "colour"}\n')
    (folder / "twice.jsonl").write_text('{"id": "a", "question": "How much?"}\n{"id": "a", "question": "Who?"}\n')
    (folder / "faulty.jsonl").write_text('{"id": "a"}\n')
    monkeypatch.chdir(folder)
    done = run("extract", *arguments)
    assert done.code == 2
    assert message in done.err
    assert not (folder / "t.csv").exists()


def record(
    answer: str | None, quotes: list[str], question: str = "How much?", why: str = "", answerable: float = 0.9
) -> Record:
    passages = [Passage("a.txt", 0, len(text), text, place=Place(n)) for n, text in enumerate(quotes, 1)]
    citations = tuple(Citation(n, "match", passage, passage) for n, passage in enumerate(passages, 1))
    outcome = None if answer is None else Answer(answer, citations, is_abstention=bool(why), why=why)
    result = QuestionResult("q", question, outcome, Ledger(), shown=tuple(passages), answerable=answerable)
    return Record(0, "q", "k", question, result)


@pytest.mark.parametrize(
    ("answer", "type_", "quotes", "value", "quote"),
    [
        ("510", "number", ["No. 2.", "It costs 510 euros."], 510, "It costs 510 euros."),
        ("10.20", "number", ["It is 10.2 m deep."], 10.2, "It is 10.2 m deep."),
        ("6018", "integer", ["They were 6,018."], 6018, "They were 6,018."),
        ("156.5", "number", ["It costs 510 euros."], 510, "It costs 510 euros."),
        ("156.5", "number", ["It costs 510 or 520 euros."], None, ""),
        ('"1303-01-01"', "date", ["It begins on 1 March 2021."], "2021-03-01", "It begins on 1 March 2021."),
        (
            '"2021-03-01"',
            "date",
            ["Since 2020.", "It begins on 1 March 2021."],
            "2021-03-01",
            "It begins on 1 March 2021.",
        ),
        ("true", "boolean", ["Dogs may enter."], True, "Dogs may enter."),
        ("null", "number", ["It costs 510 euros."], None, ""),
        ("{", "number", ["It costs 510 euros."], None, ""),
        ('"red"', ["red", "blue"], ["The boat is red."], "red", "The boat is red."),
    ],
)
def test_a_typed_value_stands_in_what_was_shown(
    answer: str, type_: Any, quotes: list[str], value: Any, quote: str
) -> None:
    cell = _cell(record(answer, quotes), type_)
    assert (cell.value, cell.quote) == (value, quote)
    assert bool(cell.note) == (value is None or answer in ("156.5", '"1303-01-01"'))


def test_what_is_refused_failed_or_missing_is_an_empty_cell_that_says_so() -> None:
    refused = record("The documents do not hold the answer.", [], why="found none", answerable=0.1)
    assert _cell(refused, None) == ExtractedCell(confidence=0.1, note="found none")
    failed = Record(0, "q", "k", "How much?", None, TaskFault("WindowError", "it does not fit", "assemble.cited"))
    assert _cell(failed, None) == ExtractedCell(note="failed: it does not fit")
    assert _cell(None, None) == ExtractedCell(note="not answered yet")


def test_a_document_cannot_write_a_formula_into_the_table(tmp_path: Path) -> None:
    cells = (
        ExtractedCell("=HYPERLINK(1)", "line 1", "@SUM(A1)"),
        ExtractedCell("-5"),
        ExtractedCell("+49 30"),
        ExtractedCell("-cmd"),
    )
    write_table(tmp_path / "t.csv", ExtractedTable(("a", "b", "c", "d"), (("=x.txt", cells),)))
    with (tmp_path / "t.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["document"], row["a"], row["a: quote"]) == ("'=x.txt", "'=HYPERLINK(1)", "'@SUM(A1)")
    assert (row["b"], row["c"], row["d"]) == ("-5", "+49 30", "'-cmd")


def test_samples_are_restricted_to_their_document() -> None:
    samples = extraction_samples(samples_of(QUESTIONS), ["x/a[1].txt", "x/b.txt"])
    assert [sample.question.id for sample in samples] == [
        "x/a[1].txt#tenant", "x/a[1].txt#rent", "x/b.txt#tenant", "x/b.txt#rent",
    ]  # fmt: skip
    assert samples[0].question.glob == "x/a[[]1].txt"
    assert (samples[0].question.json_schema, samples[1].question.json_schema) == ("", schema_of("number"))
    with pytest.raises(DataError, match="must be number"):
        schema_of(3)
