"""`longthread run` as its user runs it: exit codes, the summary, and the command that goes on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli.batches import parse_max_errors
from cli.progress import status_text
from pipeline.errors import ConfigError
from pipeline.executors.run import RunStatus
from pipeline.text.counting import duration
from tests.cli.conftest import DEMO, OFFLINE, Run

DOCUMENTS = str(DEMO / "documents")
ROOT = Path(__file__).parent.parent.parent


def questions(folder: Path, *lines: str) -> str:
    path = folder / "q.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


GOOD = tuple(json.dumps({"id": f"q{n}", "question": "How many beehives does the Orla garden have?"}) for n in range(5))


def test_a_run_its_summary_and_its_end(run: Run, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    arguments = ("run", OFFLINE, "--input", questions(tmp_path, *GOOD), "--output", out, "--docs", DOCUMENTS, "-q")
    done = run(*arguments, "--limit", "3")
    assert (done.code, done.err) == (0, "")
    assert f"{out}: 3 of 3 answered, 0 failed" in done.out
    assert re.search(r"3 in \d+\.\d s after \d+\.\d s of loading: .* tokens a second", done.out)
    done = run(*arguments)
    assert "5 of 5 answered, 0 failed (3 of them in earlier runs)" in done.out
    records = [json.loads(line) for line in (tmp_path / "out" / "records.jsonl").read_text().splitlines()]
    assert sorted(one["id"] for one in records) == [f"q{n}" for n in range(5)]
    assert all("seven beehives" in one["record"]["answer"] for one in records)


def test_a_bad_line_is_named_and_the_rest_runs(run: Run, tmp_path: Path) -> None:
    asked = questions(tmp_path, GOOD[0], "nonsense", GOOD[1])
    out = str(tmp_path / "out")
    done = run("run", OFFLINE, "--input", asked, "--output", out, "--docs", DOCUMENTS, "-q")
    assert done.code == 2
    assert "2 of 3 answered, 1 failed" in done.out
    assert f"failed line 2, in input: DataError: {asked}:2: the line is no JSON" in done.out
    assert "correct them in the input, and run it again with --update" in done.out
    questions(tmp_path, GOOD[0], GOOD[2], GOOD[1])
    done = run("run", OFFLINE, "--input", asked, "--output", out, "--docs", DOCUMENTS, "-q", "--update")
    assert done.code == 0
    assert "3 of 3 answered, 0 failed (2 of them in earlier runs)" in done.out
    assert "2 of 3 records still hold" in done.err


def test_too_many_errors_stop_it_with_the_way_on(run: Run, tmp_path: Path) -> None:
    asked = questions(tmp_path, "nonsense", "nonsense", *GOOD)
    arguments = ("--input", asked, "--output", str(tmp_path / "out"), "--docs", DOCUMENTS, "-q")
    done = run("run", OFFLINE, *arguments, "--fail-on-error", "1")
    assert done.code == 2
    assert "0 answered, 2 failed, 5 missing." in done.err
    assert f"To resume: longthread run {OFFLINE} --input {asked}" in done.err
    assert "2 samples failed, and --fail-on-error allows 1" in done.err


def test_a_named_document_that_cannot_be_read_is_an_error_and_the_rest_is_asked(run: Run, tmp_path: Path) -> None:
    broken, out = tmp_path / "broken.pdf", tmp_path / "out"
    broken.write_bytes(b"%PDF-1.7\nthis is all there is")
    arguments = ("run", OFFLINE, "--input", questions(tmp_path, GOOD[0]), "--output", str(out), "-q", "--docs")
    done = run(*arguments, str(broken))
    assert done.code == 2
    assert re.fullmatch(r"longthread: nothing could be read:\n.*broken\.pdf: a broken PDF, .*\n", done.err)
    assert not out.exists()
    done = run(*arguments, DOCUMENTS, "--docs", str(broken))
    assert done.code == 2
    assert "1 of 1 answered" in done.out
    assert re.search(r"^longthread: .*broken\.pdf: a broken PDF", done.err, re.MULTILINE)
    (command,) = re.findall(r"1 file was not read: longthread (.*) lists them", done.err)
    assert "broken.pdf" in run(*command.split()).out


def test_a_filter_that_leaves_nothing_is_told_once_before_anything_is_asked(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("--input", questions(tmp_path, *GOOD), "--output", str(out), "--docs", DOCUMENTS, "-q")
    done = run("run", OFFLINE, *arguments, "--filter", "kind=pdf")
    assert (done.code, done.out) == (2, "")
    assert "the filter 'kind=pdf' leaves none of 4 documents to search. What there is: kind is " in done.err
    assert "To re" not in done.err
    assert not out.exists()


def test_retrying_is_offered_for_what_may_end_otherwise(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filtered = json.dumps({"id": "none", "question": "Which bees?", "filter": "kind=pdf"})
    out = tmp_path / "out"
    arguments = ("run", OFFLINE, "--input", questions(tmp_path, GOOD[0], filtered), "--docs", DOCUMENTS, "-q")
    done = run(*arguments, "--output", str(out))
    assert done.code == 2
    assert "failed none, in retrieve.bm25: DataError: the filter 'kind=pdf' leaves none of 4 documents" in done.out
    assert "--retry-errors" not in done.out
    records = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    assert {record["id"]: record["question"].get("filter") for record in records} == {"q0": None, "none": "kind=pdf"}

    def fail(*_: object) -> None:
        raise OSError("the disk is away")

    monkeypatch.setattr("pipeline.retrieval.index.DocumentIndex.search_bm25", fail)
    done = run(*arguments, "--output", str(tmp_path / "other"), "--retry", "0")
    assert "To retry the failures: longthread run" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--executor", "cloud"), "--executor must be local or ray, was: cloud"),
        (("--fail-on-error", "some"), "--fail-on-error must be a number of questions, or a share"),
        (("--model", "none"), "needs a pipeline with generate.llama"),
    ],
)
def test_arguments_that_are_none(run: Run, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    asked = questions(tmp_path, *GOOD)
    done = run("run", OFFLINE, "--input", asked, "--output", str(tmp_path / "out"), "-q", *arguments)
    assert (done.code, message in done.err, "Traceback" in done.err) == (2, True, False)
    done = run("run", OFFLINE, "--input", asked, "--output", str(tmp_path / "out"), "-q")
    assert "name your documents (--docs) or an index (--index)" in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("executor", ["local", "ray"])
def test_ctrl_c_ends_cleanly_and_says_how_to_go_on(tmp_path: Path, executor: str) -> None:
    asked = questions(tmp_path, *(GOOD[0].replace("q0", f"q{n}") for n in range(3000)))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "cli.main", "run", OFFLINE, "--input", asked, "-o", str(out), "--docs", DOCUMENTS]
    command += ["--executor", executor]
    environment = {**os.environ, "LONGTHREAD_CACHE": str(tmp_path / "cache")}
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job has it ignored
    )
    records = out / "records.jsonl"
    while process.poll() is None and not (records.exists() and records.stat().st_size > 0):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said, err = process.communicate()
    assert (process.returncode, said) == (130, "")
    assert "Traceback" not in err
    n_kept = len([json.loads(line) for line in records.read_text().splitlines()])
    assert f"{n_kept} answered, 0 failed, {3000 - n_kept} missing." in err
    assert "To resume: longthread run " in err


def test_the_budget_in_words() -> None:
    assert (parse_max_errors(None), parse_max_errors("12"), parse_max_errors("0.05"), parse_max_errors("5%")) == (
        None,
        12,
        0.05,
        0.05,
    )
    with pytest.raises(ConfigError, match=r"was: 1\.5"):
        parse_max_errors("1.5")


def test_progress_in_words() -> None:
    status = RunStatus(
        n_samples=100, n_before=10, n_ok=38, n_failed=2, seconds=20.0, prompt_tokens=9000, answer_tokens=400
    )
    assert status_text(status) == "2 failed, 2.00 a second, 20 tokens/s written, 25 s left"
    assert [duration(seconds) for seconds in (3, 89, 120, 7500)] == ["3 s", "89 s", "2 min", "2 h 05 min"]
