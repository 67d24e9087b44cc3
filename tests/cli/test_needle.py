"""`longthread needle` as its user runs it: figures where all is well, one message and exit code 2 where it is not."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run


@pytest.fixture
def scripted(tmp_path: Path) -> str:
    path = tmp_path / "scripted.yaml"
    path.write_text(
        "index: {embedder: none, chunk_tokens: 32}\nstages:\n  - retrieve.given\n  - assemble.plain\n"
        "  - generate.scripted: {n_ctx: 400}\n"
    )
    return str(path)


def test_a_run_prints_a_heat_map_and_names_its_page(run: Run, tmp_path: Path, scripted: str) -> None:
    arguments = ["needle", "run", "-o", str(tmp_path / "out"), "--method", scripted, "--pairs", "5,10", "-n", "3", "-q"]
    done = run(*arguments)
    assert (done.code, "Traceback" in done.err) == (0, False)
    assert "0% of 3" in done.out
    assert "report.html" in done.out
    again = run(*arguments, "--json")
    assert [cell["pairs"] for cell in json.loads(again.out)["cells"]] == [5, 10]
    told = run("needle", "report", str(tmp_path / "out"), "--json")
    assert told.out == again.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pairs", "400"], "do not fit the window of scripted: it holds 400 tokens"),
        (
            ["--pairs", "12", "-t", "thread", "--length", "30"],
            "a thread of length 30 needs 30 pairs, and the haystack has 12",
        ),
        (["--pairs", "12", "-t", "multiple", "--needles", "0"], "--needles: numbers of at least 1 are needed, were: 0"),
        (["--pairs", "0"], "--pairs: numbers of at least 1 are needed"),
        (["--pairs", "twelve"], "--pairs must be whole numbers with commas between, such as 12,25,50, was: 'twelve'"),
        ([], "say how long the texts are: --pairs 12,25,50 or --tokens 1000,2000"),
        (["--pairs", "12", "-t", "sinlge"], "there is no task 'sinlge', did you mean 'single'"),
        (["--pairs", "12", "--arm", "hop"], "there is no method 'hop', did you mean 'hops'"),
        (["--pairs", "12", "--direction", "up"], "--direction must be one of forward, backward, random, was: up"),
        (["--pairs", "12", "-n", "0"], "-n must be at least 1, was: 0"),
        (["--pairs", "12", "-t", "babi1"], "the task babi1 needs --data"),
        (["--pairs", "12", "-t", "babi1", "--data", "nowhere"], "there is no file qa1_*.txt of bAbI in it"),
        (["--pairs", "12", "-t", "altered", "--data", "nowhere"], "nowhere: cannot be read as SQuAD"),
        (["--pairs", "12", "-t", "sentences", "--book", "nowhere.txt"], "nowhere.txt: no such file or folder"),
        (["--pairs", "12", "--rope", "yarn"], "--rope must be linear|yarn|ntk:FACTOR, such as yarn:4, was: yarn"),
        (["--pairs", "12", "--rope", "yarn:1"], "--rope: the factor must be greater than 1, was: 1"),
        (["--pairs", "12,²"], "--pairs must be whole numbers with commas between"),
        (
            ["--pairs", "12", "--kv", "f64"],
            "--kv must be one of f32, f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0, iq4_nl, was: f64",
        ),
        (["--pairs", "12", "--n-ctx", "8"], "--n-ctx must be at least 64, was: 8"),
        (["--pairs", "12", "--executor", "slurm"], "--executor must be local or ray, was: slurm"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_bad_input(run: Run, tmp_path: Path, scripted: str, arguments: list[str], message: str) -> None:
    method = [] if "--arm" in arguments else ["--method", scripted]
    done = run("needle", "run", "-o", str(tmp_path / "out"), *method, *arguments)
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "out" / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["limit", "smollm2-135m", "-n", "4"], "-n 4 is too few for a threshold of 75%"),
        (["limit", "smollm2-135m", "--minutes", "0"], "--minutes must be greater than 0"),
        (["limit", "no-such-model"], "no-such-model"),
        (["calibrate", "no-such-model"], "longthread needle calibrate is now longthread needle limit"),
        (["verbatim", "smollm2-135m", "--lists", "99"], "--lists must be in [2, 23], was: 99"),
        (["verbatim", "smollm2-135m", "--length", "x"], "--length must be whole numbers"),
        (["verbatim", "smollm2-135m", "--nouns", "nowhere"], "--nouns nowhere: cannot be read"),
        (["report", "nowhere"], "there is no needle run in this folder"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_bad_input_of_the_others(run: Run, arguments: list[str], message: str) -> None:
    done = run("needle", *arguments)
    assert (done.code, "Traceback" in done.err) == (2, False)
    assert message in done.err


def test_a_real_model_follows_a_thread_that_it_cannot_hold(run: Run, tmp_path: Path) -> None:
    """SmolLM2 copies what the search found: the thread is in 250 pairs, over twice its whole context."""
    arguments = "--method hops -t thread --length 5 --direction random --pairs 250 -n 2 --n-ctx 1024 --json -q".split()
    done = run("needle", "run", "-o", str(tmp_path / "out"), *arguments)
    (cell,) = json.loads(done.out)["cells"]
    assert (done.code, cell["tolerant"], cell["chars"]) == (0, 1.0, 20_000)
    assert cell["tokens"] > 16_000
    assert cell["prompt_tokens"] < 400
