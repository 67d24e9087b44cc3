import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigError, DataError
from pipeline.evaluation.corpus import head, materialise
from pipeline.evaluation.data.dataset import DataSet, Gold
from pipeline.evaluation.data.kinds import KINDS, read_data
from pipeline.types import Span
from tests.evaluation import layouts
from tests.evaluation.layouts import BLANE, TOWER, write

SHARED = Path(__file__).parent.parent.parent.parent / "shared" / "data"


def supporting(data: DataSet, n: int = 0) -> list[str]:
    """The supporting texts, read from the documents at the spans' offsets."""
    texts = {document.source: document.text for document in data.corpus()}
    return [texts[span.source][span.start : span.end] for span in data.items[n].gold.supports or ()]


def summaries(data: DataSet) -> list[tuple[str, str, tuple[str, ...], int]]:
    return [(i.question.id, i.question.text, i.gold.answers, len(i.question.documents)) for i in data.items]


def test_squad(tmp_path: Path) -> None:
    data = read_data("squad", write(tmp_path / "a.json", layouts.SQUAD))
    assert summaries(data) == [
        ("who", "Who keeps it?", ("Blane",), 1),
        ("what", "What is it?", ("high", "It is high"), 1),
    ]
    assert [(d.title, d.text) for d in data.corpus()] == [("The Tower", TOWER)]
    assert (supporting(data, 0), supporting(data, 1)) == (["Blane keeps it."], ["It is high."])
    assert {item.gold.is_answerable for item in data.items} == {None}


def test_squad_2(tmp_path: Path) -> None:
    data = read_data("squad", write(tmp_path / "a.json", layouts.SQUAD2))
    who, why = data.items
    assert (who.gold.answers, who.gold.is_answerable) == (("Blane",), True)
    assert why.gold == Gold((), False, None, None)


@pytest.mark.parametrize("item", [layouts.HOTPOT, layouts.HOTPOT_HUB, layouts.HOTPOT_AMOR], ids=["file", "hub", "amor"])
@pytest.mark.parametrize("as_lines", [True, False], ids=["lines", "list"])
def test_hotpotqa(item: dict[str, Any], as_lines: bool, tmp_path: Path) -> None:
    data = read_data("hotpotqa", write(tmp_path / "a.json", [item, {**item, "_id": "h2"}], as_lines))
    assert summaries(data) == [("h1", layouts.BORN, ("Skelby",), 2), ("h2", layouts.BORN, ("Skelby",), 2)]
    assert [(d.title, d.text) for d in data.corpus()] == [("Tower", TOWER), ("Blane", BLANE)]
    assert supporting(data) == ["Blane keeps it.", "Blane was born in Skelby."]


def test_a_fact_that_points_nowhere_is_left_out_and_counted(tmp_path: Path) -> None:
    item = {**layouts.HOTPOT, "supporting_facts": [["Tower", 1], ["Tower", 9], ["Nobody", 0]]}
    data = read_data("hotpotqa", write(tmp_path / "a.json", [item]))
    assert supporting(data) == ["Blane keeps it."]
    assert data.notes == ("2 supporting facts point at no sentence, and are left out",)


def test_musique(tmp_path: Path) -> None:
    data = read_data("musique", write(tmp_path / "a.jsonl", [layouts.MUSIQUE], as_lines=True))
    assert summaries(data) == [("2hop__1", layouts.BORN, ("Skelby", "the town of Skelby"), 3)]
    assert supporting(data) == [TOWER, BLANE]
    assert data.items[0].gold.is_answerable is None
    both = [layouts.MUSIQUE, {**layouts.MUSIQUE, "id": "2hop__2", "answerable": False}]
    full = read_data("musique", write(tmp_path / "b.jsonl", both, as_lines=True))
    assert [(item.gold.is_answerable, item.gold.answers) for item in full.items] == [
        (True, ("Skelby", "the town of Skelby")),
        (False, ()),
    ]


@pytest.mark.parametrize("path", ["", "qrels/test.tsv"])
def test_beir(path: str, tmp_path: Path) -> None:
    data = read_data("beir", layouts.beir(tmp_path / "b") / path)
    assert [(i.question.id, i.question.text, i.gold.gains) for i in data.items] == [
        ("q1", "Blane Skelby", {"beir:d2": 2, "beir:d1": 1, "beir:d3": 0}),
        ("q2", "goat", {"beir:d3": 1}),
    ]
    assert [(d.source, d.title) for d in data.corpus()] == [("beir:d1", "Tower"), ("beir:d2", "Blane"), ("beir:d3", "")]


def test_cranfields_judgements_number_by_order_and_1_is_best(tmp_path: Path) -> None:
    data = read_data("smart", layouts.cranfield(tmp_path / "c"))
    assert [(i.question.id, i.question.text, i.gold.gains) for i in data.items] == [
        ("1", "what is high .", {"smart:1": 4, "smart:2": 1}),
        ("2", "who sings .", {"smart:2": 3, "smart:1": 0}),
    ]
    assert [d.text for d in data.corpus()] == ["the tower\nis high .", "of blane\n\nblane sings ."]
    assert data.notes == ("the judgements number the questions by their order",)


def test_cisis_judgements_are_yes(tmp_path: Path) -> None:
    data = read_data("smart", layouts.cisi(tmp_path / "c"))
    assert [(i.question.id, i.question.text, i.gold.gains) for i in data.items] == [("2", "Who sings?", {"smart:2": 1})]
    assert [d.text for d in data.corpus()] == ["Tower\n\nIt is high.", "On Blane\n\nBlane sings."]


def test_own_lines(tmp_path: Path) -> None:
    data = read_data("jsonl", write(tmp_path / "a.jsonl", layouts.OWN, as_lines=True))
    assert summaries(data) == [("born", layouts.BORN, ("Skelby",), 2), ("2", "Who sings?", ("Blane",), 1)]
    assert supporting(data) == ["Blane keeps it.", "Blane was born in Skelby."]
    assert len(list(data.corpus())) == 2


def test_own_lines_have_a_scope_as_questions_of_a_run_have(tmp_path: Path) -> None:
    lines = [
        {"question": "a", "filter": " kind=pdf and year>=2024 ", "glob": "manual/*"},
        {"question": "b", "filter": "colour=red"},
        {"question": "c", "filter": 7},
        {"question": "d", "glob": []},
    ]
    data = read_data("jsonl", write(tmp_path / "q.jsonl", lines, as_lines=True))
    question = data.items[0].question
    assert (question.filter, question.glob) == ("kind=pdf and year>=2024", "manual/*")
    faults = [fault.removeprefix(f"{tmp_path}/") for _, fault in faults_of(data)]
    assert faults[0].startswith("q.jsonl:2: ")
    assert "colour=red" in faults[0]
    assert faults[1:] == ["q.jsonl:3: has a 'filter' that is no text: 7", "q.jsonl:4: has a 'glob' that is no text: []"]


def test_one_bad_question_of_our_own_lines_does_not_refuse_the_others(tmp_path: Path) -> None:
    lines = [
        {"id": 5, "question": "When?", "answers": ["noon\u2028sharp"]},
        {"id": 0, "question": "Where?", "answer": "at sea"},
        {"id": 0, "question": "Whence?", "answer": "from Skelby"},
        {"question": "Who?", "answers": None},
        {"question": "Why?", "answers": ["salt"]},
    ]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (tmp_path / "a.jsonl").write_text(text, encoding="utf-16")
    items = read_data("jsonl", tmp_path / "a.jsonl").items
    assert [item.question.id for item in items] == ["5", "0", "line 3", "line 4", "line 5"]
    assert [item.gold.answers for item in items if not item.fault] == [("noon\u2028sharp",), ("at sea",), ("salt",)]
    assert "a.jsonl:3: the id '0' stands twice" in items[2].fault
    assert "a.jsonl:4: answers must be a list, was: None" in items[3].fault


def faults_of(data: DataSet) -> list[tuple[str, str]]:
    return [(item.question.id, item.fault) for item in data.items if item.fault]


def test_one_bad_question_of_squad_does_not_refuse_the_others(tmp_path: Path) -> None:
    who = {"id": "who", "question": "Who?", "answers": [{"text": "Blane", "answer_start": TOWER.index("Blane")}]}
    wrong = {**who, "id": "wrong", "answers": [{"text": "Blane", "answer_start": 0}]}
    qas = [who, wrong, 7, {**who, "question": " ", "id": "blank"}, who, {**who, "id": 0}]
    paragraphs = [{"context": TOWER, "qas": qas}, {"qas": []}, "x"]
    value = {"data": [{"title": "T", "paragraphs": paragraphs}, {"title": "U", "paragraphs": 1}]}
    data = read_data("squad", write(tmp_path / "a.json", value))
    assert [item.question.id for item in data.items if not item.fault] == ["who", "0"]
    place = "data[0].paragraphs[0].qas"
    assert [id_ for id_, _ in faults_of(data)] == [
        f"item {place}[1]",
        f"item {place}[2]",
        "item 3, blank",
        "item 4, who",
        "item data[0].paragraphs[1]",
        "item data[0].paragraphs[2]",
        "item data[1]",
    ]
    messages = [fault.removeprefix(f"{tmp_path / 'a.json'}: ") for _, fault in faults_of(data)]
    assert messages[1:] == [
        f"{place}[2]: must be an object, was: 7",
        "the question of 'blank' is empty",
        "the id 'who' stands twice: each question needs its own",
        "data[0].paragraphs[1]: has no 'context'; it has: qas",
        "data[0].paragraphs[2]: must be an object, was: x",
        "data[1]: paragraphs must be a list, was: 1",
    ]


def test_one_bad_question_of_other_layouts_does_not_refuse_the_others(tmp_path: Path) -> None:
    bad = [{**layouts.HOTPOT, "context": [["x", [1]]]}, {**layouts.HOTPOT, "_id": 0}, "x", layouts.HOTPOT]
    data = read_data("hotpotqa", write(tmp_path / "h.json", [layouts.HOTPOT, *bad]))
    assert [item.question.id for item in data.items if not item.fault] == ["h1", "0"]
    assert [id_ for id_, _ in faults_of(data)] == ["item [1]", "item [3]", "item 4, h1"]
    lines = f"{json.dumps(layouts.MUSIQUE)}\n{{\n{json.dumps({**layouts.MUSIQUE, 'answer': None})}\n"
    (tmp_path / "m.jsonl").write_text(lines)
    data = read_data("musique", tmp_path / "m.jsonl")
    assert [id_ for id_, _ in faults_of(data)] == ["item 2", "item 3"]
    assert data.items[0].gold.is_answerable is None, "the good ones say so of each question"


def test_bad_lines_of_collections_are_left_out_and_counted(tmp_path: Path) -> None:
    folder = layouts.beir(tmp_path / "b")
    with (folder / "qrels" / "test.tsv").open("a") as file:
        file.write("q1\td2\nq9\td2\t1\nq2\td2\tmany\n")
    queries = (folder / "queries.jsonl").read_text()
    (folder / "queries.jsonl").write_text(f"{{\n{queries}")
    data = read_data("beir", folder)
    assert [item.question.id for item in data.items if not item.fault] == ["q1", "q2"]
    (fault,) = faults_of(data)
    assert fault[0] == "q9"
    assert data.notes[0].startswith("2 judgements cannot be read, and are left out; the first: ")
    smart = layouts.cranfield(tmp_path / "c")
    with (smart / "cranqrel").open("a") as file:
        file.write("99 1 1\nx\n")
    data = read_data("smart", smart)
    assert [item.question.id for item in data.items] == ["1", "2", "99"]
    assert "judges question 99, and" in data.items[2].fault
    assert data.notes[0] == "the judgements number the questions by their order"
    assert data.notes[1].startswith("1 judgements cannot be read, and are left out; the first: ")


SQUAD_PLACE = r"a.json: data\[0\].paragraphs\[0\].qas\[0\]"


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("squad", {"version": 1}, r"a.json: has no 'data'"),
        ("squad", {"data": [{"paragraphs": [{"qas": []}]}]}, r"a.json: data\[0\].paragraphs\[0\]: has no 'context'"),
        ("hotpotqa", [{**layouts.HOTPOT, "context": [["x"]]}], r"a.json: \[0\]: context must be a list"),
        (
            "hotpotqa",
            [{**layouts.HOTPOT, "context": [["x", [1]]]}],
            r"a.json: \[0\]: not as its layout asks: TypeError",
        ),
        ("hotpotqa", [{**layouts.HOTPOT, "question": 3}], r"a.json: \[0\]: question must be text, was: 3"),
        ("hotpotqa", ["x"], r"a.json: \[0\]: must be an object, was: x"),
        ("musique", [{**layouts.MUSIQUE, "answer": None}], r"a.json: \[0\]: answer must be text, was: None"),
        ("jsonl", [{"question": "x", "anwsers": ["y"]}], "has the unknown key 'anwsers', did you mean 'answers'"),
        ("jsonl", [{"question": " "}], r"a.json: \[0\]: the question is empty"),
        (
            "jsonl",
            [{"question": "x", "documents": [{"text": "abc"}], "supports": [{"document": 1}]}],
            r"supports\[0\]: document must be the number of one, from 0 to 0, was: 1",
        ),
        (
            "jsonl",
            [{"question": "x", "documents": [{"text": "abc"}], "supports": [{"document": 0, "text": "z"}]}],
            r"supports\[0\]: the document does not hold the text 'z'",
        ),
        (
            "jsonl",
            [{"question": "x", "documents": [{"text": "abc"}], "supports": [{"document": 0, "start": 2, "end": 9}]}],
            r"the span must lie in \[0, 3\), was: \[2, 9\)",
        ),
        ("squad", {"data": []}, "a.json: holds no questions"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(kind: str, value: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_data(kind, write(tmp_path / "a.json", value))


def test_an_answer_that_is_not_where_it_says_is_told(tmp_path: Path) -> None:
    wrong = {"text": "Blane", "answer_start": 3}
    qas = [{"id": "1", "question": "Who?", "answers": [wrong]}]
    value = {"data": [{"paragraphs": [{"context": TOWER, "qas": qas}]}]}
    with pytest.raises(
        DataError, match=SQUAD_PLACE + r".answers\[0\]: the answer 'Blane' is not at 3, where .* 'is hi'"
    ):
        read_data("squad", write(tmp_path / "a.json", value))


def test_bad_lines_and_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"question": "x"}\n{"question": \n')
    good, bad = read_data("jsonl", tmp_path / "a.jsonl").items
    assert (good.fault, good.question.text) == ("", "x")
    assert re.search(r"a.jsonl:2: no JSON", bad.fault)
    with pytest.raises(DataError, match="no such file"):
        read_data("jsonl", tmp_path / "missing")
    with pytest.raises(ConfigError, match="no kind of data 'sqad', did you mean 'squad'"):
        read_data("sqad", tmp_path)
    folder = layouts.beir(tmp_path / "b")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td2\n")
    with pytest.raises(DataError, match=r"test.tsv:2: must be question TAB document TAB whole number, was: q1"):
        read_data("beir", folder)
    (folder / "qrels" / "test.tsv").write_text("q9\td2\t1\n")
    with pytest.raises(DataError, match="judges the question 'q9', which"):
        read_data("beir", folder)
    smart = layouts.cranfield(tmp_path / "c")
    (smart / "cranqrel").write_text("9 1 1\n")
    with pytest.raises(DataError, match=r"judges question 9, and .* has 3 questions"):
        read_data("smart", smart)
    (smart / "cranqrel").write_text("1 x 1\n")
    with pytest.raises(DataError, match=r"cranqrel:1: must be question, document and code"):
        read_data("smart", smart)
    (smart / "cran.qry").unlink()
    with pytest.raises(DataError, match=r"no file has \.qry or \.que in its name"):
        read_data("smart", smart)


def test_documents_as_files_stand_at_the_offsets_of_their_spans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows line ends, a NUL and a byte order mark included: the loader's text is the data set's, moved."""
    from pipeline.documents.load import load

    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path / "cache"))
    text = "\ufeffIt is\r\nhigh.\0 Blané keeps it.\rTitle: no"
    items = [
        {
            "question": "x",
            "documents": [{"text": text, "title": "A\nB"}],
            "supports": [{"document": 0, "text": "Blané"}],
        },
        {"question": "y", "documents": [{"text": "<html>no markup</html>"}, {"text": text, "title": "A\nB"}]},
    ]
    data = read_data("jsonl", write(tmp_path / "a.jsonl", items, as_lines=True))
    corpus = materialise(data, lambda what, done, total: None)
    files = sorted(corpus.documents.iterdir())
    assert len(files) == 2
    for document in data.corpus():
        loaded = load(corpus.path_of(document.source))
        assert loaded.title == (" ".join(document.title.split()) or document.source)
        assert loaded.kind == "text"
        moved = loaded.text[len(head(document)) :]
        assert len(moved) == len(document.text.replace("\r\n", " \n"))
    first = next(iter(data.corpus()))
    gold = data.items[0].gold.moved(lambda source: (corpus.path_of(source).as_posix(), len(head(first))))
    (span,) = gold.supports or ()
    assert load(Path(span.source)).text[span.start : span.end] == "Blané"
    assert Gold.from_json(gold.to_json()) == gold


def test_every_kind_has_a_test() -> None:
    assert set(KINDS) == {"squad", "hotpotqa", "musique", "beir", "smart", "jsonl"}


REAL: list[tuple[str, str, int, int, Callable[[DataSet], bool]]] = [
    ("squad", "xquad/xquad.en.json", 1190, 240, lambda data: data.items[0].gold.answers == ("308",)),
    ("squad", "xquad/xquad.tr.json", 1190, 240, lambda data: data.items[0].gold.answers == ("308",)),
    ("hotpotqa", "hotpotqa/literaptor_100.json", 100, 994, lambda data: not data.notes),
    ("hotpotqa", "hotpotqa/amor_train100.json", 100, 998, lambda data: all(i.gold.supports for i in data.items)),
    ("hotpotqa", "2wikimultihopqa/migres_train500.json", 500, 3112, lambda data: data.notes[0].startswith("6 ")),
    ("musique", "musique/hipporag_train100.json", 100, 1890, lambda data: len(data.items[0].gold.answers) == 2),
    ("smart", "cranfield", 225, 1398, lambda data: len(data.items[0].gold.gains or ()) == 29),
    ("smart", "cisi", 76, 1460, lambda data: set((data.items[0].gold.gains or {}).values()) == {1}),
]


@pytest.mark.parametrize(("kind", "path", "n", "n_documents", "is_right"), REAL, ids=[row[1] for row in REAL])
def test_real_files(kind: str, path: str, n: int, n_documents: int, is_right: Callable[[DataSet], bool]) -> None:
    if not (SHARED / path).exists():
        pytest.skip(f"{path} is not here: the shared data folder is no part of the project")
    data = read_data(kind, SHARED / path)
    assert len(data.items) == n
    documents = {document.source: document for document in data.corpus()}
    assert len(documents) == n_documents
    assert is_right(data)
    for item in data.items:
        for span in item.gold.supports or ():
            assert isinstance(span, Span)
            assert documents[span.source].text[span.start : span.end].strip()
