"""A grid runs by a method, is resumed, refuses what cannot be, and comes out as figures and pictures."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.answers.llama import Llama
from pipeline.errors import ConfigError, DataError, RunError, WindowError
from pipeline.evaluation.needles.grid import NeedleCell, NeedleGrid
from pipeline.evaluation.needles.methods import METHODS, NeedleMethod, method, scripted, with_reader
from pipeline.evaluation.needles.page import write_report
from pipeline.evaluation.needles.pictures import effective, heat_maps
from pipeline.evaluation.needles.running import CellResult, Results, read_results, run_grid, sizes_of
from pipeline.evaluation.needles.table import TASKS
from pipeline.evaluation.needles.tasks.single import Single
from pipeline.evaluation.needles.tasks.thread import Thread
from pipeline.evaluation.statistics import wilson
from pipeline.models.scripted import ScriptedModel
from pipeline.storage.checked_json import with_checksum

CONFIGS = Path(__file__).parent.parent.parent / "configs" / "needles"


def silent(*_: Any) -> None:
    pass


def scripted_method(name: str, n_ctx: int = 1 << 20) -> NeedleMethod:
    return replace(method(name), config=scripted(method(name).config, n_ctx))


def ask(folder: Path, grid: NeedleGrid, name: str = "full", n_ctx: int = 1 << 20) -> Results:
    return run_grid(grid, scripted_method(name, n_ctx), folder, silent, silent, silent)


def test_every_task_has_its_cells() -> None:
    grid = NeedleGrid(tasks=tuple(TASKS)[:9], pairs=(50, 30), lengths=(2, 3), directions=("forward", "random"), n=3)
    cells = grid.cells()
    assert len(cells) == 2 * (3 + 5 * 4 + 1)
    for cell in cells:
        trials = grid.trials(cell)
        assert len(trials) == len({trial.id for trial in trials}) == 3
        assert dict(trials[0].cell) == {**cell.to_dict(), "task": cell.task.name}


def test_another_seed_is_another_haystack() -> None:
    cell = NeedleCell(Single(), 20)
    texts = {trial.haystack for seed in (0, 1) for trial in NeedleGrid(pairs=(20,), n=30, seed=seed).trials(cell)}
    assert len(texts) == 6  # 11 depths a haystack, three haystacks a seed


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"tasks": ("thraed",)}, "there is no task 'thraed', did you mean 'thread'"),
        ({"needles": (0,)}, "`needles`: numbers of at least 1 are needed, were: \\[0\\]"),
        ({"pairs": ()}, "`pairs`: numbers of at least 1 are needed"),
        ({"n": 0}, "`n` must be at least 1, was: 0"),
        ({"tasks": ("babi1",)}, "the task babi1 needs `data`"),
    ],
)
def test_bad_grids(settings: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        NeedleGrid(**settings)


def test_a_thread_longer_than_the_haystack() -> None:
    with pytest.raises(DataError, match="a thread of length 30 needs 30 pairs, and the haystack has 12"):
        NeedleGrid(tasks=("thread",), pairs=(12,), lengths=(30,)).cells()


def test_every_file_is_a_method_and_every_method_a_file() -> None:
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == set(METHODS)
    assert {name: method(name).given for name in METHODS} == {
        **dict.fromkeys(METHODS, "index"),
        **dict.fromkeys(("full", "exit", "probe"), "haystack"),
        "oracle": "needles",
        "memory": "memory",
    }


def test_a_method_by_its_file_and_by_a_wrong_name() -> None:
    assert method(str(CONFIGS / "hops.yaml")).given == "index"
    assert method(str(CONFIGS / "oracle.yaml")).given == "haystack"  # a file gives whole texts
    with pytest.raises(ConfigError, match="there is no method 'hop', did you mean 'hops'"):
        method("hop")
    changed = with_reader(method("full").config, {"n_ctx": 512, "model": None})
    assert isinstance(changed.generator, Llama)
    assert (changed.generator.n_ctx, changed.generator.model) == (512, "smollm2-135m")


def test_the_scripted_model_repeats_the_haystack_and_is_scored_for_it(tmp_path: Path) -> None:
    results = ask(tmp_path / "run", NeedleGrid(pairs=(5, 10), n=4), "oracle")
    assert [(cell.cell.pairs, cell.n, cell.accuracy.mean) for cell in results.cells] == [(5, 4, 0.0), (10, 4, 0.0)]
    lines = [json.loads(line) for line in (tmp_path / "run" / "scores.jsonl").read_text().splitlines()]
    assert len(lines) == 8
    assert {line["score"]["fault"] for line in lines} <= {"format_error", ""}
    assert json.loads((tmp_path / "run" / "results.json").read_text())["cells"] == [
        cell.to_dict() for cell in results.cells
    ]


@pytest.mark.parametrize("name", ["full", "one-shot", "hops", "hops-prose", "hops-prose-end", "memory"])
def test_every_method_runs_and_goes_on(tmp_path: Path, name: str) -> None:
    grid = NeedleGrid(tasks=("thread", "sentences"), pairs=(30,), lengths=(2,), n=3)
    first = ask(tmp_path / "run", grid, name)
    assert [cell.n for cell in first.cells] == [3, 3]
    records = tmp_path / "run" / "run" / "records.jsonl"
    whole = records.read_text().splitlines(keepends=True)
    records.write_text("".join(whole[:2]) + whole[2][:40])  # as a kill leaves it
    assert read_results(tmp_path / "run").n_missing == 4
    again = ask(tmp_path / "run", grid, name)
    assert again.n_missing == 0
    after = records.read_text().splitlines(keepends=True)
    assert after[:2] == whole[:2]
    replies = [
        {json.loads(line)["id"]: json.loads(line)["record"]["answer"] for line in lines} for lines in (whole, after)
    ]
    assert replies[0] == replies[1]


def test_an_index_holds_each_question_to_its_own_haystack(tmp_path: Path) -> None:
    ask(tmp_path / "run[1]", NeedleGrid(tasks=("thread",), pairs=(30,), lengths=(3,), n=8), "hops")
    lines = (tmp_path / "run[1]" / "run" / "records.jsonl").read_text().splitlines()
    for record in map(json.loads, lines):
        (shown,) = record["record"]["shown"]
        assert Path(shown["source"]).name == record["fields"]["haystack"]
        assert shown["text"].endswith(f'"{record["fields"]["expected"][0]}"')
    assert len({json.loads(line)["fields"]["haystack"] for line in lines}) > 1


def test_another_grid_does_not_mix_in(tmp_path: Path) -> None:
    ask(tmp_path / "run", NeedleGrid(pairs=(5,), n=2))
    with pytest.raises(RunError, match="holds a run of another grid: name another `output` folder"):
        ask(tmp_path / "run", NeedleGrid(pairs=(5,), n=3))
    with pytest.raises(RunError, match="holds a run of another method, another config_hash"):
        ask(tmp_path / "run", NeedleGrid(pairs=(5,), n=2), "one-shot")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("x")
    with pytest.raises(RunError, match="holds no needle run, but other files"):
        ask(tmp_path / "other", NeedleGrid(pairs=(5,), n=2))
    with pytest.raises(DataError, match=r"there is no needle run in this folder \(needles.json is missing\)"):
        read_results(tmp_path / "other")


def test_a_run_of_an_older_longthread_is_read_and_resumed(tmp_path: Path) -> None:
    """Format 1 called the method an arm."""
    grid = NeedleGrid(pairs=(5,), n=2)
    before = ask(tmp_path / "run", grid)
    path = tmp_path / "run" / "needles.json"
    plan = json.loads(path.read_text())
    plan = {**plan, "format": 1, "arm": plan.pop("method")}
    path.write_text(json.dumps(with_checksum({name: value for name, value in plan.items() if name != "checksum"})))
    assert read_results(tmp_path / "run") == before
    assert ask(tmp_path / "run", grid) == before
    assert json.loads(path.read_text())["method"] == "full"


def test_sizes_beyond_the_context_are_refused_before_anything_is_asked(tmp_path: Path) -> None:
    with pytest.raises(WindowError) as error:
        ask(tmp_path / "run", NeedleGrid(pairs=(20, 200, 300), n=2), n_ctx=260)
    assert str(error.value).startswith(
        "2 cells do not fit the window of scripted: it holds 260 tokens, of which 100 are kept for the answer:\n"
        "  single at 200 pairs (16000 characters): 4"
    ) or "single at 200 pairs (16000 characters)" in str(error.value)
    assert "beyond the trained context with `rope`" in str(error.value)
    assert not (tmp_path / "run" / "run").exists()
    assert [cell.n for cell in ask(tmp_path / "hops", NeedleGrid(pairs=(300,), n=2), "hops", n_ctx=260).cells] == [2]


@pytest.mark.parametrize("task", ["single", "sentences", "lines"])
def test_sizes_in_tokens_are_near_what_was_asked(tmp_path: Path, task: str) -> None:
    reader = ScriptedModel()
    grid = sizes_of(NeedleGrid(tasks=(task,), n=1), (300, 600), reader)
    for cell, wanted in zip(grid.cells(), (300, 600), strict=True):
        assert 0.85 * wanted < reader.count_text(grid.trials(cell)[0].haystack) < 1.1 * wanted


def result(pairs: int, hits: int, n: int, length: int = 2) -> CellResult:
    return CellResult(
        NeedleCell(Thread(length), pairs),
        pairs * 50,
        n,
        0,
        wilson(hits, n),
        wilson(hits, n),
        0.0,
        0.0,
        0.0,
        {},
        1.0,
        100.0,
    )


def test_effective_context_is_the_monotone_envelope() -> None:
    cells = [result(10, 20, 20), result(20, 19, 20), result(40, 18, 20), result(80, 20, 20)]
    held = effective(cells)
    assert held is not None
    assert held.cell.pairs == 20  # 18 of 20 has a lower bound of 0.70, and what holds behind it does not count
    assert effective(list(reversed(cells)), 0.65) == cells[-1]
    assert effective(cells[2:]) is None
    assert effective([]) is None


def test_pictures_and_page(tmp_path: Path) -> None:
    grid = NeedleGrid(pairs=(5, 10), n=11)
    results = ask(tmp_path / "run", grid)
    files = {path.name: path.read_bytes() for path in write_report(results)}
    assert set(files) == {
        *(f"accuracy-by-{name}.{kind}" for name in ("size", "depth-1") for kind in ("svg", "png")),
        "report.html",
    }
    assert files["accuracy-by-size.png"].startswith(b"\x89PNG")
    page = files["report.html"].decode()
    assert page.count("<svg") == 2
    assert "src=" not in page
    assert "@import" not in page
    assert all(trial.expected[0] in page for trial in grid.trials(NeedleCell(Single(), 5)))
    assert files == {path.name: path.read_bytes() for path in write_report(read_results(tmp_path / "run"))}


def test_a_contour_needs_rows_and_columns(tmp_path: Path) -> None:
    grid = NeedleGrid(tasks=("thread",), pairs=(10, 20, 40), lengths=(2, 3))
    cells = tuple(result(p, 20 if p < 40 else 2, 20, length) for length in (2, 3) for p in (10, 20, 40))
    results = Results(tmp_path, grid, "full", "m", cells, (), 0)
    (heat,) = heat_maps(results)
    assert heat.marks == (1, 1)
    assert heat.columns == ("500 tokens", "1000 tokens", "2000 tokens")
    assert heat.means == [[1.0, 1.0, 0.1], [1.0, 1.0, 0.1]]
    (tmp_path / "scores.jsonl").write_text("")
    assert len(write_report(results)) == 3
