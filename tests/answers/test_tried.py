"""Results of layout trials: chosen by the rule, kept under the file's hash, read back or refused with a message."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.answers import tried as store_module
from pipeline.answers.layouts import LAYOUTS
from pipeline.answers.tried import (
    FOLDER,
    SHIPPED,
    Result,
    ReuseResult,
    ReuseTried,
    Tried,
    Way,
    answer_first,
    best_in_way,
    best_layout,
    best_reuse,
    store,
    stored,
)
from pipeline.errors import ModelError
from pipeline.evaluation.answers import holds
from pipeline.evaluation.layout_trial import answers_shown, trial_questions
from pipeline.gguf import tune
from pipeline.storage.hashes import file_sha256
from pipeline.types import Sampling, Text
from tests.answers.test_judging import STATE, wrote
from tests.models.gguf_file import tiny_llama

HELD_OUT = Path(__file__).parent.parent.parent / "benchmarks" / "trial_held_out"


class FileModel:
    """What a result is looked up by: a model with a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.adapters: tuple[Path, ...] = ()
        self.name = path.name


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def model(tmp_path: Path) -> Any:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(tiny_llama())
    return FileModel(path)


def result(layout: str, right: int = 0, faulty: int = 0, **others: Any) -> Result:
    values: dict[str, Any] = {
        "f1": 0.0,
        "wordless": 0,
        "looped": faulty,
        "echoed": 0,
        "abstained_right": 0,
        "abstained_wrong": 0,
        "tokens": 100,
    }
    return Result(layout=layout, right=right, faulty=faulty, **(values | others))


def tried(key: str, layout: str = "brief") -> Tried:
    return Tried("tiny.gguf", key, layout, "generate", (result(layout, 3),), 4, 3, 2, 2, 2, 1.0, 0, "2026-11-29")


# ------------------------------------------------------------------------------------------------------------- choice
def test_the_most_right_answers_less_faults_win() -> None:
    results = [result("a", right=12, faulty=5), result("b", right=9, faulty=1), result("c", right=8)]
    assert best_layout(results, 30) == "b"


def test_short_answers_outweigh_a_few_more_right_ones() -> None:
    assert best_layout([result("wordy", right=12, f1=0.1), result("brief", right=9, f1=0.7)], 30) == "brief"


def test_both_policies_are_run_on_the_first_answers() -> None:
    """The model's words lead after a second attempt; quotes lead without one."""
    asked: list[tuple[Any, ...]] = []

    def generate(prompts: Any, samplings: Any) -> list[Any]:
        asked.append(tuple(prompts))
        return [SimpleNamespace(result=lambda: wrote("seven beehives")) for _ in prompts]

    generator = SimpleNamespace(sampling=Sampling())
    pipeline: Any = SimpleNamespace(
        config=SimpleNamespace(generator=generator), reader=SimpleNamespace(generate=generate)
    )
    state = replace(STATE, second_prompt=(Text("again"),))
    rows = [(state, wrote("[1]")), (state, wrote("seven"))]
    generated, quoted = answers_shown(pipeline, rows, lambda *_: None)
    assert [one.answer and one.answer.text for one in generated] == ["seven beehives", "seven"]
    assert [one.answer and one.answer.by for one in quoted] == ["quote", "quote"]
    assert asked == [((Text("again"),),)]


def test_ties_go_to_who_declines_rightly_then_to_fewer_tokens() -> None:
    results = [result("a", 9, tokens=50), result("b", 9, abstained_right=2), result("c", 10, 1, abstained_right=2)]
    assert best_layout(results, 30) == "b"
    assert best_layout([*results, result("d", 9, abstained_right=2, abstained_wrong=1, tokens=5)], 30) == "b"
    assert best_layout([*results, result("e", 9, abstained_right=2, tokens=99)], 30) == "e"


def test_quotes_lead_where_they_are_right_more_often() -> None:
    assert answer_first(generated_right=20, quoted_right=21, n_answerable=30) == "generate"
    assert answer_first(generated_right=20, quoted_right=22, n_answerable=30) == "quote"
    assert answer_first(generated_right=28, quoted_right=25, n_answerable=30) == "generate"


def ways(passages: tuple[int, float], sentences: tuple[int, float]) -> tuple[ReuseResult, ...]:
    """Each way with its right answers and the log-probability of right ones; 20 and -1.0 where everything is read."""
    rows: dict[Way, tuple[int, float]] = {
        "read_passages": (20, -1.0),
        "passages": passages,
        "read_sentences": (20, -1.0),
        "sentences": sentences,
    }
    return tuple(ReuseResult(way, right, 0.5, logprob, 1.0, 100) for way, (right, logprob) in rows.items())


def test_reuse_is_recommended_where_it_loses_little() -> None:
    assert best_reuse(ways((15, -1.5), (19, -1.1)), 30) == "sentences"
    assert best_reuse(ways((19, -1.0), (18, -1.0)), 30) == "passages"
    assert best_reuse(ways((20, -1.2), (22, -1.2)), 30) == "exact", "right answers became less likely"
    assert best_reuse(ways((15, -1.0), (15, -1.0)), 30) == "exact"


def test_reuse_is_kept_with_the_layout(model: Any) -> None:
    measured = ReuseTried("sentences", ways((15, -1.5), (19, -1.1)), "", 3.5)
    kept = replace(tried(file_sha256(model.path)), reuse=measured)
    store(kept)
    assert stored(model) == kept


def test_kept_cells_have_a_layout_of_their_own() -> None:
    plain = tried("0" * 64)
    assert {plain.layout_for(reuse) for reuse in ("exact", "passages", "sentences")} == {plain.layout}
    rows = ways((15, -1.5), (19, -1.1))
    measured = tuple(replace(row, layout={"passages": "focus", "sentences": "gone"}.get(row.way, "")) for row in rows)
    kept = replace(plain, reuse=ReuseTried("sentences", measured))
    assert kept.layout_for("exact") == plain.layout != "focus"
    assert kept.layout_for("passages") == "focus"
    assert kept.layout_for("sentences") == plain.layout, "a layout that this version does not know"


def test_the_best_layout_for_kept_cells_has_the_most_points() -> None:
    one = ReuseResult("passages", 20, 0.5, -1.0, 1.0, 100, "brief")
    assert best_in_way([one, replace(one, right=19, f1=0.6, layout="focus")], 30).layout == "focus"
    assert best_in_way([one, replace(one, right=21, f1=0.4, layout="focus")], 30).layout == "brief"
    assert best_in_way([one, replace(one, gold_logprob=-0.9, layout="focus")], 30).layout == "focus"


# -------------------------------------------------------------------------------------------------------------- store
def test_what_is_stored_is_read_again(model: Any, cache: Path) -> None:
    assert stored(model) is None
    kept = tried(file_sha256(model.path))
    path = store(kept)
    assert path == cache / "calibrations" / kept.key[:16] / "answers.json"
    assert stored(model) == kept
    store(replace(kept, answer="quote"))
    assert stored(model) == replace(kept, answer="quote")


def test_a_tuned_file_has_the_result_of_its_source(model: Any) -> None:
    kept = tried(file_sha256(model.path))
    store(kept)
    made = tune.folder() / kept.key[:16] / "tiny.F16.gguf"
    made.parent.mkdir(parents=True)
    made.write_bytes(b"requantised")
    assert stored(FileModel(made)) is None  # type: ignore[arg-type]
    (made.parent / "tune.json").write_text(json.dumps({"source_sha256": kept.key}), "utf-8")
    assert stored(FileModel(made)) == kept  # type: ignore[arg-type]


def test_the_users_result_takes_precedence_over_the_shipped_one(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = file_sha256(model.path)
    shipped = replace(tried(key), date="2026-01-01")
    (tmp_path / "shipped").mkdir()
    (tmp_path / "shipped" / "tiny.json").write_text(json.dumps(asdict(shipped)), "utf-8")
    monkeypatch.setattr(store_module, "SHIPPED", tmp_path / "shipped")
    assert stored(model) == shipped
    store(tried(key))
    assert stored(model) == tried(key)


def test_a_layout_of_another_version_counts_as_not_tried(model: Any) -> None:
    store(tried(file_sha256(model.path), "layout-of-next-year"))
    assert stored(model) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda value: "{", "cannot be read as the result of a trial"),
        (lambda value: "[]", "is not the result of a trial: it has no key"),
        (lambda value: "{}", "is not the result of a trial: it has no key"),
        (lambda value: json.dumps(value | {"n": "four"}), "n: Input should be a valid integer"),
        (lambda value: json.dumps(value | {"answer": "both"}), "answer: Input should be 'generate' or 'quote'"),
        (lambda value: json.dumps(value | {"results": []}), "layout must be one of those in results, was: brief"),
        (lambda value: json.dumps(value | {"n_answerable": 9}), r"n_answerable must be in \[1, 4\], was: 9"),
        (lambda value: json.dumps(value | {"surplus": 1}), "surplus: Unexpected keyword argument"),
    ],
    ids=["cut", "list", "empty", "type", "choice", "no results", "count", "surplus"],
)
def test_a_damaged_file_is_named(model: Any, change: Any, message: str) -> None:
    kept = tried(file_sha256(model.path))
    path = store(kept)
    path.write_text(change(asdict(kept)), "utf-8")
    with pytest.raises(ModelError, match=message) as caught:
        stored(model)
    assert str(path) in str(caught.value)
    assert "longthread models try" in str(caught.value)


# ------------------------------------------------------------------------------------------------------- shipped parts
def test_shipped_results_are_read_and_their_layout_is_the_best_of_their_table() -> None:
    paths = sorted(SHIPPED.glob("*.json"))
    assert paths
    for path in paths:
        value = store_module._CARDS.read(path)
        assert value.layout == best_layout(value.results, value.n_answerable), path.name
        assert {result.layout for result in value.results} == set(LAYOUTS), path.name
        assert value.answer == answer_first(value.generated_right, value.quoted_right, value.n_answerable), path.name
        assert value.n >= 24, path.name
        assert value.n_answerable == round(0.75 * value.n), path.name


def test_the_default_model_has_a_shipped_result() -> None:
    from pipeline.gguf.catalogue import resolve

    path = resolve("smollm2-135m")
    value = stored(FileModel(path))  # type: ignore[arg-type]
    assert value is not None
    assert value.model == path.name


@pytest.mark.parametrize("folder", [FOLDER, HELD_OUT], ids=["trial", "held out"])
def test_an_accepted_answer_stands_in_the_document(folder: Path) -> None:
    questions = trial_questions(folder)
    assert (len(questions), sum(one.is_answerable for one in questions)) == (40, 30)
    assert len({one.id for one in questions}) == 40
    rows = [json.loads(line) for line in (folder / "questions.jsonl").read_text("utf-8").splitlines()]
    for row in rows:
        text = (folder / "documents" / row["source"]).read_text("utf-8")
        assert row["answerable"] == any(holds(text, answer) for answer in row["answers"]), row["id"]


def test_fewer_questions_keep_their_shares_and_are_drawn_alike() -> None:
    few = trial_questions(n=8)
    assert (len(few), sum(one.is_answerable for one in few)) == (8, 6)
    assert few == trial_questions(n=8)
    assert few != trial_questions(n=8, seed=1)
    assert [one.is_answerable for one in trial_questions(n=1)] == [True]
