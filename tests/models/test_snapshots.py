"""KV on disk and in the context: exact, and never from a file that is torn, foreign or damaged."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ModelError
from pipeline.models.engine import Engine, open_engine
from pipeline.models.settings import EngineSettings
from pipeline.models.snapshots import Snapshots
from pipeline.types import Prompt, Sampling, Soft, Text
from tests.models.random_file import random_model

TEXT = "The ferry crosses the strait twice a day, at seven and at four, as long as the wind is in the west. " * 2


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path))
    return tmp_path


def engine_of(path: Path, **settings: object) -> Engine:
    return open_engine(EngineSettings(n_ctx=1024, **settings), path)  # type: ignore[arg-type]


def test_a_restored_prompt_goes_on_like_a_fresh_one(q4: Path) -> None:
    prompt: Prompt = (Text(TEXT),)
    with engine_of(q4) as first:
        fresh = first.next_logprobs(prompt)
        first.snapshot(prompt)
    with engine_of(q4) as second:
        assert second.restore((*prompt, Text(" And on Sunday?"))) == second.count(prompt)
        assert np.abs(second.next_logprobs(prompt) - fresh).max() < 1e-3
        done = second.generate([(*prompt, Text(" And on Sunday?"))], Sampling(max_tokens=3))[0].result()
        assert done.reused_tokens == second.count(prompt)


def test_the_longest_snapshot_is_taken_and_only_one_that_fits(q4: Path) -> None:
    short, long = TEXT[:80], TEXT[:200]
    with engine_of(q4) as engine:
        engine.snapshot(short)
        engine.snapshot(long)
        engine.pool.forget()
        assert engine.restore(TEXT[100:]) == 0
        assert engine.restore(short) == engine.count_text(short)
        n_here = engine.restore(long + " and more")
        assert n_here == engine.count_text(long)
        assert engine.restore(short) == engine.count_text(short)


def test_a_soft_prompt_has_a_snapshot_of_its_own(q4: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(4, 576)).astype(np.float32)
    with engine_of(q4) as engine:
        engine.snapshot((Text("a"), Soft(vectors)))
        engine.pool.forget()
        assert engine.restore((Text("a"), Soft(vectors + 1))) == 0
        assert engine.restore((Text("a"), Soft(vectors))) == 5


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "torn": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "foreign": lambda data: b"not a snapshot at all" * 100,
    "one bit of the state": lambda data: data[:-1000] + bytes([data[-1000] ^ 1]) + data[-999:],
    "one bit of the header": lambda data: data.replace(b'"n":', b'"m":', 1),
    "a huge header": lambda data: data[:16] + b"\xff\xff\xff\xff" + data[20:],
    "longer": lambda data: data + b"x",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_snapshot_is_ignored_with_a_line_in_the_log(
    tiny: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    with engine_of(tiny) as engine:
        path = engine.snapshot(TEXT)
        path.write_bytes(DAMAGE[damage](path.read_bytes()))
        engine.pool.forget()
        with caplog.at_level(logging.WARNING):
            assert engine.restore(TEXT) == 0
        assert f"{path}: not loaded" in caplog.text
        assert engine.snapshot(TEXT) == path, "and it is made again"
        engine.pool.forget()
        assert engine.restore(TEXT) == engine.count_text(TEXT)


def test_other_settings_and_other_weights_do_not_see_it(tiny: Path, tmp_path: Path) -> None:
    with engine_of(tiny) as engine:
        engine.snapshot(TEXT)
        assert engine.restore(TEXT) > 0
    scaled = {"rope_scaling": "linear", "rope_factor": 2.0}
    for path, settings in ((tiny, {"kv_k": "q8_0"}), (tiny, scaled), (random_model(tmp_path, seed=1), {})):
        with engine_of(path, **settings) as other:
            assert other.restore(TEXT) == 0


def test_a_text_is_forgotten_in_snapshots_as_well(q4: Path, cache: Path) -> None:
    with engine_of(q4) as engine:
        kept = engine.snapshot("The lighthouse stands on the cape.")
        gone = engine.snapshot("Anna has moved\n to Graz.")
        assert engine.forget("Anna has moved to Graz") == 1
        assert (kept.exists(), gone.exists()) == (True, False)
        assert engine.restore("Anna has moved\n to Graz.") == 0


def test_the_least_recently_used_go_when_there_are_too_many(q4: Path, cache: Path) -> None:
    with engine_of(q4) as engine:
        size = engine.snapshot(TEXT[:40]).stat().st_size
        snapshots = Snapshots(cache / "few", engine, most_bytes=3 * size)
        paths = [snapshots.save(engine.cells(f"{n} {TEXT[:38]}")) for n in range(5)]
        assert [path.exists() for path in paths][:2] == [False, False]
        assert paths[-1].exists()
        assert sum(path.stat().st_size for path in (cache / "few").rglob("*.kv")) <= 3 * size


def test_half_written_snapshots_are_swept_and_those_being_written_count(q4: Path, cache: Path) -> None:
    with engine_of(q4) as engine:
        size = engine.snapshot(TEXT[:40]).stat().st_size
        snapshots = Snapshots(cache / "few", engine, most_bytes=3 * size)
        snapshots.save(engine.cells(f"0 {TEXT[:38]}"))
        halves = [snapshots.folder / f"tmp{n}.part" for n in range(4)]
        for half in halves:
            half.write_bytes(bytes(size))
        for half in halves[1:]:
            os.utime(half, (0, 0))
        for n in range(1, 4):
            snapshots.save(engine.cells(f"{n} {TEXT[:38]}"))
        assert [half.exists() for half in halves] == [True, False, False, False]
        files = [path for path in (cache / "few").rglob("*") if path.is_file()]
        assert sum(path.stat().st_size for path in files) <= 3 * size


def test_a_folder_that_cannot_be_written_is_an_error_and_leaves_nothing(q4: Path, cache: Path) -> None:
    (cache / "snapshots").write_text("a file where the folder should be")
    with engine_of(q4) as engine, pytest.raises(ModelError, match="the snapshot cannot be written"):
        engine.snapshot(TEXT)


def test_a_list_in_the_cache_is_cheap_to_repeat_and_dear_once_its_cells_are_gone(exact: Engine) -> None:
    """Verbatim short-term memory (Armeni et al. 2022, arXiv 2210.13569): the second list is recalled from the first."""
    nouns = "patience, notion, movie, women, canoe, novel, folly, silver, eagle, center"
    intro = 'Mary wrote down a list of words: "'
    middle = '" After the meeting, she took a break and had a cup of coffee. Then she read the list again: "'
    whole = f"{intro}{nouns}{middle}{nouns}"
    cells = exact.cells(whole)
    n_again = exact.count_text(nouns)
    first = -exact.logprobs((Text(intro + nouns),), exact.count_text(intro)).mean()
    again = -exact.logprobs(whole, len(cells) - n_again).mean()
    assert again < 0.35 * first
    without = -exact.logprobs(f"{intro}{middle}{nouns}", len(exact.cells(f"{intro}{middle}{nouns}")) - n_again).mean()
    assert without > 0.6 * first
