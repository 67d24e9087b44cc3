"""The book of saved states: who holds them, how far they reach, and which go first."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.models.checkpoints import Checkpoints
from pipeline.models.pool import MIN_GAP, distant


def state(n_bytes: int = 10) -> np.ndarray:
    return np.zeros(n_bytes, np.uint8)


def test_the_last_place_before_a_cell_is_found() -> None:
    book = Checkpoints(100)
    for n in (40, 90):
        book.add(1, n, state())
    assert [book.before(1, n) for n in (39, 40, 89, 90, 500)] == [0, 40, 40, 90, 90]
    assert book.before(2, 500) == 0


def test_a_state_is_shared_and_stays_as_long_as_one_holds_it() -> None:
    book = Checkpoints(100)
    book.add(1, 40, state())
    book.add(1, 90, state())
    book.share(1, 2, 60)
    assert book.places(2) == [40]
    assert book.state(2, 40) is book.state(1, 40)
    book.cut(1, 0)
    assert (book.places(1), book.places(2), book.n_bytes) == ([], [40], 10)
    book.cut(2, 39)
    assert (len(book), book.n_bytes) == (0, 0)


def test_the_least_recently_used_goes_first() -> None:
    book = Checkpoints(30)
    for n in (40, 80, 120):
        book.add(1, n, state())
    book.state(1, 40)
    book.add(1, 160, state())
    assert book.places(1) == [40, 120, 160]


def test_what_does_not_fit_at_all_is_not_kept() -> None:
    book = Checkpoints(9)
    book.add(1, 40, state())
    assert (len(book), book.n_bytes) == (0, 0)


@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "share", "cut"]), st.integers(0, 3), st.integers(0, 3), st.integers(1, 99)),
        max_size=40,
    )
)
def test_the_limit_holds_and_bytes_are_counted_once(steps: list[tuple[str, int, int, int]]) -> None:
    book = Checkpoints(50)
    for action, one, other, n in steps:
        if action == "add":
            book.add(one, n, state())
        elif action == "share" and one != other:
            book.share(one, other, n)
        elif action == "cut":
            book.cut(one, n)
        assert book.n_bytes == 10 * len(book) <= 50
        states = {id(book.state(s, place)) for s in range(4) for place in book.places(s)}
        assert len(states) == len(book)


def test_places_lie_apart_and_the_first_of_a_crowd_is_kept() -> None:
    assert distant([10, MIN_GAP, MIN_GAP + 1, 3 * MIN_GAP, 9 * MIN_GAP], 0, 8 * MIN_GAP) == [MIN_GAP, 3 * MIN_GAP]
    assert distant([MIN_GAP], 1, 99) == []
