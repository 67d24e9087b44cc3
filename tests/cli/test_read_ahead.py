"""`longthread index --read-with`: a model reads passages ahead, and `ask` finds them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.read_ahead import describe
from pipeline.reading_ahead import AheadReport, Stop
from tests.cli.conftest import Run
from tests.models.random_file import random_model

PIPELINE = """\
index: {embedder: none, chunk_tokens: 60}
stages:
  - retrieve.bm25: {k: 2}
  - assemble.cited: {reuse: REUSE, layout: brief}
  - generate.llama: {model: smollm2-135m, n_ctx: 4096, max_tokens: 4, threads: 1}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("passages", "exact"):
        (tmp_path / f"{name}.yaml").write_text(PIPELINE.replace("REUSE", name))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "tower.md").write_text("The tower is 48 metres high. It leans to the east.\n" * 8)
    (tmp_path / "docs" / "boat.md").write_text("The boat sails at nine. A ticket costs 14 marks.\n" * 8)
    random_model(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def _own_cache(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTHREAD_CACHE", str(folder / "cache"))


READ = ("index", "docs", "--config", "passages.yaml", "--read-with", "random-0.gguf")


def test_ask_finds_what_was_read(run: Run) -> None:
    done = run(*READ, "--quiet")
    assert done.code == 0, done.err
    assert "random-0.gguf read 4 passages ahead (" in done.out
    assert "0 passages had been read before; cells on disk: " in done.out
    again = run(*READ, "--quiet", "--json")
    report = json.loads(again.out)
    assert (report["n_read"], report["n_kept"], report["n_left"]) == (0, 4, 0)
    ask = ("ask", "How high is the tower?", "--docs", "docs", "--config", "passages.yaml", "--model", "random-0.gguf")
    generation = json.loads(run(*ask, "--json", "--quiet").out)["ledger"]["generation"]
    assert generation["stored_tokens"] == 0


def test_minutes_end_it_and_the_same_command_goes_on(run: Run) -> None:
    done = run(*READ, "--quiet", "--minutes", "1e-9")
    assert done.code == 0
    assert "4 passages left: the minutes are over; the same command goes on" in done.out
    assert "read 4 passages ahead" in run(*READ, "--quiet").out


def test_an_index_of_its_own_is_read_as_it_is(run: Run) -> None:
    assert run("index", "docs", "--index", "made", "--config", "passages.yaml", "--quiet").code == 0
    done = run("index", "--index", "made", *READ[2:], "--quiet")
    assert "read 4 passages ahead" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("index", "docs", "--config", "exact.yaml", "--read-with", "random-0.gguf"), "set reuse of assemble.cited"),
        (("index", "--config", "passages.yaml", "--read-with", "random-0.gguf"), "name the files or the index to read"),
        ((*READ, "--minutes", "0"), "--minutes must be greater than 0, was: 0.0"),
        ((*READ, "--minutes", "nan"), "--minutes must be greater than 0, was: nan"),
        ((*READ, "--watch"), "--read-with reads once"),
        (("index", "docs", "--index", "made", "--minutes", "3"), "--minutes limits --read-with"),
        (("index", "-", *READ[2:]), "standard input cannot be kept in an index"),
        (("index", "docs", "--config", "passages.yaml", "--read-with", "none.gguf"), "none.gguf"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(run: Run, arguments: tuple[str, ...], message: str) -> None:
    done = run(*arguments)
    assert done.code == 2
    assert message in " ".join(done.err.split())
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("stopped", "line"),
    [
        ("time", "3 passages left: the minutes are over; the same command goes on"),
        ("interrupted", "3 passages left: interrupted; the same command goes on"),
        (
            "disk",
            "3 passages left: the limit of cells on disk is reached (LONGTHREAD_CELLS_DISK_MB); raise it to keep more",
        ),
        (
            "room",
            "3 passages left: the model's context has no room for the next one beside the prompts that it holds; raise "
            "n_ctx of generate.llama",
        ),
    ],
)
def test_what_ended_the_reading_is_said_with_what_to_do(stopped: Stop, line: str) -> None:
    assert describe(AheadReport(9, 2, 4, 3, 0, 400, 1.5, 1000, stopped), "a.gguf").splitlines()[-1] == line
