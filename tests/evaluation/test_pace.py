"""How long an evaluation will still take, from what each pipeline's questions took."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.evaluation.evaluate import Pace
from pipeline.executors.folder import RECORDS, n_records
from pipeline.executors.run import RunStatus


def status(n_samples: int, n_before: int, n_ok: int, seconds: float, n_failed: int = 0) -> RunStatus:
    return RunStatus(n_samples, n_before, n_ok, n_failed, seconds, 0, 0)


def test_each_pipeline_has_its_own_speed_and_the_unknown_the_usual_one() -> None:
    pace = Pace({"slow": 100, "quick": 100}, {})
    pace.begin("slow")
    assert pace.seconds_left(status(50, 0, 0, 0.0)) is None
    assert pace.seconds_left(status(50, 0, 10, 50.0)) == pytest.approx(5 * 90 + 5 * 100)
    assert pace.seconds_left(status(50, 0, 48, 250.0, n_failed=2)) == pytest.approx(5 * 50 + 5 * 100)
    pace.begin("quick")
    assert pace.seconds_left(status(50, 0, 20, 20.0)) == pytest.approx(5 * 50 + 1 * 80)
    assert pace.seconds_left(status(50, 0, 50, 50.0)) == pytest.approx(5 * 50 + 1 * 50)
    pace.begin("slow")
    assert pace.seconds_left(status(100, 50, 10, 80.0)) == pytest.approx((250 + 80) / 60 * 40 + 1 * 50)
    assert pace.seconds_left(status(100, 50, 50, 250.0)) == pytest.approx(1 * 50)
    pace.begin("quick")
    assert pace.seconds_left(status(100, 50, 50, 50.0)) == 0


def test_what_an_earlier_run_answered_is_not_asked_again() -> None:
    pace = Pace({"one": 100, "other": 100}, {"one": 90, "other": 60})
    pace.begin("one")
    assert pace.seconds_left(status(100, 90, 5, 10.0)) == pytest.approx(2 * 5 + 2 * 40)
    pace.begin("other")
    assert pace.seconds_left(status(100, 60, 10, 10.0)) == pytest.approx(2 * 5 + 1 * 30)


def test_records_are_counted_and_a_torn_one_is_not(tmp_path: Path) -> None:
    assert n_records(tmp_path) == 0
    (tmp_path / RECORDS).write_text('{"n": 0}\n{"n": 1}\n{"n"')
    assert n_records(tmp_path) == 2
