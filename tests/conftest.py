"""No test reads the settings or the conversations of its user; parallel workers share the cores and a prepared cache.

`make test` runs the tests in parallel (`pytest -n auto`), except those with the mark `alone`: they measure time or
memory, or start a Ray, and run afterwards, one by one. `make thorough` runs what the mark `thorough` keeps from the
usual run as well (tests/rounds.py).
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

from tests.order import ALONE, in_order, unlisted

WORKER_BYTES = 4 << 30
"""Memory that one worker may need: torch, two models and their caches."""

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")  # a busy machine is slow, and that is no fault of a test


def pytest_xdist_auto_num_workers() -> int:
    """The number of workers of `-n auto`: one for each core and 4 GB of free memory."""
    by_memory = psutil.virtual_memory().available // WORKER_BYTES
    return int(max(1, min(len(_cores()), by_memory)))


def pytest_configure() -> None:
    """Gives each worker its share of the cores, and so do the processes that its tests start.

    llama.cpp, torch and BLAS take as many threads as they may use cores. With more threads than cores they wait for
    each other by spinning, and a model becomes ten times slower.
    """
    worker, n_workers = os.environ.get("PYTEST_XDIST_WORKER"), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if worker is None or n_workers == 1 or not hasattr(os, "sched_setaffinity"):
        return
    cores = _cores()
    share = cores[int(worker.removeprefix("gw")) % len(cores) :: n_workers]
    os.sched_setaffinity(0, share)


def _cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that start a Ray, and lets the slow files begin first.

    A test that starts a Ray needs the machine alone: Ray has a time limit for the signs of life of its processes.
    """
    for item in items:
        parameters = getattr(item, "callspec", None)
        has_ray = parameters is not None and parameters.params.get("executor") == "ray"
        if has_ray or "cluster" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.alone)
        if item.get_closest_marker("alone") and not item.nodeid.startswith(ALONE):
            raise pytest.UsageError(f"{item.nodeid} is marked alone: name its file in ALONE (tests/order.py, Makefile)")
    items[:] = in_order(items, lambda item: item.nodeid.partition("::")[0])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Names slow files that tests/order.py does not know: one of them that begins last keeps the other workers idle."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[report.nodeid.partition("::")[0]] += report.duration
    if lines := unlisted(seconds):
        terminalreporter.section("slow files that tests/order.py lacks")
        for line in lines:
            terminalreporter.line(line)


@pytest.fixture(scope="session", autouse=True)
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache of all tests that set none of their own; no test reads the settings or conversations of its user."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "shared-cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LONGTHREAD_CACHE", str(folder))
        patch.setenv("LONGTHREAD_AMX", "off")  # else each process with a cache of its own tries the kernels, for 3 s
        patch.setenv("LONGTHREAD_CONFIG", str(tmp_path_factory.mktemp("config")))
        patch.setenv("LONGTHREAD_DATA", str(tmp_path_factory.mktemp("data")))
        yield folder


@pytest.fixture(autouse=True)
def open_first_once(request: pytest.FixtureRequest, session_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child process opens a model's file before this one does, which takes a second. All tests share what it found,
    except those of the child itself.
    """
    if request.path.name == "test_first_look.py":
        return
    from pipeline.models import first_look

    memory = first_look._memory
    monkeypatch.setattr(
        first_look, "_memory", lambda path, relevant: session_cache / "opened" / memory(path, relevant).name
    )


@pytest.fixture(scope="session")
def fill_cache(session_cache: Path) -> Callable[[Path], Path]:
    """Puts the converted embedder and the hash of the default model into a cache, and nothing that a test could find.

    Both take seconds to make. They are made once for all tests and workers; a test of the conversion takes an empty
    folder.
    """
    from pipeline.gguf.catalogue import resolve
    from pipeline.retrieval.embedder import open_embedder
    from pipeline.storage.hashes import file_sha256

    session_cache.mkdir(parents=True, exist_ok=True)
    with FileLock(session_cache / "prepare.lock"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("LONGTHREAD_CACHE", str(session_cache))
        open_embedder("minilm").embed(["The embedder is converted."])
        file_sha256(resolve("smollm2-135m"))

    def fill(target: Path) -> Path:
        for name in ("embedders", "fingerprints", "hashes"):
            (target / name).mkdir(parents=True, exist_ok=True)
            for path in (session_cache / name).glob("[!.]*"):
                if not (target / name / path.name).exists():
                    os.link(path, target / name / path.name)
        return target

    return fill


@pytest.fixture
def own_cache(fill_cache: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache in which no test finds calibrations, summaries or sessions of another, or of the machine."""
    folder = fill_cache(tmp_path / "cache")
    monkeypatch.setenv("LONGTHREAD_CACHE", str(folder))
    return folder
