"""Numbers in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.text.counting import below


@pytest.mark.parametrize(
    ("value", "limit", "text"),
    [(0.1, 0.5, "0.10, below 0.50"), (0.138, 0.1429, "0.138, below 0.143"), (0.49999, 0.5, "0.49999, below 0.50000")],
)
def test_a_value_below_a_limit_is_told_apart_from_it(value: float, limit: float, text: str) -> None:
    assert below(value, limit) == text


@given(st.floats(0, 1), st.floats(0, 1))
def test_two_numbers_are_never_written_alike(one: float, other: float) -> None:
    low, high = sorted((one, other))
    if f"{low:.16f}" != f"{high:.16f}":
        value, limit = below(low, high).split(", below ")
        assert value != limit
        assert float(value) < float(limit)
