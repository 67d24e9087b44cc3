"""Rounds of a test: some run always, and all of them with `make thorough`.

@pytest.mark.parametrize("seed", rounds(range(20), 6))
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def rounds(values: Iterable[Any], n: int) -> list[Any]:
    """The parameters of all rounds. `n` of them, evenly spread, run always; the others have the mark `thorough`."""
    values = list(values)
    n = min(n, len(values))
    usual = {k * len(values) // n for k in range(n)}
    return [value if k in usual else pytest.param(value, marks=pytest.mark.thorough) for k, value in enumerate(values)]
