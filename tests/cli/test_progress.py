"""The time left is that of the work at hand, whatever was done before under the same name."""

from __future__ import annotations

import time

import pytest

from cli.batches import listener_of
from cli.progress import Display
from pipeline.executors.run import RunStatus


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that `time.monotonic` says, to be set."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("last", "total"),
    [((20, 20), 20), ((20, 20), 30), ((3, 20), 30)],
    ids=["fewer are done than before", "the last was finished", "there are more in all"],
)
def test_the_next_question_has_its_own_estimate(
    clock: list[float], capsys: pytest.CaptureFixture[str], last: tuple[int, int], total: int
) -> None:
    display = Display()
    display("score sentences", 1, last[1])
    clock[0] += 60
    display("score sentences", *last)
    clock[0] += 300
    display("score sentences", 0 if last == (20, 20) else 4, total)
    clock[0] += 6
    display("score sentences", 10, total)
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"score sentences: 10 of {total}, about {6 * (total - 10) / 10:.0f} s left"
    )


def test_one_piece_of_work_keeps_its_clock(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    display = Display()
    for done in range(11):
        display("index files", done, 20)
        clock[0] += 3
    assert [line.partition(", about ")[2] for line in capsys.readouterr().err.splitlines()] == [
        f"{3 * (20 - done):.0f} s left" for done in (2, 4, 6, 8, 10)
    ]


def test_in_a_terminal_each_has_a_bar_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    display = Display()
    display.console._force_terminal = True
    with display:
        display("score sentences", 5, 20)
        assert display.bar is not None
        (first,) = display.bar.task_ids
        display("score sentences", 20, 20)
        assert display.bar.task_ids == [first]
        display("score sentences", 1, 20)
        (second,) = display.bar.task_ids
        assert second != first
        display.stop()
        display("score sentences", 2, 20)
        assert display.bar.task_ids == [0], "a new bar"


def test_an_evaluation_says_which_pipeline_and_how_long_all_of_them_take(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Display() as display:
        listener = listener_of(display)
        listener.on_status("probe", RunStatus(50, 0, 0, 0, 0.0, 0, 0), None)
        clock[0] += 10
        listener.on_status("probe", RunStatus(50, 0, 5, 0, 10.0, 0, 100), 900.0)
    assert capsys.readouterr().err.splitlines()[-1] == (
        "probe: 5 of 50: 0.50 a second, 10 tokens/s written, 2 min left, 15 min for all pipelines"
    )
