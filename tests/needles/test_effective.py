"""The effective context: how it is searched for, kept, and enforced."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Budget, load_config
from pipeline.errors import ConfigError, ModelError
from pipeline.evaluation.needles.limit import STEP, LimitSettings, _Search, find_limit, largest, parse_task, share_time
from pipeline.evaluation.needles.methods import method, scripted
from pipeline.evaluation.needles.tasks.multithread import Multithread
from pipeline.evaluation.needles.tasks.sentences import SentenceThread
from pipeline.evaluation.needles.tasks.single import Single
from pipeline.evaluation.needles.tasks.thread import Thread
from pipeline.evaluation.statistics import wilson
from pipeline.models.effective import EffectiveContext, Measured, TaskContext, effective_window, store, stored
from pipeline.models.scripted import ScriptedModel
from pipeline.pipeline import Pipeline
from pipeline.retrieval.given import Given
from pipeline.types import Document, Question

OFFLINE = Path(__file__).parent.parent.parent / "configs" / "offline.yaml"


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def silent(*_: Any) -> None:
    pass


def measured(pairs: int, hits: int = 20, n: int = 20) -> Measured:
    return Measured(pairs, pairs * 80, pairs * 50, hits, n, round(wilson(hits, n).low or 0.0, 4))


def context(*tasks: TaskContext) -> EffectiveContext:
    return EffectiveContext("scripted", "scripted", {}, 0.75, tasks, 20, 0, 1.5, "2026-11-25T02:00:00+00:00")


class Search(_Search):
    """A model that holds up to `true_pairs`, at a second for each pair."""

    true_pairs = 137
    limit = 1000
    seconds_per_pair = 0.0

    def measure(self, pairs: int) -> Measured:
        self.clock.now += pairs * self.seconds_per_pair  # type: ignore[attr-defined]
        return measured(pairs, 20 if pairs <= self.true_pairs else 11)

    def max_pairs(self) -> int:
        return self.limit


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def search(true_pairs: int, limit: int = 1000, seconds: float = 0.0, until: float = 1.0) -> TaskContext:
    run = of_model(true_pairs, limit, seconds, Clock())
    run.run(until)
    return run.result()


def of_model(true_pairs: int, limit: int, seconds: float, clock: Clock) -> Search:
    run = Search(LimitSettings(), "single", None, silent, silent, clock)  # type: ignore[arg-type]
    run.true_pairs, run.limit, run.seconds_per_pair = true_pairs, limit, seconds
    return run


@pytest.mark.parametrize("true_pairs", [6, 7, 25, 137, 500, 999])
def test_the_search_comes_near_from_below(true_pairs: int) -> None:
    effective = search(true_pairs)
    assert effective.holds is not None
    assert effective.is_settled
    assert effective.holds.pairs <= true_pairs < effective.holds.pairs * STEP + 1
    assert len(effective.tried) <= 14
    assert [size.pairs for size in effective.tried] == sorted(size.pairs for size in effective.tried)


def test_a_model_that_holds_nothing_and_one_that_holds_all() -> None:
    nothing = search(0)
    assert (nothing.holds, len(nothing.tried), nothing.is_settled) == (None, 1, True)
    everything = search(10**6, limit=700)
    assert everything.holds is not None
    assert (everything.holds.pairs, everything.is_settled) == (700, True)


def test_the_time_is_kept_and_what_is_unsettled_is_said() -> None:
    effective = search(400, seconds=1.0, until=120.0)
    assert effective.holds is not None
    assert not effective.is_settled
    assert sum(size.pairs for size in effective.tried) <= 120


def test_time_that_one_task_leaves_goes_to_those_that_are_not_settled() -> None:
    """Four tasks in 1000 seconds: the first needs more than its 250, and the others less."""
    clock = Clock()
    tasks = [of_model(true_pairs, 1000, 1.0, clock) for true_pairs in (137, 0, 7, 25)]
    share_time(tasks, 1000.0, clock)
    first = [task.is_settled for task in tasks]
    left = 1000.0 - clock.now
    share_time([task for task in tasks if not task.is_settled], 1000.0, clock)
    assert first == [False, True, True, True]
    assert left > 500
    assert tasks[0].is_settled
    result = tasks[0].result()
    assert result.holds is not None
    assert result.holds.pairs <= 137 < result.holds.pairs * STEP + 1
    assert clock.now == sum(sum(task.tried) for task in tasks) <= 1000.0  # nothing is measured twice


def test_the_search_uses_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()

    def measure(self: _Search, pairs: int) -> Measured:
        clock.now += pairs
        return measured(pairs, 20 if self.name == "single" and pairs <= 40 else 0)

    monkeypatch.setattr(_Search, "measure", measure)
    config = scripted(method("full").config, 100_000)
    settings = LimitSettings(("single", "thread:2"), minutes=3.0)
    single, thread = find_limit(settings, config, silent, silent, clock).tasks
    assert (thread.holds, thread.is_settled) == (None, True)
    assert single.is_settled
    assert single.holds is not None
    assert single.holds.pairs == 40
    assert 90 < clock.now <= 180


def test_the_first_failure_ends_it() -> None:
    assert largest([measured(5), measured(10, 12), measured(20)], 0.75) == measured(5)
    assert largest([measured(5, 12), measured(10)], 0.75) is None


def test_a_size_that_cannot_hold_any_more_is_left() -> None:
    config = scripted(method("full").config, 4000)
    effective = find_limit(LimitSettings(("single",), n=20), config, silent, silent)
    (task,) = effective.tasks
    assert task.holds is None
    assert (task.tried[0].hits, task.tried[0].n) == (0, 4)  # the first batch settles it
    assert (effective.key, effective.settings, effective.threshold) == ("scripted", {}, 0.75)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("single", Single()),
        ("thread", Thread(2)),
        ("thread:5", Thread(5)),
        ("sentences", SentenceThread(1)),
        ("multithread:3", Multithread(3, "forward", 2)),
    ],
)
def test_tasks(text: str, parsed: object) -> None:
    assert parse_task(text) == parsed


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"tasks": ("singel",)}, "'singel' has no limit to find, did you mean 'single'"),
        ({"tasks": ("single:3",)}, "only .* have a length"),
        ({"threshold": 1.0}, r"`threshold` must be in \(0, 1\), was: 1.0"),
        ({"minutes": 0.0}, "`minutes` must be greater than 0"),
        ({"n": 5}, "`n` 5 is too few for a threshold of 75%: with all right the lower bound is 57%"),
    ],
)
def test_bad_settings(settings: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        LimitSettings(**settings)


def test_what_is_kept_is_read_again(cache: Path) -> None:
    model = ScriptedModel()
    assert stored(model) is None
    kept = context(TaskContext("single", measured(10), (measured(10), measured(20, 9)), True))
    path = store(kept)
    assert path.is_relative_to(cache)
    assert stored(model) == kept
    path.write_text("{}")
    with pytest.raises(
        ModelError, match=r"is not a measurement of this version: .*; delete it and run 'longthread needle"
    ):
        stored(model)


def test_the_window_is_enforced_and_the_ledger_says_why() -> None:
    store(context(TaskContext("single", replace(measured(10), tokens=200), (measured(10),), True)))
    config = load_config(OFFLINE)
    config = replace(config, stages=(Given(), *config.stages[-2:]))
    config = replace(config, budget=Budget(window="effective", task="single"))
    documents = tuple(Document(f"{n}.txt", f"The ferry number {n} leaves at noon from pier {n}.") for n in range(20))
    with Pipeline(config, Path("none")) as pipeline:
        state = pipeline.ask(Question("When does the ferry leave?", documents=documents))
    assert state.ledger.window == 200
    assert state.ledger.prompt_tokens + state.ledger.reserved <= 200
    assert state.ledger.notes == (
        "window 200 of 2048: effective context on the task single: 20 of 20 right at 200 tokens (800 characters), "
        "lower bound 84%, threshold 75%; measured on 2026-11-25 by longthread needle limit",
    )
    assert any(entry.dropped for entry in state.ledger.stages)


def test_without_a_measurement_the_command_is_named() -> None:
    model = ScriptedModel()
    with pytest.raises(ModelError, match="was not measured with these settings: run longthread needle limit scripted"):
        effective_window(model, "single")
    store(context(TaskContext("lines", measured(10), (measured(10),), False)))
    with pytest.raises(
        ModelError, match=r"scripted was measured on lines: run longthread needle limit .* --task single"
    ):
        effective_window(model, "single")
    assert effective_window(model, "lines")[1].endswith("; its time ran out, so it may be more")
    store(context(TaskContext("single", None, (measured(6, 3, 8),), True), TaskContext("lines", measured(9), (), True)))
    with pytest.raises(
        ModelError, match=r"\(3 of 8 right at 300 tokens\): set budget.task to lines, set budget.window"
    ):
        effective_window(model, "single")


def test_the_file_says_window_effective(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    text = OFFLINE.read_text()
    path.write_text(text + "budget: {window: effective}\n")
    assert load_config(path).budget == Budget(window="effective", task="sentences")
    path.write_text(text + "budget: {window: efective}\n")
    with pytest.raises(ConfigError, match=r"budget.window: should be a valid integer or 'effective', was: .efective."):
        load_config(path)
