"""Questions from files: every line on its own, bad ones named by their number."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import DataError
from pipeline.executors.samples import Sample, chosen, read_samples, without_twins
from pipeline.types import Document, Question


def test_json_lines_with_all_that_they_may_have(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(
        '\ufeff{"id": 7, "question": "When?", "answers": ["noon"], "glob": "*/a/*"}\n\n'
        '{"question": "Where?", "documents": [{"text": "At sea.", "title": "Ferry", "source": "f.md"}, "On land."]}\n',
        encoding="utf-8",
    )
    documents = (Document("f.md", "At sea.", title="Ferry"), Document("document 2", "On land."))
    assert read_samples(path) == [
        Sample(Question("When?", "7", "*/a/*"), {"answers": ["noon"]}),
        Sample(Question("Where?", "3", None, documents)),
    ]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"nonsense", "is no JSON: Expecting value at column 1"),
        (b'{"question": "Why?"', "is no JSON: Expecting ',' delimiter at column 20"),
        (b"[1]", r"must be an object with 'question', was: \[1\]"),
        (b'{"id": "x"}', "has no 'question'"),
        (b'{"question": "  "}', "has no text in 'question'"),
        (b'{"question": "Why?", "id": null}', "has an 'id' that is no text: null"),
        (b'{"question": "Why?", "glob": 1}', "has a 'glob' that is no text: 1"),
        (b'{"question": "Why?", "filter": 1}', "has a 'filter' that is no text: 1"),
        (b'{"question": "Why?", "filter": "kin=pdf"}', "filter 'kin=pdf' has no field 'kin' to compare; did you mean"),
        (b'{"question": "Why?", "documents": "x"}', "has 'documents' that are no list"),
        (b'{"question": "Why?", "documents": [{"title": "x"}]}', "has a document without 'text'"),
        (b'{"question": "caf\xe9?"}', "is not UTF-8"),
        (b"[" * 100_000, "is nested too deeply|is no JSON"),
    ],
)
def test_a_bad_line_is_named_and_the_others_are_read(tmp_path: Path, line: bytes, fault: str) -> None:
    path = tmp_path / "q.jsonl"
    path.write_bytes(b'{"id": "a", "question": "Why?"}\n' + line + b'\n{"id": "b", "question": "How?"}\n')
    first, bad, last = read_samples(path)
    assert (first.fault, last.fault, bad.question.id) == ("", "", "line 2")
    assert re.search(f"q.jsonl:2: the line ({fault})", bad.fault), bad.fault


def test_a_question_may_have_a_filter_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(
        '{"question": "When?", "filter": " kind=pdf and year>=2024 "}\n{"question": "Where?", "filter": ""}\n'
    )
    first, second = read_samples(path)
    assert (first.question.filter, second.question.filter) == ("kind=pdf and year>=2024", "")
    assert first.key("c", None) != replace(first, question=replace(first.question, filter="")).key("c", None)
    table = tmp_path / "q.csv"
    table.write_text("question,Filter\nWhen?,kind=csv\nWhere?,\n")
    assert [(sample.question.filter, sample.fields) for sample in read_samples(table)] == [("kind=csv", {}), ("", {})]


def test_a_table(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    path.write_text('id,question,answer\na,"When, and\nwhere?",noon\n\nb,Why?\nc,,x\n,How?,\n', encoding="utf-8")
    assert read_samples(path) == [
        Sample(Question("When, and\nwhere?", "a"), {"answer": "noon"}),
        Sample(Question("", "line 5"), {}, f"{path}:5: the line has 2 cells, and the first line names 3 columns"),
        Sample(Question("", "line 6"), {}, f"{path}:6: the line has no 'question'"),
        Sample(Question("How?", "7"), {"answer": ""}),
    ]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("none.jsonl", None, "cannot be read"),
        ("q.jsonl", b"\n", "no question"),
        ("q.csv", b"a,b\n1,2\n", "q.csv:1: .*'question'"),
        ("q.csv", b"question\ncaf\xe9\n", "q.csv:2: .*UTF-8"),
        ("q.txt", b"Why?", "must be JSON lines"),
        ("q.jsonl", b"\xff\xfe{\x00x", "no UTF-16"),
    ],
)
def test_files_that_are_none(tmp_path: Path, name: str, data: bytes | None, message: str) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_samples(tmp_path / name)


def test_a_larger_choice_holds_a_smaller_one_and_places_stay() -> None:
    every = [Sample(Question("Why?", str(n))) for n in range(50)]
    small, large = chosen(every, 5, seed=3), chosen(every, 20, seed=3)
    assert {sample.question.id for sample in small} < {sample.question.id for sample in large}
    assert (
        [sample.n for sample in large]
        == [int(sample.question.id) for sample in large]
        == sorted(sample.n or 0 for sample in large)
    )
    assert chosen(every, 5, seed=4) != small
    assert [sample.n for sample in chosen(every, limit=3)] == [0, 1, 2]


def test_a_second_question_of_one_id_is_not_asked() -> None:
    first, second = without_twins([Sample(Question("Why?", "a")), Sample(Question("How?", "a"))])
    assert (first.fault, second.question.id) == ("", "a (again, 2)")
    assert "'a' was used before" in second.fault


def test_the_key_is_of_all_that_an_answer_depends_on() -> None:
    sample = Sample(Question("Why?", "a"), {"gold": 1})
    assert sample.key("c", "i") == Sample(Question("Why?", "a"), {"gold": 2}, n=4).key("c", "i")
    others = [
        Sample(Question("How?", "a")).key("c", "i"),
        Sample(Question("Why?", "b")).key("c", "i"),
        Sample(Question("Why?", "a", "*.md")).key("c", "i"),
        Sample(Question("Why?", "a", None, (Document("d", "text"),))).key("c", "i"),
        Sample(Question("Why?", "a", json_schema='{"type": "number"}')).key("c", "i"),
        sample.key("d", "i"),
        sample.key("c", None),
    ]
    assert len({sample.key("c", "i"), *others}) == 8


LINES = '{"id": 0, "question": "When?\u2028At noon?"}\n{"question": "Where?"}\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_an_id_of_0_a_line_separator_and_every_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "q.jsonl"
    path.write_bytes(LINES.encode(encoding))
    assert read_samples(path) == [Sample(Question("When?\u2028At noon?", "0")), Sample(Question("Where?", "2"))]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("q.csv", "ID;Question;Answer;Kind\na;When, then?;noon;x\n"),
        ("q.csv", 'Id,QUESTION,Answer,Kind\na,"When, then?",noon,x\n'),
        ("q.csv", "id\tquestion\tanswer\tKind\na\tWhen, then?\tnoon\tx\n"),
        ("q.tsv", "id\tquestion\tanswer\tKind\na\tWhen, then?\tnoon\tx\n"),
    ],
)
def test_a_table_by_whatever_parts_its_cells(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_samples(tmp_path / name) == [Sample(Question("When, then?", "a"), {"answer": "noon", "Kind": "x"})]


def test_a_list(tmp_path: Path) -> None:
    (tmp_path / "q.json").write_text('[{"id": "a", "question": "Why?"}, 7]')
    good, bad = read_samples(tmp_path / "q.json")
    assert good == Sample(Question("Why?", "a"))
    assert re.search(r"q\.json: \[1\]: must be an object with 'question', was: 7", bad.fault)


def test_a_line_without_an_id_does_not_take_that_of_another(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text('{"id": "2", "question": "Why?"}\n{"question": "How?"}\n')
    assert [sample.question.id for sample in read_samples(tmp_path / "q.jsonl")] == ["2", "line 2"]


def test_half_a_character_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text('{"question": "Why \\ud83d?"}\n{"question": "How?"}\n')
    bad, good = read_samples(tmp_path / "q.jsonl")
    assert "q.jsonl:1: the line holds half a character" in bad.fault
    assert good == Sample(Question("How?", "2"))


def test_columns_of_one_name_are_refused_and_nameless_ones_get_a_name(tmp_path: Path) -> None:
    (tmp_path / "twice.csv").write_text("question,note,note\nWhy?,a,b\n")
    with pytest.raises(DataError, match=r"twice\.csv:1: two columns are called 'note': give each its own name"):
        read_samples(tmp_path / "twice.csv")
    (tmp_path / "bare.csv").write_text("question,,\nWhy?,a,\n")
    assert read_samples(tmp_path / "bare.csv")[0].fields == {"column 2": "a"}
