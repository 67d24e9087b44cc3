"""A run's folder after a kill and after damage: what was recorded is kept or answered again."""

from __future__ import annotations

import json
import os
import random
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import DataError, RunError
from pipeline.executors.folder import DAMAGED, RECORDS, RUN, read_run
from pipeline.executors.run import RunOptions, run
from tests.executors.conftest import config, samples
from tests.faults import COMPILER, ROOT, build, damage, disturbed

N = 4
BATCH = """
import sys
from pathlib import Path
from pipeline.executors.run import run
from tests.executors.components import register
from tests.executors.conftest import config, samples
register()
run(config(), Path(sys.argv[1]), samples(4), Path(sys.argv[2]))
"""


@pytest.fixture
def done(index: Path, tmp_path: Path) -> Path:
    """A folder with a finished run of N samples."""
    run(config(), index, samples(N), tmp_path / "out")
    return tmp_path / "out"


def values(folder: Path) -> list[tuple[Any, ...]]:
    return [(record.id, record.key, record.fields, record.answer) for record in read_run(folder).records]


def again(index: Path, folder: Path, **options: Any) -> list[str]:
    """Runs it again, and gives the notes."""
    notes: list[str] = []
    run(config(), index, samples(N), folder, RunOptions(**options), on_note=notes.append)
    return notes


def test_records_that_may_not_be_written_are_named(index: Path, done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refuse(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if str(path).endswith("records.jsonl") and flags & os.O_APPEND:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, flags, *more, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)  # root may write everything
        with pytest.raises(
            RunError, match=r"records\.jsonl: cannot be written \(Permission denied\): the records so far"
        ):
            again(index, done)
    assert again(index, done) == []  # the lock was let go


@pytest.mark.skipif(COMPILER is None or sys.platform != "linux", reason="kills need a C compiler and LD_PRELOAD")
@pytest.mark.parametrize(
    ("kind", "writes"),
    [
        ("kill", (2, 4, 7)),
        ("tear", (3, 5, 9)),
        *(pytest.param(kind, (2, 3, 4, 5, 7, 9), marks=pytest.mark.thorough) for kind in ("kill", "tear")),
    ],
)
def test_killed_at_each_write_before_the_first_record_the_run_goes_on(
    index: Path, tmp_path: Path, kind: Any, writes: tuple[int, ...]
) -> None:
    """The lock, run.json in its temporary file, its new name, the first record."""
    library = build(tmp_path)
    environment = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
    reached = set()
    for at in writes:
        folder = tmp_path / f"out-{at}"
        folder.mkdir()
        command = [sys.executable, "-c", BATCH, str(index), str(folder)]
        killed = disturbed(library, command, folder, kind, at, environment)
        assert killed.was_killed, killed.err
        reached.add(frozenset(re.sub(r"\d+", "N", path.name) for path in folder.iterdir()))
        again(index, folder)
        assert len(read_run(folder).records) == N
        assert not list(folder.glob("*.part")), "what the killed process left is swept"
    assert any(RUN not in names and len(names) > 1 for names in reached), "a half run.json was among them"


@pytest.mark.parametrize("name", ["run.12.part", "records.jsonl.part", ".run.json.0a1b2c3d.part"])
def test_a_folder_that_holds_only_our_left_overs_is_ours(index: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("{")
    again(index, tmp_path)
    assert len(read_run(tmp_path).records) == N
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["thesis.part", "run.txt", "records.jsonl", "run.json"])
def test_a_folder_with_a_file_that_is_not_ours_is_refused(index: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"score": 1}')
    with pytest.raises(RunError, match=rf"holds no run, but other files \({re.escape(name)}\)"):
        again(index, tmp_path)
    assert (tmp_path / name).read_text() == '{"score": 1}'


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "no json": lambda line: b"{" + line,
    "an empty line": lambda line: b"",
    "nested too deeply": lambda line: b"[" * 100_000,
    "another id": lambda line: re.sub(rb'"id": "q\d"', b'"id": "q7"', line, count=1),
    "another status": lambda line: line.replace(b'"status": "ok"', b'"status": "error"'),
    "one bit": lambda line: line[:200] + bytes([line[200] ^ 2]) + line[201:],
    "not utf-8": lambda line: line[:100] + b"\xff" + line[101:],
    "a list": lambda line: b"[1]",
    "no checksum": lambda line: re.sub(rb', "checksum": "\w+"', b"", line),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_line_is_named_moved_aside_and_answered_again(index: Path, done: Path, name: str) -> None:
    expected = values(done)
    lines = (done / RECORDS).read_bytes().splitlines(keepends=True)
    bad = DAMAGES[name](lines[1].rstrip(b"\n"))
    (done / RECORDS).write_bytes(b"".join([lines[0], bad + b"\n", *lines[2:]]))
    with pytest.raises(DataError, match=r"records.jsonl:2: the line is damaged \(.*run the same .* again"):
        read_run(done)
    (note,) = again(index, done)
    assert note.startswith(f"{done / RECORDS}:2: the line is damaged (")
    assert "moved to records.damaged.jsonl" in note
    assert (done / DAMAGED).read_bytes() == bad + b"\n"
    assert values(done) == expected
    assert again(index, done) == []


def test_a_line_that_is_there_twice_counts_once(index: Path, done: Path) -> None:
    expected = values(done)
    lines = (done / RECORDS).read_bytes().splitlines(keepends=True)
    (done / RECORDS).write_bytes(b"".join([*lines, lines[0]]))
    (note,) = again(index, done)
    assert f"{RECORDS}:{N + 1}: the line is damaged (line 1 has the same key)" in note
    assert values(done) == expected


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"[" * 100_000, b"\xff", b'{"format": 2}', None])
def test_a_lost_run_json_is_made_again_from_the_records(index: Path, done: Path, content: bytes | None) -> None:
    expected, before = values(done), read_run(done).about
    if content is None:
        (done / RUN).unlink()
    else:
        (done / RUN).write_bytes(content)
    with pytest.raises(DataError, match=r"run\.json"):
        read_run(done)
    assert again(index, done) == [f"{done / RUN}: was missing or damaged, and is made again from {N} records"]
    assert values(done) == expected
    after = read_run(done).about
    same = ("config_hash", "index_hash", "input", "model", "n_samples", "config")
    assert {name: after[name] for name in same} == {name: before[name] for name in same}


@pytest.mark.parametrize("name", ["config_hash", "index_hash", "seed", "started", "version"])
def test_a_changed_run_json_is_not_believed(index: Path, done: Path, name: str) -> None:
    about = json.loads((done / RUN).read_text())
    (done / RUN).write_text(json.dumps({**about, name: "another"}))
    with pytest.raises(DataError, match="its checksum does not agree"):
        read_run(done)
    again(index, done)
    assert len(read_run(done).records) == N


def test_records_of_another_run_do_not_make_a_run_json(index: Path, done: Path) -> None:
    (done / RUN).unlink()
    other = replace(config(), stages=config(trouble={"delay": 0.001}).stages)
    with pytest.raises(RunError, match=r"run.json is missing.*4 of 4 records are of another pipeline.*`update`"):
        run(other, index, samples(N), done)
    assert run(other, index, samples(N), done, RunOptions(update=True)).n_before == 0


def test_a_folder_of_an_older_version_goes_on_and_has_checksums_then(index: Path, done: Path) -> None:
    expected = values(done)
    strip = ("checksum", "run")
    about = json.loads((done / RUN).read_text())
    (done / RUN).write_text(json.dumps({**{n: v for n, v in about.items() if n not in strip}, "format": 1}))
    lines = [json.loads(line) for line in (done / RECORDS).read_text().splitlines()]
    old = [json.dumps({name: value for name, value in line.items() if name not in strip}) for line in lines]
    (done / RECORDS).write_text("\n".join(old) + "\n")
    assert values(done) == expected
    assert again(index, done) == []
    assert values(done) == expected
    assert all("checksum" in line for line in (done / RECORDS).read_text().splitlines())


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_damaged_the_same_command_ends_with_the_same_records(index: Path, done: Path, seed: int) -> None:
    expected = values(done)
    rng = random.Random(seed)
    path = done / rng.choice((RUN, RECORDS))
    path.write_bytes(damage(path.read_bytes(), rng))
    again(index, done)
    assert values(done) == expected
