"""No test reads the settings or the conversations of its user; parallel workers share the cores and a prepared cache.

`make test` runs the tests in parallel (`pytest -n auto`), except those with the mark `alone`: they measure time or
memory, or start a Ray, and run afterwards, one by one. `make thorough` runs what the mark `thorough` keeps from the
usual run as well (tests/rounds.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

WORKER_BYTES = 4 << 30
"""Memory that one worker may need: torch, two models and their caches."""


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


@pytest.fixture(scope="session", autouse=True)
def no_settings_of_the_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("config")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LONGTHREAD_CONFIG", str(folder))
        patch.setenv("LONGTHREAD_DATA", str(tmp_path_factory.mktemp("data")))
        yield folder
