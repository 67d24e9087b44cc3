"""`longthread calibrate` as its user sees it, on the model that comes along and a small file of labelled sentences."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from cli import progress
from tests.cli.conftest import Run
from tests.models.random_file import random_model

NAMES = ("Anna", "Bruno", "Clara", "David", "Edith", "Felix", "Greta", "Hugo")
THINGS = ("bees", "horses", "stamps", "goats", "clocks", "roses", "coins", "ducks")


def labelled(folder: Path, n: int, n_people: int) -> Path:
    """A file in WikiQA's layout: who keeps what, asked of one of the people."""
    draw = random.Random(0)
    lines = []
    for house in range(n):
        pairs = list(zip(draw.sample(NAMES, n_people), draw.sample(THINGS, n_people), strict=True))
        asked = draw.randrange(n_people)
        question = f"What does {pairs[asked][0]} keep behind house {house}?"
        lines += [f"{question}\t{name} has {thing}.\t{int(k == asked)}" for k, (name, thing) in enumerate(pairs)]
    path = folder / "who.tsv"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


@pytest.mark.parametrize(
    ("is_real", "n", "n_people"),
    [(False, 20, 3), pytest.param(True, 24, 5, marks=pytest.mark.thorough)],
    ids=["tiny", "real"],
)
def test_heads_and_a_threshold_are_found_and_kept(
    run: Run, monkeypatch: pytest.MonkeyPatch, own_cache: Path, tmp_path: Path, is_real: bool, n: int, n_people: int
) -> None:
    model = "smollm2-135m" if is_real else str(random_model(tmp_path))
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)  # a fast machine is done before the first line is due
    data = labelled(tmp_path, n, n_people)
    data.write_text(data.read_text() + "no question\n")
    done = run("calibrate", model, "--data", str(data), "--json")
    assert done.code == 0, done.err
    assert (
        f"left out: {data}:{n * n_people + 1}: must be question TAB sentence TAB 1 or 0, was: no question" in done.err
    )
    probe, exit_ = json.loads(done.out)
    assert (probe["method"], exit_["method"]) == ("probe", "exit")
    for found in (probe, exit_):
        assert found["evidence"]["n_questions"] == n
        kept = json.loads(Path(found["path"]).read_text("utf-8"))
        assert (kept["evidence"], kept["key"]) == (found["evidence"], found["key"])
    if is_real:
        assert probe["evidence"]["auc"] > 0.9
    assert len(probe["with_similarity"]["weights"]) == len(probe["heads"]) + 2
    assert 0 < exit_["threshold"] < 1
    for step in ("read attention", "judge sentences"):
        assert step in done.err
    assert run("calibrate", model, "--data", str(labelled(tmp_path, 5, 3))).code == 2


def test_the_heads_of_the_real_model_tell_the_sentences_apart(run: Run, own_cache: Path, tmp_path: Path) -> None:
    done = run("calibrate", "smollm2-135m", "--data", str(labelled(tmp_path, 20, 3)), "--method", "probe", "--json")
    assert done.code == 0, done.err
    (probe,) = json.loads(done.out)
    assert (probe["method"], probe["evidence"]["n_questions"]) == ("probe", 20)
    assert probe["evidence"]["auc"] > 0.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "prob"], "--method must be one of probe, exit, attention, was: prob"),
        (["--recall", "1.5"], "--recall must be between 0 and 1, was: 1.5"),
        (["--window", "5"], "--window must be at least 128, was: 5"),
        (["--data", "no-such-file.json"], "no-such-file.json: cannot be read"),
    ],
)
def test_bad_input_is_told_in_a_line(run: Run, arguments: list[str], message: str) -> None:
    done = run("calibrate", "smollm2-135m", *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert "Traceback" not in done.err
