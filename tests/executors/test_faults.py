"""What a batch survives, on a real Ray of two cores: killed actors, a killed driver, a full disk, memory that runs out,
a node that is gone. Every sample is recorded once, a retry is in the record, and nothing recorded is computed again.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.contracts import Component
from pipeline.errors import RunError
from pipeline.executors.folder import read_run
from pipeline.executors.on_ray import driver
from pipeline.executors.on_ray.driver import RayExecutor
from pipeline.executors.run import RunOptions, run
from pipeline.executors.samples import Sample
from pipeline.registry import make
from pipeline.types import Question
from tests.executors.components import CGROUP
from tests.executors.conftest import Cluster, config, samples

ROOT = Path(__file__).parent.parent.parent
OPTIONS = RunOptions("ray", retry=30)
KILLS = pytest.mark.parametrize("n_kills", [2, pytest.param(10, marks=pytest.mark.thorough)])


@pytest.fixture
def executors(monkeypatch: pytest.MonkeyPatch) -> list[RayExecutor]:
    """The executors that are made from now on."""
    made: list[RayExecutor] = []

    class Kept(RayExecutor):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr(driver, "RayExecutor", Kept)
    return made


class Killer(threading.Thread):
    """Kills a stage's process `n_kills` times, each time a random while after it was there."""

    def __init__(
        self, executors: list[RayExecutor], stage: str, seed: int, n_kills: int, longest_s: float = 0.4
    ) -> None:
        super().__init__(daemon=True)
        self.executors, self.stage, self.n_kills, self.longest_s = executors, stage, n_kills, longest_s
        self.random = random.Random(seed)
        self.killed: list[int] = []
        self.is_over = threading.Event()

    def run(self) -> None:
        while len(self.killed) < self.n_kills and not self.is_over.is_set():
            places = [place.pid for executor in self.executors for place in executor.places.get(self.stage, ())]
            alive = [pid for pid in places if pid not in self.killed]
            if not alive or not self.has_begun():
                time.sleep(0.01)
                continue
            time.sleep(self.random.uniform(0, self.longest_s))
            if self.is_over.is_set():
                return
            try:
                os.kill(alive[0], signal.SIGKILL)
            except ProcessLookupError:
                continue
            self.killed.append(alive[0])

    def has_begun(self) -> bool:
        return any(executor.n_under_way for executor in self.executors)


def killed_while_running(
    executors: list[RayExecutor],
    stage: str,
    index: Path,
    folder: Path,
    n: int,
    last: Component,
    seed: int,
    n_kills: int,
) -> list[int]:
    """The processes that were killed in a run of n samples that went on to its end."""
    killer = Killer(executors, stage, seed, n_kills)
    killer.start()
    try:
        pipeline = config(trouble={"delay": 0.03}, last=last, max_restarts=2 * n_kills)
        summary = run(pipeline, index, samples(n), folder, OPTIONS)
    finally:
        killer.is_over.set()
        killer.join()
    assert (summary.n_ok, summary.n_failed, summary.n_missing) == (n, 0, 0)
    return killer.killed


def every_sample_once(folder: Path, n: int) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    assert Counter(record["id"] for record in records) == {f"q{i}": 1 for i in range(n)}
    return records


@KILLS
@pytest.mark.parametrize(
    ("stage", "delay", "n"),
    [("compress.trouble", 0.001, 160), ("generate.slow", 0.01, 120)],
    ids=["stage", "generator"],
)
def test_a_killed_actor_costs_a_retry(
    cluster: Cluster,
    executors: list[RayExecutor],
    index: Path,
    tmp_path: Path,
    stage: str,
    delay: float,
    n: int,
    n_kills: int,
) -> None:
    last = make("generate.slow", {"delay": delay})
    killed = killed_while_running(executors, stage, index, tmp_path, n, last, 1, n_kills)
    assert len(killed) == n_kills
    records = every_sample_once(tmp_path, n)
    attempts = [attempt for record in records for attempt in record["attempts"]]
    assert len(attempts) == sum(record["retries"] for record in records) > 0
    assert {(attempt["type"], attempt["stage"]) for attempt in attempts} == {("ActorDied", stage)}


def test_a_killed_generator_with_a_real_model(
    cluster: Cluster, executors: list[RayExecutor], index: Path, tmp_path: Path
) -> None:
    settings = (("model", "smollm2-135m"), ("n_ctx", 1024), ("max_tokens", 8), ("n_seq_max", 3), ("use_tuned", False))
    last = make("generate.llama", dict(settings))
    killed = killed_while_running(executors, "generate.llama", index, tmp_path, 4, last, seed=2, n_kills=1)
    assert len(killed) == 1
    records = every_sample_once(tmp_path, 4)
    assert sum(record["retries"] for record in records) >= 1
    assert all(record["record"]["ledger"]["generation"]["prompt_tokens"] > 100 for record in records)


def test_a_sample_that_kills_its_process_takes_no_other_along(cluster: Cluster, index: Path, tmp_path: Path) -> None:
    summary = run(config(trouble={"kill_on": "q2"}), index, samples(8), tmp_path, RunOptions("ray", retry=3))
    assert (summary.n_ok, summary.n_failed) == (7, 1)
    (failed,) = read_run(tmp_path).failed
    assert failed.error is not None
    assert (failed.id, failed.error.type, failed.error.stage) == ("q2", "ActorDied", "compress.trouble")
    retries = [record.n_retries for record in read_run(tmp_path).records]
    assert retries.pop(2) == 3
    assert max(retries) <= 1, "whoever was in that process when it died is tried once more"


def test_a_stage_that_never_works_stops_the_run(cluster: Cluster, index: Path, tmp_path: Path) -> None:
    pipeline = config(trouble={"kill_on": "q0"}, max_restarts=1)
    with pytest.raises(RunError, match=r"compress.trouble: its processes ended 2 times in a row .*max_restarts"):
        run(pipeline, index, samples(1), tmp_path, RunOptions("ray", retry=9))


# ---------------------------------------------------------------------------------------------------------- the driver
def start_driver(index: Path, folder: Path, n: int, **more: Any) -> subprocess.Popen[str]:
    order = {"index": str(index), "folder": str(folder), "n": n, "delay": 0.004, "executor": "local", **more}
    command = [sys.executable, "-m", "tests.executors.batch_driver", json.dumps(order)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def n_lines(folder: Path) -> int:
    path = folder / "records.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


@KILLS
def test_a_killed_driver_loses_and_repeats_nothing(
    request: pytest.FixtureRequest, index: Path, tmp_path: Path, executor: str, n_kills: int
) -> None:
    address = request.getfixturevalue("cluster").address if executor == "ray" else None
    chance, n = random.Random(7), 8 * n_kills
    calls, folder = tmp_path / "calls", tmp_path / "out"
    more = {"executor": executor, "address": address, "trouble": {"calls": str(calls)}}
    recorded = b""
    for _ in range(n_kills):
        process = start_driver(index, folder, n, **more)
        target = n_lines(folder) + chance.randint(1, 5)
        while process.poll() is None and n_lines(folder) < target:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.05))
        assert process.poll() is None, process.communicate()
        process.kill()
        process.communicate()
        left = (folder / "records.jsonl").read_bytes()
        assert left.startswith(recorded), "a record that was there is still there, as it was"
        recorded = left[: left.rfind(b"\n") + 1]
    asked_before = Counter(calls.read_text().split())
    done = {json.loads(line)["id"] for line in recorded.splitlines()}
    out, err = start_driver(index, folder, n, **more).communicate()
    assert json.loads(out) == [n, 0, 0, len(done)], err
    assert (folder / "records.jsonl").read_bytes().startswith(recorded)
    every_sample_once(folder, n)
    again = Counter(calls.read_text().split()) - asked_before
    assert not done & set(again), "what was recorded was not computed again"


# --------------------------------------------------------------------------------------------------------- a full disk
@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small tmpfs can be mounted by root only; the limit on a file's size is tested below")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def whole_records(folder: Path) -> int:
    data = (folder / "records.jsonl").read_bytes()
    assert data.endswith(b"\n")
    return len([json.loads(line) for line in data.splitlines()])


def test_a_full_disk_stops_the_run_and_leaves_the_records_whole(index: Path, small_disk: Path, executor: str) -> None:
    folder, options = small_disk / "out", RunOptions(executor)  # type: ignore[arg-type]
    with pytest.raises(RunError, match=r"records.jsonl: the disk is full: .*make room and run the same command"):
        run(config(), index, samples(60), folder, options)
    n_kept = whole_records(folder)
    assert 0 < n_kept < 60
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    summary = run(config(), index, samples(60), folder, options)
    assert (summary.n_ok, summary.n_before) == (60, n_kept)


def test_a_limit_on_the_size_of_files_is_a_full_disk(index: Path, tmp_path: Path) -> None:
    out, err = start_driver(index, tmp_path / "out", 40, most_bytes=60_000).communicate()
    assert out == ""
    assert "the disk is full" in err
    assert "Traceback" not in err
    assert 0 < whole_records(tmp_path / "out") < 40


# -------------------------------------------------------------------------------------------------------------- memory
def test_memory_beyond_a_limit_is_an_error_of_its_sample(cluster: Cluster, index: Path, tmp_path: Path) -> None:
    run(config(trouble={"eat_on": "q1"}), index, samples(4), tmp_path, RunOptions("ray", retry=1))
    batch = read_run(tmp_path)
    assert [record.id for record in batch.ok] == ["q0", "q2", "q3"]
    (failed,) = batch.failed
    assert failed.error is not None
    assert (failed.error.type, failed.n_retries) == ("MemoryError", 1)


@pytest.fixture
def small_memory() -> Iterator[None]:
    try:
        CGROUP.mkdir()
        (CGROUP / "memory.limit_in_bytes").write_text(str(128 << 20))
    except OSError:
        pytest.skip("a memory cgroup can be made by root only, where the kernel has version 1 of them")
    yield
    for _ in range(50):  # until its processes are gone
        try:
            return CGROUP.rmdir()
        except OSError:
            time.sleep(0.1)


def test_an_actor_that_the_kernel_kills_for_its_memory_is_reported(
    cluster: Cluster, small_memory: None, index: Path, tmp_path: Path
) -> None:
    trouble = {"eat_on": "q1", "eat_by": "cgroup"}
    run(config(trouble=trouble), index, samples(4), tmp_path, RunOptions("ray", retry=1))
    batch = read_run(tmp_path)
    assert [record.id for record in batch.ok] == ["q0", "q2", "q3"]
    error = batch.failed[0].error
    assert error is not None
    assert (error.type, error.stage) == ("ActorDied", "compress.trouble")
    assert error.message.startswith("its process ended: ")


# --------------------------------------------------------------------------------------------------------------- nodes
@pytest.fixture
def second_node(cluster: Cluster) -> Iterator[Callable[[], None]]:
    """A second node of two cores on this machine; calling it kills all of the node's processes at once."""
    import ray
    from ray.cluster_utils import Cluster as Nodes

    nodes = Nodes()
    nodes.head_node, nodes.redis_address = ray._private.worker._global_node, None
    node = nodes.add_node(wait=False, num_cpus=2, object_store_memory=80 << 20)

    def kill() -> None:
        if node in nodes.worker_nodes:
            nodes.remove_node(node, allow_graceful=False)

    try:
        wait_until(lambda: sum(info["Alive"] for info in ray.nodes()) == 2, 500)
        yield kill
    finally:
        kill()
    wait_until(lambda: sum(info["Alive"] for info in ray.nodes()) == 1, 500)


def wait_until(is_so: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.1)


def test_a_node_that_is_gone_does_not_end_the_run(
    executors: list[RayExecutor], second_node: Callable[[], None], index: Path, tmp_path: Path
) -> None:
    nodes: dict[str, set[str]] = {}

    def watch() -> None:
        wait_until(
            lambda: any(all(len(places) == 2 for places in executor.places.values()) for executor in executors), 500
        )
        nodes.update({stage: {place.node for place in places} for stage, places in executors[0].places.items()})
        wait_until(lambda: n_lines(tmp_path) >= 10, 500)
        second_node()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    last = make("generate.slow", {"delay": 0.02})
    pipeline = config(trouble={"delay": 0.01}, last=last, max_restarts=50)
    questions = [Sample(Question(sample.question.text, sample.question.id)) for sample in samples(240)]
    summary = run(pipeline, index, questions, tmp_path, OPTIONS)
    watcher.join()
    assert (summary.n_ok, summary.n_failed) == (240, 0)
    assert len(set.union(*nodes.values())) == 2
    assert len(nodes["generate.slow"]) == 2, "the stages were spread over both nodes"
    records = every_sample_once(tmp_path, 240)
    assert sum(record["retries"] for record in records) > 0


# ------------------------------------------------------------------------------------------------------------- streams
def test_an_answer_comes_piece_by_piece_for_a_single_question(cluster: Cluster, index: Path) -> None:
    pieces: list[str] = []
    with RayExecutor(config(), index, None, None) as executor:
        executor.start()
        state = executor.ask(samples(1)[0].question, pieces.append)
    assert state.answer is not None
    assert len(pieces) > 3
    assert "".join(pieces).strip() == state.answer.text.strip()
