"""One index, one Ray of two cores for all tests of batches, and components that make trouble."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import IndexSettings, PipelineConfig
from pipeline.config.executor import ExecutorSettings
from pipeline.contracts import Component
from pipeline.docs_index import update_index
from pipeline.executors.on_ray.session import library, own_token
from pipeline.executors.samples import Sample
from pipeline.registry import make
from pipeline.types import Question
from tests.executors.components import register, unregister

DEMO = Path(__file__).parent.parent.parent / "configs" / "demo"
QUESTIONS = (
    "How much does a return ticket cost for a child under twelve?",
    "Who repaired the clock in the tower of the town hall in 1987?",
    "How many beehives does the Orla garden have?",
)


@pytest.fixture(autouse=True, scope="module")
def _trouble() -> Iterator[None]:
    register()
    yield
    unregister()


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("index")
    update_index(folder, [str(DEMO / "documents")], IndexSettings(embedder="none", chunk_tokens=120), lambda *_: None)
    return folder


@dataclass(frozen=True)
class Cluster:
    """A running Ray, and how others reach it."""

    address: str
    folder: str


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Ray with two cores on loopback, whose workers know the components that make trouble."""
    folder = tempfile.mkdtemp(prefix="lt-ray-")
    token = own_token()
    ray = library(is_alone=True)
    ray.init(
        address="local",
        num_cpus=2,
        object_store_memory=80 << 20,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        configure_logging=False,
        _temp_dir=folder,
        _system_config={"health_check_period_ms": 500, "health_check_timeout_ms": 2000},
        runtime_env={"worker_process_setup_hook": "tests.executors.components.register"},
    )
    yield Cluster(ray.get_runtime_context().gcs_address, folder)
    ray.shutdown()
    for name in token:
        os.environ.pop(name)


@pytest.fixture(params=["local", "ray"])
def executor(request: pytest.FixtureRequest) -> str:
    """Each executor in turn: a test that takes it holds for both."""
    if request.param == "ray":
        request.getfixturevalue("cluster")
    return str(request.param)


def config(*, trouble: dict[str, Any] | None = None, last: Component | None = None, **settings: Any) -> PipelineConfig:
    """A pipeline without weights: words find, trouble is made, a rule answers."""
    stages = (
        make("retrieve.bm25", {"k": 3}),
        make("compress.trouble", trouble or {}),
        make("assemble.cited"),
        last or make("generate.scripted"),
    )
    index = IndexSettings(embedder="none", chunk_tokens=120)
    return PipelineConfig("the test", stages, index, executor=ExecutorSettings(**settings))


def samples(n: int) -> list[Sample]:
    return [Sample(Question(QUESTIONS[i % len(QUESTIONS)], f"q{i}"), {"gold": i}) for i in range(n)]
