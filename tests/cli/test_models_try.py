"""`longthread models try` as its user sees it, with the model that comes along and two questions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli import progress
from pipeline.answers.layouts import LAYOUTS
from pipeline.answers.tried import best_layout, stored
from pipeline.gguf.catalogue import resolve
from pipeline.models.engine import open_engine
from pipeline.models.settings import EngineSettings
from tests.cli.conftest import Run
from tests.models.random_file import random_model


@pytest.mark.parametrize("is_real", [False, pytest.param(True, marks=pytest.mark.thorough)], ids=["tiny", "real"])
def test_a_layout_is_chosen_kept_and_read_again(
    run: Run, monkeypatch: pytest.MonkeyPatch, own_cache: Path, tmp_path: Path, is_real: bool
) -> None:
    path, n = (resolve("smollm2-135m"), 2) if is_real else (random_model(tmp_path), 1)
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)  # a fast machine is done before the first line is due
    done = run("models", "try", str(path), "-n", str(n), "--json")
    assert done.code == 0, done.err
    tried = json.loads(done.out)
    assert (tried["n"], tried["n_answerable"]) == (n, n)
    assert [result["layout"] for result in tried["results"]] == list(LAYOUTS)
    assert f"ask {path.name}: " in done.err
    result = Path(tried.pop("path"))
    assert result.parent.parent == own_cache / "calibrations"
    with open_engine(EngineSettings(n_ctx=256), path) as engine:
        kept = stored(engine)
    assert kept is not None
    assert kept.layout == tried["layout"] == best_layout(kept.results, kept.n_answerable)
    assert all(result.tokens > 200 for result in kept.results)
    assert kept.reuse is not None
    read = {row.way: row.read for row in kept.reuse.results}
    assert list(read) == ["read_passages", "passages", "read_sentences", "sentences"]
    assert read["sentences"] < read["read_sentences"] < read["read_passages"]
    assert kept.reuse.recommended in ("exact", "passages", "sentences")


def test_reuse_alone_needs_a_model_that_was_tried(run: Run, monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> None:
    from pipeline.evaluation import layout_trial

    monkeypatch.setattr(layout_trial, "stored", lambda model: None)
    done = run("models", "try", "smollm2-135m", "--reuse")
    assert (done.code, done.out) == (2, "")
    assert "was not tried yet: run 'longthread models try' without --reuse" in done.err


def test_the_table_names_the_choice(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    from cli.models import print_tried
    from tests.answers.test_tried import result, tried

    console = Console(width=200)
    print_tried(tried("0" * 64), tmp_path / "answers.json", console)
    out = capsys.readouterr().out
    assert "brief" in out
    assert "chosen" in out
    assert "2 of 3 are right with the model's words in the lead and 2 with quotes" in out
    assert result("brief", 3).layout == "brief"


def test_an_unknown_model_is_refused_before_anything_is_indexed(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path))
    done = run("models", "try", "no-such-model")
    assert (done.code, done.out) == (2, "")
    assert "no-such-model" in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "indexes").exists()
