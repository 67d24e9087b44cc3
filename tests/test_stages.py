from hypothesis import given
from hypothesis import strategies as st

from pipeline.executors.stages import uncovered

intervals = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda pair: (min(pair), max(pair))))


def test_uncovered_by_example() -> None:
    assert uncovered(10, 20, [(12, 14), (18, 30)]) == [(10, 12), (14, 18)]
    assert uncovered(10, 20, []) == [(10, 20)]
    assert uncovered(10, 20, [(0, 15), (5, 25)]) == []


@given(st.integers(0, 30), st.integers(0, 30), intervals)
def test_uncovered_is_what_a_set_says(start: int, length: int, covers: list[tuple[int, int]]) -> None:
    end = start + length
    expected = set(range(start, end)) - {i for low, high in covers for i in range(low, high)}
    found = uncovered(start, end, covers)
    assert {i for low, high in found for i in range(low, high)} == expected
    assert all(low < high for low, high in found)
    assert found == sorted(found)
