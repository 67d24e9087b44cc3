from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.default import default_pipeline
from pipeline.pipeline import Pipeline
from tests.compressors.workbench import scripted_runtime


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test finds sessions of another, or of the machine."""
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LONGTHREAD_DATA", str(tmp_path / "data"))


@pytest.fixture
def runtime() -> Iterator[Pipeline]:
    """The scripted model, and an embedder that counts words."""
    with scripted_runtime() as pipeline:
        yield pipeline


@pytest.fixture(scope="module")
def real(fill_cache: Callable[[Path], Path]) -> Iterator[Pipeline]:
    """The default model and the default embedder, opened once for a file of tests."""
    with Pipeline(default_pipeline(), Path("nowhere")) as pipeline:
        pipeline.embedder.embed(["It is opened from the cache of the session."])
        yield pipeline
