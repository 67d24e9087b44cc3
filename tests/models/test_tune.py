"""Tuning: on a model of two layers that is made here, so that every step is real and takes no time."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from pipeline.errors import ModelError
from pipeline.gguf import tune
from pipeline.gguf.header import inspect
from pipeline.gguf.requantise import requantise
from pipeline.gguf.tune import Candidate, TuneReport, is_tuned, tuned
from pipeline.gguf.tune import tune as tune_model
from pipeline.models.trial import TEXT, FileSpeed, FileTrial, OtherPrograms, _divergence
from pipeline.storage.hashes import sha256_of
from tests.models.gguf_file import WHOLE, tiny_llama


def silent(what: str, done: int, total: int) -> None:
    """No progress display."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def f16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    path.write_bytes(tiny_llama())
    return path


@pytest.fixture(scope="module")
def q4(f16: Path) -> Path:
    path = f16.with_name("tiny-q4.gguf")
    path.touch()
    requantise(f16, path, "Q4_0", 0, silent)
    return path


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*/*"))


# ------------------------------------------------------------------------------------------------------- the real thing
def test_going_up_agrees_and_going_down_does_not(q4: Path, cache: Path) -> None:
    report = tune_model(q4, silent, rounds=1)
    by_name = {candidate.quantisation: candidate for candidate in report.candidates}
    assert list(by_name) == ["Q4_0", "F16", "Q8_0"]
    assert [candidate.is_lossless for candidate in report.candidates] == [True, True, True]
    assert (by_name["Q4_0"].divergence, by_name["Q4_0"].agreement) == (None, None)
    for kind in ("F16", "Q8_0"):
        assert 0 <= (by_name[kind].divergence or 0) < tune.MOST_DIVERGENCE
        assert (by_name[kind].agreement or 0) > 0.9
    for role, kind in report.best.items():
        used = tuned(q4, role)
        assert used == (None if kind == "Q4_0" else Path(by_name[kind].path or ""))
        if used is not None:
            assert inspect(used).quantisation == kind
    assert left(cache / "tuned") == sorted(
        [
            *(
                Path(candidate.path).name
                for candidate in report.candidates
                if candidate.path and not candidate.is_given
            ),
            "lock",
            "tune.json",
        ]
    )


def test_down_is_never_chosen(f16: Path) -> None:
    report = tune_model(f16, silent, rounds=1)
    by_name = {candidate.quantisation: candidate for candidate in report.candidates}
    assert {kind: candidate.is_lossless for kind, candidate in by_name.items()} == {
        "F16": True,
        "Q8_0": False,
        "Q4_0": False,
    }
    assert report.best == {"read": "F16", "score": "F16"}
    assert (by_name["Q4_0"].divergence or 0) > 5 * (by_name["Q8_0"].divergence or 0) > 0
    assert (tuned(f16, "read"), tuned(f16, "score"), is_tuned(f16)) == (None, None, True)


def test_what_was_made_is_made_once(q4: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune, "_best", lambda candidates, role: "Q8_0" if role == "read" else "F16")
    first = tune_model(q4, silent, rounds=1)

    def never(*_: object) -> None:
        pytest.fail("written again")

    monkeypatch.setattr(tune, "requantise", never)
    again = tune_model(q4, silent, rounds=1)
    assert [candidate.mtime_ns for candidate in again.candidates] == [
        candidate.mtime_ns for candidate in first.candidates
    ]


def test_a_full_disk_is_said_and_leaves_nothing(q4: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path, n_bytes: int) -> None:
        if n_bytes > 1 << 20:
            raise ModelError(f"{folder}: no room")

    monkeypatch.setattr(tune, "check_room", refuse)
    report = tune_model(q4, silent, rounds=1)
    assert [candidate.quantisation for candidate in report.candidates] == ["Q4_0"]
    assert [note.partition(":")[0] for note in report.notes if not note.startswith("other programs")] == [
        "F16 was not tried",
        "Q8_0 was not tried",
        "to read",
        "to score",
    ]
    assert left(cache / "tuned") == ["lock", "tune.json"]


def test_ctrl_c_leaves_nothing_half(q4: Path, cache: Path) -> None:
    def interrupt(what: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune_model(q4, interrupt, rounds=1)
    assert left(cache / "tuned") == ["lock"]
    assert tuned(q4, "read") is None


def test_a_cache_may_be_named_from_here(q4: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LONGTHREAD_CACHE", "near")
    made = [
        candidate.path
        for candidate in tune_model(q4, silent, rounds=1).candidates
        if candidate.path and not candidate.is_given
    ]
    assert all(Path(path).is_absolute() and Path(path).is_relative_to(tmp_path / "near") for path in made)
    monkeypatch.chdir("/")
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path / "near"))
    assert is_tuned(q4)


def test_what_a_killed_run_left_is_swept_away(q4: Path, cache: Path) -> None:
    home = cache / "tuned" / sha256_of(q4)[:16]
    home.mkdir(parents=True)
    (home / ".tiny-q4.F16.gguf.0123abcd").write_bytes(b"half")
    tune_model(q4, silent, rounds=1)
    assert not list(home.glob(".*"))


def test_two_at_a_time_are_one_too_many(q4: Path, cache: Path) -> None:
    from filelock import FileLock

    home = cache / "tuned" / sha256_of(q4)[:16]
    home.mkdir(parents=True)
    with FileLock(home / "lock"), pytest.raises(ModelError, match=r"^another process is tuning tiny-q4\.gguf; wait"):
        tune_model(q4, silent)


def test_a_file_that_llama_cpp_cannot_load_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "no-model.gguf"
    path.write_bytes(WHOLE)
    with pytest.raises(ModelError, match=r"no-model\.gguf: llama\.cpp cannot load this file: "):
        tune_model(path, silent)


def test_what_llama_cpp_says_of_a_failed_requantising_is_passed_on(tmp_path: Path) -> None:
    source, target = tmp_path / "no-model.gguf", tmp_path / "out.gguf"
    source.write_bytes(WHOLE)
    target.touch()
    with pytest.raises(ModelError, match=r"^no-model\.gguf could not be written as F16: .+"):
        requantise(source, target, "F16", 1, silent)


# --------------------------------------------------------------------------------------------------- which file is used
@pytest.fixture
def report(q4: Path, f16: Path, cache: Path) -> TuneReport:
    """As if F16 were the fastest to score, and the given file to read."""
    about = q4.stat()
    given = Candidate("Q4_0", str(q4), about.st_size, about.st_mtime_ns, True, True, 100.0, 50.0, None, None)
    made = cache / "tuned" / "0123456789abcdef" / "tiny.F16.gguf"
    made.parent.mkdir(parents=True)
    made.write_bytes(f16.read_bytes())
    fast = replace(
        given,
        quantisation="F16",
        path=str(made),
        size=made.stat().st_size,
        mtime_ns=made.stat().st_mtime_ns,
        is_given=False,
    )
    from importlib.metadata import version

    return TuneReport(
        source=str(q4.resolve()),
        source_sha256="",
        source_size=about.st_size,
        source_mtime_ns=about.st_mtime_ns,
        machine=tune.machine(),
        llama=version("llama-cpp-python"),
        date="",
        seconds=0.0,
        n_rounds=0,
        n_prefill=0,
        n_decode=0,
        n_compared=0,
        others=0.0,
        candidates=(given, fast),
        best={"read": "Q4_0", "score": "F16"},
        notes=(),
    )


def remember(report: TuneReport, cache: Path, name: str = "0123456789abcdef") -> None:
    folder = cache / "tuned" / name
    folder.mkdir(exist_ok=True)
    (folder / "tune.json").write_text(json.dumps(asdict(report)))


def test_the_fastest_for_each_role_is_used(report: TuneReport, q4: Path, cache: Path) -> None:
    assert (tuned(q4, "score"), is_tuned(q4)) == (None, False)
    remember(report, cache)
    assert (tuned(q4, "read"), tuned(q4, "score")) == (None, Path(report.candidates[1].path or ""))


@pytest.mark.parametrize(
    "change",
    [
        {"machine": "another"},
        {"llama": "0.0.0"},
        {"source_size": 1},
        {"source_mtime_ns": 1},
        {"source": "/elsewhere.gguf"},
        {"best": {}},
        {"best": {"score": "Q2_K"}},
        {"candidates": ()},
    ],
    ids=str,
)
def test_a_report_that_is_not_of_this_is_not_used(
    report: TuneReport, q4: Path, cache: Path, change: dict[str, object]
) -> None:
    remember(replace(report, **change), cache)  # type: ignore[arg-type]
    assert tuned(q4, "score") is None


def test_another_copy_of_the_file_is_tuned_as_well(report: TuneReport, q4: Path, cache: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(q4.read_bytes())
    remember(replace(report, source_sha256=sha256_of(q4)), cache)
    assert tuned(copy, "score") == Path(report.candidates[1].path or "")
    copy.write_bytes(q4.read_bytes()[:-1] + b"?")
    assert tuned(copy, "score") is None


def test_a_made_file_that_changed_or_is_gone_is_not_used(report: TuneReport, q4: Path, cache: Path) -> None:
    remember(report, cache)
    made = Path(report.candidates[1].path or "")
    made.write_bytes(made.read_bytes()[:-1])
    assert tuned(q4, "score") is None
    made.unlink()
    assert tuned(q4, "score") is None


@pytest.mark.parametrize("text", ["", "[]", '{"source": ', "\x00"])
def test_a_torn_report_is_not_used(report: TuneReport, q4: Path, cache: Path, text: str) -> None:
    (cache / "tuned" / "0123456789abcdef" / "tune.json").write_text(text)
    assert tuned(q4, "score") is None


def test_asking_costs_a_few_milliseconds(report: TuneReport, q4: Path, cache: Path) -> None:
    for n in range(10):
        remember(replace(report, source=f"/other-{n}"), cache, f"{n}")
    remember(report, cache)
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        assert tuned(q4, "score") is not None
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.01


def candidate(
    kind: str, prefill: float, decode: float, is_lossless: bool = True, is_given: bool = False, size: int = 1
) -> Candidate:
    return Candidate(kind, f"/{kind}", size, 0, is_given, is_lossless, prefill, decode, None, None)


@pytest.mark.parametrize(
    ("others", "read", "score"),
    [
        ([candidate("Q8_0", 200, 50)], "Q8_0", "Q8_0"),
        ([candidate("F16", 200, 12.5)], "Q4_1", "F16"),  # 1000 / 200 + 100 / 12.5 = 13 s against 10 + 1 = 11 s
        ([candidate("Q8_0", 104, 100)], "Q4_1", "Q4_1"),
        ([candidate("Q8_0", 200, 100), candidate("F16", 205, 100, size=2)], "Q8_0", "Q8_0"),
        ([candidate("Q4_0", 900, 900, is_lossless=False)], "Q4_1", "Q4_1"),
    ],
    ids=["faster", "slow to write", "hardly faster", "hardly faster and larger", "loses quality"],
)
def test_the_choice(others: Sequence[Candidate], read: str, score: str) -> None:
    given = candidate("Q4_1", 100, 100, is_given=True)
    assert (tune._best([given, *others], "read"), tune._best([given, *others], "score")) == (read, score)


# ------------------------------------------------------------------------------------------------------------ the trial
def test_the_divergence_is_the_formulas() -> None:
    p, q = (
        np.log(np.array([[0.5, 0.5], [0.9, 0.1]], np.float32)),
        np.log(np.array([[0.25, 0.75], [0.9, 0.1]], np.float32)),
    )
    expected = (0.5 * np.log(2) + 0.5 * np.log(2 / 3)) / 2
    divergence, agreement = _divergence(p, q)
    assert divergence == pytest.approx(expected, rel=1e-5)
    assert agreement == 0.5


def test_a_trial_reads_what_fits(f16: Path) -> None:
    trial = FileTrial(f16)
    assert 64 <= trial.n_prefill <= 448
    assert 8 <= trial.n_decode <= 24
    assert trial.n_compared == 256
    speeds = trial.measure([f16], 1, silent)
    assert list(speeds) == [f16]
    assert isinstance(speeds[f16], FileSpeed)
    assert speeds[f16].prefill > 0 < speeds[f16].decode
    assert trial.compare(f16, [f16], silent) == {f16: (0.0, 1.0)}
    assert len(TEXT) > 1000


def test_a_busy_machine_gets_fewer_rounds(f16: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.models.trial._MOST_SECONDS", 0)
    trial = FileTrial(f16)
    trial.measure([f16], 3, silent)
    assert trial.n_rounds == 1


def test_what_other_programs_take_is_seen_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = OtherPrograms()
    subprocess.run([sys.executable, "-c", "while __import__('time').process_time() < 0.6: pass"], check=True)
    took = seen.share()
    assert took * (os.cpu_count() or 1) > 0.3, "one core was at work for most of the time"
    cores = psutil.cpu_count() or 1
    moments = iter([(0.0, 100.0, 10.0), (10.0, 100.0 + 2 * cores, 10.0 + cores)])
    monkeypatch.setattr(OtherPrograms, "_now", staticmethod(lambda: next(moments)))
    assert OtherPrograms().share() == pytest.approx(0.1)
    assert tune._doubts(0.1) == []
    assert "34% of the processor" in tune._doubts(0.34)[0]


def test_the_command_prints_what_it_found(q4: Path, cache: Path) -> None:
    command = [sys.executable, "-m", "cli.main", "models", "tune", str(q4), "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert [line.split()[0] for line in done.stdout.splitlines()[:4]] == ["file", "Q4_0", "F16", "Q8_0"]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["source"] == str(q4)
