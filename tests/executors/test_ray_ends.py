"""A Ray that was started here: what becomes of a run when a process of Ray's own is killed, or the run itself."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.executors.folder import read_run
from pipeline.executors.on_ray.private_folder import MARK, PREFIX, PrivateFolder, is_alive, processes_of, sweep
from pipeline.executors.on_ray.session import _SERVICES
from tests.rounds import rounds

pytestmark = pytest.mark.alone

ROOT = Path(__file__).parent.parent.parent
BATCH = """
import json, sys
from pathlib import Path
from pipeline.errors import LongthreadError
from pipeline.executors.run import RunOptions, run
from pipeline.executors.samples import Sample
from pipeline.registry import stage_name
from pipeline.types import Question
from tests.executors.components import register
from tests.executors.conftest import QUESTIONS, config
import dataclasses
register()
stages = tuple(stage for stage in config().stages if stage_name(stage) != "compress.trouble")
pipeline = dataclasses.replace(config(num_cpus=2), stages=stages)
batch = [Sample(Question(QUESTIONS[n % 3], f"q{n}")) for n in range(int(sys.argv[3]))]
try:
    summary = run(pipeline, Path(sys.argv[1]), batch, Path(sys.argv[2]), RunOptions("ray"),
                  on_note=lambda text: print(text, flush=True))
except LongthreadError as error:
    sys.exit(str(error))
print(json.dumps([summary.n_ok, summary.n_failed, summary.n_missing]))
"""


class Batch:
    """A run on a Ray of its own, in a process of its own, with a temporary folder where its Ray is."""

    def __init__(self, index: Path, temporary: Path, folder: Path, n: int) -> None:
        self.temporary, self.folder = temporary, folder
        environment = dict(os.environ) | {"TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", BATCH, str(index), str(folder), str(n)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    @property
    def ray(self) -> list[psutil.Process]:
        return [process for folder in self.temporary.glob(f"{PREFIX}*") for process in processes_of(folder)]

    @property
    def n_records(self) -> int:
        path = self.folder / "records.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def wait_for_records(self) -> None:
        wait_until(lambda: self.n_records >= 3 or self.process.poll() is not None)
        assert self.process.poll() is None, self.process.communicate()


def wait_until(is_so: Callable[[], Any], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.05)


@pytest.fixture
def temporary() -> Any:
    """A short path: Ray's sockets lie below it, and their paths may have 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="lt-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("name", rounds(["raylet", "GCS", "RuntimeEnvAgent"], 1))
def test_a_service_that_is_killed_is_said_and_ray_is_started_again(
    index: Path, tmp_path: Path, temporary: Path, name: str
) -> None:
    n = 400
    batch = Batch(index, temporary, tmp_path / "out", n)
    batch.wait_for_records()
    part = next(part for part, service in _SERVICES.items() if service == name)
    (service,) = [process for process in batch.ray if part in process.cmdline()[0]]
    service.kill()
    killed = time.monotonic()
    assert batch.process.stdout is not None
    line = next((line for line in batch.process.stdout if "ended" in line), "")
    assert time.monotonic() - killed < 30, "it is noticed soon"
    assert re.fullmatch(r"Ray's \w+ ended: Ray is started again, and the run goes on from its records\n", line)
    rest, err = batch.process.communicate()
    assert batch.process.returncode == 0, err
    assert json.loads(rest.splitlines()[-1]) == [n, 0, 0]
    records = read_run(tmp_path / "out").records
    assert [record.id for record in records] == [f"q{i}" for i in range(n)], "none is lost, none is there twice"
    attempts = [attempt for record in records for attempt in record.attempts]
    assert {attempt.type for attempt in attempts} <= {"RayEnded", "ActorDied"}
    assert not list(temporary.iterdir())


def test_a_killed_driver_leaves_no_process_and_no_folder(index: Path, tmp_path: Path, temporary: Path) -> None:
    batch = Batch(index, temporary, tmp_path / "out", 6000)
    batch.wait_for_records()
    (folder,) = temporary.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700, "nobody else may look into it"
    started = batch.ray
    assert len(started) > 4
    batch.process.kill()
    batch.process.communicate()
    wait_until(lambda: not any(map(is_alive, started)), 60)
    wait_until(lambda: not folder.exists(), 60)
    assert len(read_run(tmp_path / "out").records) >= 3


def test_what_a_killed_watcher_left_is_swept_at_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = PrivateFolder()
    orphan = subprocess.Popen(["sleep", "600"], env={**os.environ, MARK: str(folder.path)})
    other = subprocess.Popen(["sleep", "600"], env={**os.environ, MARK: str(tmp_path / "another")})
    try:
        sweep()
        assert folder.path.exists(), "its driver lives"
        folder._watcher.kill()
        folder._watcher.wait()
        folder._lock.release()  # as the end of the driver's process does
        sweep()
        assert not psutil.pid_exists(orphan.pid)
        assert other.poll() is None
        assert not folder.path.exists()
        assert folder._watcher.stdin is not None
        folder._watcher.stdin.close()
    finally:
        for process in (orphan, other):
            process.kill()
            process.wait()
