"""`eval`, `compare` and `sweep` as their user runs them, with the scripted model."""

import json
import re
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.evaluation import layouts
from tests.evaluation.layouts import write

SEARCH = """\
index: {embedder: none, chunk_tokens: 60}
stages:
  - retrieve.bm25: {k: 2}
  - assemble.cited: {show_titles: false}
  - generate.scripted
"""
GIVEN = SEARCH.replace("retrieve.bm25: {k: 2}", "retrieve.given")
NARROW = SEARCH.replace("{k: 2}", "{k: 1}")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, text in (("search", SEARCH), ("given", GIVEN), ("narrow", NARROW)):
        (tmp_path / f"{name}.yaml").write_text(text)
    write(tmp_path / "squad.json", layouts.SQUAD)
    write(tmp_path / "squad2.json", layouts.SQUAD2)
    write(tmp_path / "hotpot.json", [layouts.HOTPOT])
    write(tmp_path / "musique.json", [layouts.MUSIQUE])
    write(tmp_path / "own.jsonl", layouts.OWN, as_lines=True)
    layouts.beir(tmp_path / "beir")
    layouts.cranfield(tmp_path / "smart")
    return tmp_path


KINDS = [
    ("squad", "squad.json", "f1"),
    ("squad", "squad2.json", "answerability"),
    ("hotpotqa", "hotpot.json", "support_recall"),
    ("musique", "musique.json", "citation_recall"),
    ("jsonl", "own.jsonl", "f1"),
    ("beir", "beir", "ndcg_at_10"),
    ("smart", "smart", "mrr"),
]


@pytest.mark.parametrize(("kind", "path", "metric"), KINDS, ids=[row[1] for row in KINDS])
def test_every_kind_is_searched_and_measured(kind: str, path: str, metric: str, files: Path, run: Run) -> None:
    out = files / "out"
    arguments = ("--data", str(files / path), "--kind", kind, "--output", str(out), "--json", "-q")
    done = run("eval", str(files / "search.yaml"), str(files / "narrow.yaml"), *arguments)
    assert done.code == 0, done.err
    told = json.loads(done.out)
    first = told["runs"][0]
    assert (first["name"], first["n_failed"]) == ("search", 0)
    assert first["metrics"][metric]["n"] == first["n_questions"]
    assert first["metrics"]["seconds"]["mean"] > 0
    assert first["peak_memory_mb"] > 10
    assert told["comparison"]["runs"] == ["search", "narrow"]
    names = {"report.html", "report.png", "summary.json", "eval.json", "search", "narrow"}
    assert {one.name for one in out.iterdir()} >= names - {"report.png"}
    rows = [json.loads(line) for line in (out / "search" / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == first["n_questions"]
    assert {"id", "status", "values", "missing"} == set(rows[0])


def test_a_searched_corpus_has_its_gold_at_the_files_offsets(files: Path, run: Run) -> None:
    """What supports an answer is moved with the text that a file puts below its title."""
    for kind, path in (("squad", "squad.json"), ("hotpotqa", "hotpot.json"), ("jsonl", "own.jsonl")):
        out = files / f"out-{path}"
        run("eval", str(files / "search.yaml"), "--data", str(files / path), "-k", kind, "-o", str(out), "--json", "-q")
        (line, *_) = (out / "search" / "records.jsonl").read_text().splitlines()
        record = json.loads(line)
        spans = record["fields"]["gold"]["supports"]
        texts = [Path(source).read_text("utf-8")[start:end] for source, start, end in spans]
        assert texts == (["Blane keeps it."] if kind == "squad" else ["Blane keeps it.", "Blane was born in Skelby."])
        found = {one["source"] for one in record["record"]["found"]}
        assert found & {source for source, _, _ in spans}


def test_documents_that_come_along_are_taken_as_given(files: Path, run: Run) -> None:
    for kind, path in (("squad", "squad.json"), ("hotpotqa", "hotpot.json"), ("musique", "musique.json")):
        arguments = ("--data", str(files / path), "-k", kind, "-o", str(files / f"out-{kind}"), "--json", "-q")
        done = run("eval", str(files / "given.yaml"), *arguments)
        assert done.code == 0, done.err
        assert json.loads(done.out)["runs"][0]["metrics"]["support_recall"]["mean"] == 1
    done = run(
        "eval", str(files / "given.yaml"), "--data", str(files / "beir"), "-k", "beir", "-o", str(files / "b"), "-q"
    )
    assert (done.code, done.out) == (2, "")
    assert "no documents come with question q1" in done.err
    assert "retrieve.hybrid" in done.err


def test_an_eval_goes_on_where_it_was_and_prints_its_tables(files: Path, run: Run) -> None:
    arguments = ("--data", str(files / "own.jsonl"), "-k", "jsonl", "-o", str(files / "out"), "-q")
    pipelines = (str(files / "search.yaml"), str(files / "given.yaml"))
    assert run("eval", *pipelines, *arguments, "--limit", "1").code == 0
    before = (files / "out" / "search" / "records.jsonl").read_text()
    done = run("eval", *pipelines, *arguments)
    assert done.code == 0, done.err
    after = (files / "out" / "search" / "records.jsonl").read_text()
    assert after.startswith(before)
    assert len(after.splitlines()) == 2
    assert "Means, with 95 % intervals" in done.out
    assert "n 2" in done.out
    assert "Against search, question by question" in done.out
    assert "allowed: they searched different indexes" in done.out
    assert f"written: {files / 'out' / 'report.html'}" in done.out


def test_compare_refuses_and_then_reports(files: Path, run: Run) -> None:
    out = files / "out"
    arguments = ("--data", str(files / "own.jsonl"), "-k", "jsonl", "-o", str(out), "-q")
    run("eval", str(files / "search.yaml"), str(files / "given.yaml"), *arguments)
    done = run("compare", str(out))
    assert (done.code, done.out) == (2, "")
    assert "they searched different indexes" in done.err
    assert "--allow indexes" in done.err
    done = run("compare", str(out / "given"), str(out / "search"), "--allow", "indexes", "--metric", "f1")
    assert done.code == 0, done.err
    assert "Against given, question by question" in done.out
    assert "F1" in done.out
    done = run("compare", str(out), "--allow", "indexes", "--output", str(files / "again"), "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["comparison"]["n_common"] == 2
    assert (files / "again" / "report.html").exists()
    assert "at least two runs" in run("compare", str(out / "given")).err
    assert "there is no run in this folder, and no eval" in run("compare", str(files)).err


def test_bad_arguments_of_eval_are_told(files: Path, run: Run) -> None:
    arguments = ("--data", str(files / "own.jsonl"), "-o", str(files / "out"), "-q")
    pipeline = str(files / "search.yaml")
    assert "did you mean 'jsonl'" in run("eval", pipeline, *arguments, "-k", "jsonlines").err
    assert "did you mean 'f1'" in run("eval", pipeline, *arguments, "-k", "jsonl", "--metric", "ff1").err
    assert "two pipeline files are called 'search'" in run("eval", pipeline, pipeline, *arguments, "-k", "jsonl").err
    assert "generate.llama" in run("eval", pipeline, *arguments, "-k", "jsonl", "--model", "smollm2-135m").err


SWEEP = """\
pipeline: search.yaml
data: own.jsonl
kind: jsonl
vary:
  retrieve.bm25.k: [1, 2]
  stages[1].show_titles: [true, false]
"""


def test_a_sweep_runs_every_combination_and_shows_the_front(files: Path, run: Run) -> None:
    (files / "s.yaml").write_text(SWEEP)
    done = run("sweep", str(files / "s.yaml"), "-o", str(files / "out"), "-q")
    assert done.code == 0, done.err
    names = ["k-1_show_titles-false", "k-1_show_titles-true", "k-2_show_titles-false", "k-2_show_titles-true"]
    assert all(name in done.out for name in names)
    assert "on the front" in done.out
    assert sorted(path.stem for path in (files / "out" / "pipelines").iterdir()) == names
    assert run("check", *map(str, (files / "out" / "pipelines").iterdir())).code == 0
    stamps = {path: path.stat().st_size for path in (files / "out").rglob("records.jsonl")}
    again = run("sweep", str(files / "s.yaml"), "-o", str(files / "out"), "--json", "-q")
    assert {path: path.stat().st_size for path in (files / "out").rglob("records.jsonl")} == stamps
    told = json.loads(again.out)["variants"]
    assert len(told) == 4
    assert any(one["is_front"] for one in told)
    assert {tuple(one["chosen"].items()) for one in told} >= {(("retrieve.bm25.k", 1), ("stages[1].show_titles", True))}
    assert run("compare", str(files / "out")).code == 0


def test_faults_of_a_sweep_are_told_with_their_lines(files: Path, run: Run) -> None:
    (files / "s.yaml").write_text(
        "pipeline: search.yaml\ndata: own.jsonl\nkind: jsonl\nvary:\n"
        "  retrieve.bm25.kk: [1]\n  retrieve.bm25.k: [2, 0]\n"
        "  compress.exit.window: [3]\n  stages[9]: [gate.support]\n"
    )
    done = run("sweep", str(files / "s.yaml"), "-o", str(files / "out"))
    assert done.code == 2
    lines = done.err.replace(f"{files}/", "").replace("longthread: ", "").splitlines()
    assert lines[0] == "s.yaml:5: vary: retrieve.bm25.kk: retrieve.bm25 has no such field, did you mean 'k'?"
    assert lines[1].startswith("s.yaml:6: vary: retrieve.bm25.k: k must be at least 1, was: 0")
    assert lines[2].startswith("s.yaml:7: vary: compress.exit.window: the pipeline has no 'compress.exit'")
    assert lines[3] == "s.yaml:8: vary: stages[9]: 'stages' is a list of 3: go on with a number in brackets, from 0"
    (files / "s.yaml").write_text(
        "pipeline: search.yaml\ndata: own.jsonl\nkind: jsonlines\nvari: {}\nvary: {index: 3}\n"
    )
    done = run("sweep", str(files / "s.yaml"), "-o", str(files / "out"))
    lines = done.err.replace(f"{files}/", "").replace("longthread: ", "").splitlines()
    assert lines == [
        "s.yaml:3: kind: kind must be one of squad, hotpotqa, musique, beir, smart, jsonl, was: jsonlines",
        "s.yaml:4: vari: sweep has no such field; "
        "it has: pipeline, data, kind, docs, limit, sample, seed, model, metric",
        "s.yaml:5: vary: index: must have a list of values, was: 3",
    ]


CONFIGS = Path(__file__).parent.parent.parent / "configs"


@pytest.mark.parametrize(
    "path", sorted((CONFIGS / "eval").glob("*/*.yaml")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_every_pipeline_for_evaluation_is_right_and_says_for_what_it_is(path: Path) -> None:
    from pipeline.answers.llama import Llama
    from pipeline.config import load_config

    assert isinstance(load_config(path).generator, Llama)
    assert path.read_text().startswith("# For ")


def test_the_demos_questions_are_asked_of_its_documents(tmp_path: Path, run: Run) -> None:
    arguments = ("--data", str(CONFIGS / "demo" / "questions.jsonl"), "--kind", "jsonl", "--json", "-q")
    offline, docs = str(CONFIGS / "offline.yaml"), str(CONFIGS / "demo" / "documents")
    done = run("eval", offline, "--docs", docs, *arguments, "--output", str(tmp_path / "out"))
    assert done.code == 0, done.err
    metrics = json.loads(done.out)["runs"][0]["metrics"]
    assert (metrics["mrr"]["mean"], metrics["mrr"]["n"]) == (1, 3)
    assert (metrics["answerability"]["mean"], metrics["answerability"]["n"]) == (1, 4)
    without = run("eval", offline, *arguments, "--output", str(tmp_path / "none"))
    assert "no documents come with its questions: name those to search (--docs)" in without.err
    write(tmp_path / "q.jsonl", [{"question": "x", "answer": "y", "source": "nowhere.md"}], as_lines=True)
    bad = ("--data", str(tmp_path / "q.jsonl"), "--kind", "jsonl", "-q", "--docs", docs)
    assert "no file is called nowhere.md below" in run("eval", offline, *bad, "-o", str(tmp_path / "bad")).err


def test_a_named_document_that_cannot_be_read_is_an_error_and_the_rest_is_measured(tmp_path: Path, run: Run) -> None:
    broken = tmp_path / "broken.pdf"
    broken.write_bytes(b"%PDF-1.7\nthis is all there is")
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(SEARCH)
    docs = ("--docs", str(CONFIGS / "demo" / "documents"), "--docs", str(broken))
    pipelines = [str(tmp_path / f"{name}.yaml") for name in ("a", "b")]
    data = ("--data", str(CONFIGS / "demo" / "questions.jsonl"), "--kind", "jsonl", "-q", "--limit", "1")
    done = run("eval", *pipelines, *docs, *data, "-o", str(tmp_path / "out"), "--json")
    assert done.code == 2
    assert json.loads(done.out)["runs"][0]["n_failed"] == 0
    assert len(re.findall(r"longthread: .*broken\.pdf: a broken PDF", done.err)) == 1, "once for both pipelines"
    assert f"--skipped --config {pipelines[0]} lists them" in done.err
    done = run("eval", *pipelines, *docs[2:], *data, "-o", str(tmp_path / "none"))
    assert done.code == 2
    assert "broken.pdf" in done.err
    assert "To resume" not in done.err
    write(tmp_path / "q.jsonl", [{"question": "How many beehives?", "answer": "seven"}], as_lines=True)
    sweep = f"pipeline: a.yaml\ndata: q.jsonl\nkind: jsonl\ndocs: [{docs[1]}, broken.pdf]\n"
    (tmp_path / "sweep.yaml").write_text(f"{sweep}vary: {{retrieve.bm25.k: [1, 2]}}\n")
    done = run("sweep", str(tmp_path / "sweep.yaml"), "-o", str(tmp_path / "swept"), "-q", "--json")
    assert done.code == 2
    assert len(re.findall(r"longthread: .*broken\.pdf: a broken PDF", done.err)) == 1


def test_a_question_is_asked_with_its_own_filter_which_its_record_keeps(tmp_path: Path, run: Run) -> None:
    asked = "When does the ferry leave the garden?"
    filters = ("name=ferry.md", "kind=html", None)
    rows = [{"id": f"q{n}", "question": asked, "filter": text, "answer": "x"} for n, text in enumerate(filters)]
    write(tmp_path / "q.jsonl", [*rows, {**rows[0], "id": "q3", "filter": "kind=pdf"}], as_lines=True)
    (tmp_path / "search.yaml").write_text(SEARCH)
    docs = ("--docs", str(CONFIGS / "demo" / "documents"), "--data", str(tmp_path / "q.jsonl"), "--kind", "jsonl")
    done = run("eval", str(tmp_path / "search.yaml"), *docs, "-o", str(tmp_path / "out"), "-q")
    assert done.code == 2
    records = [json.loads(line) for line in (tmp_path / "out" / "search" / "records.jsonl").read_text().splitlines()]
    by_id = {record["id"]: record for record in records}
    assert [by_id[f"q{n}"]["question"].get("filter") for n in range(4)] == [*filters, "kind=pdf"]
    found = [{Path(one["source"]).name for one in by_id[f"q{n}"]["record"]["found"]} for n in range(3)]
    assert found[:2] == [{"ferry.md"}, {"garden.html"}]
    assert "leaves none of 4 documents to search" in by_id["q3"]["error"]["message"]
    none = run("eval", str(tmp_path / "search.yaml"), *docs, "-o", str(tmp_path / "no"), "--filter", "kind=pdf", "-q")
    assert none.code == 2
    assert none.err.count("leaves none of 4 documents to search. What there is: kind is") == 1
    assert "To resume" not in none.err


def test_the_demos_sweep_runs(tmp_path: Path, run: Run) -> None:
    done = run("sweep", str(CONFIGS / "demo" / "sweep.yaml"), "-o", str(tmp_path / "out"), "--json", "-q")
    assert done.code == 0, done.err
    assert len(json.loads(done.out)["variants"]) == 4
