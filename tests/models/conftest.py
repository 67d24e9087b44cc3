"""One real model for all tests of the engine: SmolLM2-135M, as shipped (Q4_1) and as F16.

With quantised weights llama.cpp rounds activations to 8 bits, so a difference of 1e-6, which another batch shape makes,
can grow to tenths of a nat: measured 0.2 on this model, between two ways of `llama_cpp.Llama` as well. F16 does not
round so coarsely: tests of exactness run on it.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.gguf.catalogue import resolve
from pipeline.models.engine import Engine, open_engine
from pipeline.models.llama import library
from pipeline.models.settings import EngineSettings
from tests.models.random_file import random_model


@pytest.fixture(scope="session")
def q4() -> Path:
    return resolve("smollm2-135m")


@pytest.fixture(scope="session")
def f16(q4: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    lib = library()
    parameters = lib.llama_model_quantize_default_params()
    parameters.ftype, parameters.allow_requantize, parameters.nthread = 1, True, 2
    path = tmp_path_factory.mktemp("f16") / "SmolLM2-135M-Instruct.F16.gguf"
    assert lib.llama_model_quantize(str(q4).encode(), str(path).encode(), parameters) == 0
    return path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that reads a token in microseconds, for tests whose promise is the same with any weights."""
    return random_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def shipped(q4: Path) -> Iterator[Engine]:
    """The engine on the file as shipped; tests leave its cells as they like."""
    with open_engine(EngineSettings(n_ctx=2048, n_seq_max=8, n_cached=4), q4) as engine:
        yield engine


@pytest.fixture(scope="session")
def exact(f16: Path) -> Iterator[Engine]:
    """The engine on F16 weights."""
    with open_engine(EngineSettings(n_ctx=2048, n_seq_max=8, n_cached=4), f16) as engine:
        yield engine
