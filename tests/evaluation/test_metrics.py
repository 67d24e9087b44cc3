import math
import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import DataError
from pipeline.evaluation.metrics import METRICS, MetricValues, measure
from pipeline.evaluation.ranking import ranking
from pipeline.evaluation.runs import read_all, read_measures, summary, write_rows
from pipeline.evaluation.spans import n_chars, n_common, touches
from pipeline.records import Record
from pipeline.types import Span
from tests.evaluation.records import citation, line, passage, record, write_run


def values(entry: dict[str, Any], **gold: Any) -> MetricValues:
    return measure(Record.from_dict(line(0, entry, gold)))


def test_spans_cover_each_character_once() -> None:
    some = [Span("a", 0, 10), Span("a", 5, 12), Span("a", 20, 21), Span("b", 0, 3), Span("c", 4, 4)]
    assert n_chars(some) == 12 + 1 + 3
    assert n_common(some, [Span("a", 8, 30), Span("b", 3, 9), Span("z", 0, 9)]) == 4 + 1
    assert n_common(some, some) == n_chars(some)
    assert touches(Span("a", 11, 15), some)
    assert not touches(Span("a", 12, 20), some)
    assert not touches(Span("z", 0, 5), some)


def test_the_answers_measures_leave_citations_out() -> None:
    measured = values(record("In Skelby [1]."), answers=["Skelby"]).values
    assert (measured["em"], measured["f1"], measured["contained"]) == pytest.approx((0, 2 / 3, 1))
    assert values(record("Skelby [1, 2]"), answers=["Skelby"]).values["em"] == 1
    assert "answerability" not in measured
    assert "support_recall" not in measured
    assert "ndcg_at_10" not in measured


@pytest.mark.parametrize(
    ("is_abstention", "gold", "em", "answerability"),
    [
        (True, {"answers": [], "is_answerable": False}, 1, 1),
        (False, {"answers": [], "is_answerable": False}, 0, 0),
        (True, {"answers": ["Skelby"], "is_answerable": True}, 0, 0),
        (False, {"answers": ["Skelby"], "is_answerable": True}, 1, 1),
    ],
)
def test_answerability(is_abstention: bool, gold: dict[str, Any], em: float, answerability: float) -> None:
    entry = record("Not in the documents." if is_abstention else "Skelby", is_abstention=is_abstention)
    measured = values(entry, **gold).values
    assert (measured["em"], measured["f1"], measured["answerability"]) == (em, em, answerability)


def test_support_is_what_the_prompt_showed_in_characters() -> None:
    shown = [passage("a", 0, "x" * 40), passage("s", 0, "a summary", spans=[("b", 0, 10), ("b", 90, 100)])]
    measured = values(record("", shown), supports=[["a", 30, 50], ["b", 5, 15]]).values
    assert measured["support_recall"] == pytest.approx((10 + 5) / (20 + 10))
    assert measured["support_precision"] == pytest.approx((10 + 5) / (40 + 20))


def test_citations_are_held_against_the_supporting_spans() -> None:
    right, wrong = passage("a", 0, "x" * 10), passage("a", 50, "y" * 10)
    entry = record("s", [right, wrong], [citation(1, right), citation(2, wrong), citation(9, None)])
    measured = values(entry, supports=[["a", 5, 20], ["a", 20, 30]]).values
    assert measured["citation_precision"] == pytest.approx(1 / 3)
    assert measured["citation_recall"] == pytest.approx(1 / 2)


def test_what_has_no_value_has_a_reason_instead() -> None:
    entry = record("s")
    entry["ledger"]["generation"] = None
    measured = values(entry, supports=[["a", 0, 5]])
    assert measured.missing == {
        "support_precision": "no passage was shown",
        "citation_precision": "the answer cites nothing",
        "prefill_tokens_per_s": "nothing was read or written",
        "decode_tokens_per_s": "nothing was read or written",
    }
    assert (measured.values["support_recall"], measured.values["citation_recall"]) == (0, 0)
    assert (measured.values["prefill_s"], measured.values["decode_s"]) == (0, 0)
    failed = measure(Record.from_dict(line(0, None, {"answers": ["x"]}, error="too long")))
    assert failed.values == {}
    assert set(failed.missing.values()) == {"not answered: too long"}
    assert {"em", "f1", "seconds", "prompt_tokens"} <= set(failed.missing)


def test_costs_are_of_the_ledger() -> None:
    measured = values(record("s", tokens=120, seconds=2.0)).values
    assert measured["prompt_tokens"] == 120
    assert (measured["seconds"], measured["compress_s"]) == (2.0, 0.5)
    assert (measured["prefill_s"], measured["decode_s"]) == (0.5, 0.25)
    assert measured["prefill_tokens_per_s"] == (120 - 20) / 0.5
    assert measured["decode_tokens_per_s"] == 10 / 0.25


def test_a_ranking_by_the_formula() -> None:
    """Documents rank where their first passage does; what is not judged is worth nothing."""
    gains = {"a": 3, "b": 1, "c": 2, "d": 0}
    measured = ranking(["x", "b", "x", "a", "b", "d"], gains)
    dcg = 1 / math.log2(3) + 3 / math.log2(4)
    best = 3 / math.log2(2) + 2 / math.log2(3) + 1 / math.log2(4)
    assert measured["ndcg_at_10"] == pytest.approx(dcg / best)
    assert measured["recall_at_10"] == pytest.approx(2 / 3)
    assert measured["mrr"] == pytest.approx(1 / 2)
    assert ranking([], gains) == dict.fromkeys(measured, 0.0)
    many = ranking([*(f"x{n}" for n in range(10)), "a"], gains)
    assert (many["ndcg_at_10"], many["recall_at_10"], many["mrr"]) == pytest.approx((0, 0, 1 / 11))
    assert many["recall_at_100"] == pytest.approx(1 / 3)
    metrics = values(record("", retrieved=["x", "b", "x", "a", "b", "d"]), gains=gains)
    assert {name: metrics.values[name] for name in measured} == pytest.approx(measured)


def test_a_runs_folder_is_read_measured_and_summed_up(tmp_path: Path) -> None:
    lines = [
        line(1, record("Skelby [1]"), {"answers": ["Skelby"]}),
        line(0, record("no"), {"answers": ["Skelby"]}),
        line(2, None, {"answers": ["x"]}, error="too long"),
    ]
    folder = write_run(tmp_path / "a", lines)
    with (folder / "records.jsonl").open("a") as file:
        file.write('{"torn')
    run = read_measures(folder)
    assert [row.id for row in run.rows] == ["q0", "q1", "q2"]
    assert run.record("q1").answer == "Skelby [1]"
    assert run.values("em") == [0, 1]
    figures = summary(run)
    assert figures["n_failed"] == 1
    assert figures["metrics"]["em"]["n"] == 2
    assert figures["metrics"]["em"]["mean"] == 0.5
    assert figures["metrics"]["em"]["missing"] == {"not answered: too long": 1}
    assert [m.name for m in run.metrics][:3] == ["em", "f1", "contained"]
    assert len(write_rows(run).read_text().splitlines()) == 3
    assert [row.id for row in read_measures(folder, {"q1"}).rows] == ["q1"]


def test_a_damaged_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no run in this folder \(run.json is missing\)"):
        read_measures(tmp_path)
    folder = write_run(tmp_path / "a", [])
    with pytest.raises(DataError, match="has no records yet"):
        read_measures(folder)
    (folder / "records.jsonl").write_text('{"id": "x"}\n')
    with pytest.raises(DataError, match=r"records.jsonl:1: the line is damaged \(is no record"):
        read_measures(folder)
    (folder / "records.jsonl").write_text('{"id": \n')
    with pytest.raises(DataError, match=r"records.jsonl:1: the line is damaged"):
        read_measures(folder)


@pytest.mark.parametrize(
    ("gold", "message"),
    [
        ("seven", 'gold must be an object, was: "seven"'),
        ([], "gold must be an object, was: []"),
        ({"answers": "seven"}, 'gold.answers must be a list, was: "seven"'),
        ({"answers": [7]}, "gold.answers must be a list of texts, was: 7"),
        ({"answers": [], "supports": {"a": 1}}, 'gold.supports must be a list, was: {"a": 1}'),
        (
            {"answers": [], "supports": [["a", 1]]},
            'gold.supports must be a list of [source, start, end], has: ["a", 1]',
        ),
        ({"answers": [], "gains": ["a"]}, 'gold.gains must be an object, was: ["a"]'),
    ],
)
def test_a_record_whose_gold_is_of_another_kind_is_named(gold: object, message: str, tmp_path: Path) -> None:
    bad = {**line(1, record("seven")), "fields": {"gold": gold}}
    folder = write_run(tmp_path / "a", [line(0, record("seven"), {"answers": ["seven"]}), bad])
    with pytest.raises(DataError, match=re.escape(f"records.jsonl:2: {message}, as `longthread eval` writes it")):
        read_measures(folder)


def test_a_questions_filter_makes_it_another_question(tmp_path: Path) -> None:
    rows = []
    for name, scope in (("a", {}), ("b", {"filter": "kind=pdf"})):
        entry = line(0, record("seven"), {"answers": ["seven"]})
        (row,) = read_measures(write_run(tmp_path / name, [{**entry, "question": {**entry["question"], **scope}}])).rows
        rows.append(row.question_hash)
    assert rows[0] != rows[1]


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    lines = [line(0, record("x"))]
    folders = [write_run(tmp_path / name, lines) for name in ("a/exit", "b/exit", "b/probe")]
    assert [run.name for run in read_all(folders)] == ["a/exit", "b/exit", "b/probe"]
    assert [run.name for run in read_all(folders[1:])] == ["exit", "probe"]
    with pytest.raises(DataError, match="the same folder is named twice"):
        read_all([folders[0], folders[0]])


def test_the_table_of_metrics_is_complete() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    assert all(metric.title and metric.what for metric in METRICS)
