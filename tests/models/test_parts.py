"""The engine's parts that need no weights: text out, drafts, cells and their book."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ModelError
from pipeline.models.cells import CellBook, Cells, common
from pipeline.models.lookup import draft
from pipeline.models.stream import TextOut


# ------------------------------------------------------------------------------------------------------------ text out
@given(st.text(max_size=60), st.lists(st.text("abc ü🙂", min_size=1, max_size=4), max_size=3), st.data())
def test_text_comes_out_whole_up_to_the_first_stop_string(text: str, stop: list[str], data: st.DataObject) -> None:
    raw = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    out, given_so_far = TextOut(tuple(stop)), []
    for low, high in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        given_so_far.append(out.push(raw[low:high]))
    given_so_far.append(out.end())
    places = [place for end in stop if (place := text.find(end)) >= 0]
    shown = "".join(given_so_far)
    assert text.startswith(shown)
    if not places:
        assert shown == text
    else:
        assert out.is_stopped
        assert not any(end in shown for end in stop)


def test_half_a_character_and_half_a_stop_string_are_held_back() -> None:
    out = TextOut(("STOP",))
    assert out.push("ü".encode()[:1]) == ""
    assert out.push("ü".encode()[1:] + b" ST") == "ü "
    assert out.push(b"ART") == "START"
    assert out.push(b" STO") == " "
    assert out.push(b"P and more") == ""
    assert out.is_stopped
    assert out.push(b"more") == ""
    assert out.end() == ""


def test_bytes_that_are_no_text_are_shown_as_such() -> None:
    out = TextOut()
    assert out.push(b"a\xff") + out.push(b"\xc3") + out.end() == "a\ufffd\ufffd"


# -------------------------------------------------------------------------------------------------------------- drafts
@pytest.mark.parametrize(
    ("keys", "limit", "expected"),
    [
        ([1, 2, 3, 4, 5, 1, 2, 3], 8, [4, 5, 1, 2, 3]),
        ([1, 2, 3, 4, 5, 1, 2, 3], 2, [4, 5]),
        ([1, 2, 3, 9, 1, 2, 3, 7, 1, 2, 3], 1, [7]),
        ([8, 2, 3, 4, 9, 2, 3], 8, [4, 9, 2, 3]),
        ([1, 2, 3, 4], 8, []),
        ([5, 5], 8, []),
        ([1, 2, 3, -7, 5, 1, 2, 3], 8, []),
        ([1, 2, 3, 4, 1, 2, 3], 0, []),
    ],
    ids=["three match", "limit", "the latest match", "two match", "none", "short", "soft cells", "none wanted"],
)
def test_what_followed_the_last_tokens_before_is_guessed(keys: list[int], limit: int, expected: list[int]) -> None:
    assert draft(np.array(keys, np.int64), limit) == expected


# --------------------------------------------------------------------------------------------------------------- cells
@given(st.lists(st.integers(0, 3), max_size=12), st.lists(st.integers(0, 3), max_size=12))
def test_common_is_the_longest_common_prefix(first: list[int], second: list[int]) -> None:
    n = common(np.array(first, np.int64), np.array(second, np.int64))
    assert first[:n] == second[:n]
    assert n == min(len(first), len(second)) or first[n] != second[n]


@given(st.lists(st.integers(-2, 3), min_size=1, max_size=20), st.data())
def test_runs_part_tokens_from_soft_cells(keys: list[int], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(keys)))
    end = data.draw(st.integers(start, len(keys)))
    n_soft = sum(key < 0 for key in keys)
    cells = Cells(np.array(keys, np.int64), np.arange(n_soft, dtype=np.float32)[:, None] if n_soft else None)
    runs = list(cells.runs(start, end))
    assert [n for low, high, _ in runs for n in range(low, high)] == list(range(start, end))
    for low, high, kind in runs:
        assert all((key < 0) == (kind == "soft") for key in keys[low:high])
        if kind == "soft":
            first = sum(key < 0 for key in keys[:low])
            assert cells.soft(low, high)[:, 0].tolist() == list(range(first, first + high - low))


def test_the_book_counts_shared_cells_once() -> None:
    book = CellBook(10)
    book.add(0, 6)
    book.share(0, 1, 4)
    book.add(1, 2)
    assert (book.n_free, book.n_held(0), book.n_held(1)) == (2, 6, 6)
    assert book.n_only([0]) == 2
    assert book.n_only([0, 1]) == 8
    book.cut(0, 0)
    assert book.n_free == 4
    book.cut(1, 5)
    assert book.n_free == 5
    book.cut(1, 0)
    assert book.n_free == 10
    with pytest.raises(ModelError, match="11 cells are wanted and 10 of 10 are free"):
        book.add(2, 11)
