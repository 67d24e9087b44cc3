"""Weights and contexts come and go in the right order, and take their memory with them."""

import gc
from pathlib import Path

import psutil
import pytest

from pipeline.models.engine import open_engine
from pipeline.models.settings import EngineSettings
from pipeline.types import Sampling, Text


def resident_mb() -> float:
    gc.collect()
    return float(psutil.Process().memory_info().rss / 1e6)


def use(path: Path, is_closed_by_hand: bool) -> None:
    engine = open_engine(EngineSettings(n_ctx=256, n_seq_max=2, n_cached=1), path)
    engine.generate([(Text("a b c"),)], Sampling(max_tokens=2))[0].result()
    if is_closed_by_hand:
        engine.close()


def test_two_hundred_loads_and_frees_leak_nothing(tiny: Path) -> None:
    """Of a file of 1 MB: what a load keeps besides the weights does not depend on the model."""
    for _ in range(20):
        use(tiny, is_closed_by_hand=True)
    before = resident_mb()
    for _ in range(200):
        use(tiny, is_closed_by_hand=True)
    grown = resident_mb() - before
    assert grown < 20, f"{grown:.0f} MB after 200 loads"


@pytest.mark.parametrize("n", [30, pytest.param(200, marks=pytest.mark.thorough)])
def test_loads_and_frees_give_the_weights_back(q4: Path, n: int) -> None:
    for _ in range(5 if n < 200 else 20):
        use(q4, is_closed_by_hand=True)
    before = resident_mb()
    for _ in range(n):
        use(q4, is_closed_by_hand=True)
    grown = resident_mb() - before
    assert grown < 20, f"{grown:.0f} MB after {n} loads: one load holds about 100 MB of weights and 6 MB of cells"


@pytest.mark.parametrize("n", [10, pytest.param(30, marks=pytest.mark.thorough)])
def test_what_is_not_closed_by_hand_is_freed_by_the_collector(q4: Path, n: int) -> None:
    before = resident_mb()
    for _ in range(n):
        use(q4, is_closed_by_hand=False)
        gc.collect()
    assert resident_mb() - before < 250, f"{n} loads that stay would hold about {n} times 100 MB"
