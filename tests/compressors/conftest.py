from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.default import default_pipeline
from pipeline.pipeline import Pipeline
from tests.compressors.workbench import scripted_runtime


@pytest.fixture(autouse=True)
def always_own_cache(own_cache: Path) -> None:
    """No test finds calibrations or summaries of another."""


@pytest.fixture
def runtime() -> Iterator[Pipeline]:
    with scripted_runtime() as pipeline:
        yield pipeline


@pytest.fixture(scope="module")
def real(fill_cache: Callable[[Path], Path]) -> Iterator[Pipeline]:
    """The default model and the default embedder, opened once for a file of tests."""
    with Pipeline(default_pipeline(), Path("nowhere")) as pipeline:
        pipeline.embedder.embed(["It is opened from the cache of the session."])
        yield pipeline
