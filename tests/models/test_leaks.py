"""Weights and contexts come and go in the right order, and take their memory with them."""

import gc
from pathlib import Path

import psutil

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


def test_two_hundred_loads_and_frees_leak_nothing(q4: Path) -> None:
    for _ in range(20):
        use(q4, is_closed_by_hand=True)
    before = resident_mb()
    for _ in range(200):
        use(q4, is_closed_by_hand=True)
    grown = resident_mb() - before
    assert grown < 20, f"{grown:.0f} MB after 200 loads: one load holds about 100 MB of weights and 6 MB of cells"


def test_what_is_not_closed_by_hand_is_freed_by_the_collector(q4: Path) -> None:
    before = resident_mb()
    for _ in range(30):
        use(q4, is_closed_by_hand=False)
        gc.collect()
    assert resident_mb() - before < 250, "30 loads that stay would hold about 3000 MB"
