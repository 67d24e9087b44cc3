"""Cells at rest: bounded, private, never torn, forgotten to the last byte."""

import logging
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.models import cell_packing
from pipeline.models.kv_state import F16, Cache, Rows, State
from pipeline.models.piece_store import PieceStore
from pipeline.storage import cell_files
from pipeline.types import Piece

MODEL = "ab" * 32
MB = 1 << 20


def piece(n: int, text: str = "", size: int = 0, model: str = MODEL) -> Piece:
    """A piece of 8 cells with 2 layers; `size` pads its state."""
    random = np.random.default_rng(n)
    rows = tuple(
        Rows(F16, random.normal(size=(8, 64)).astype(np.float16).view(np.uint8).reshape(8, 128)) for _ in "kvkv"
    )
    state = State(np.zeros(8, np.uint8), (Cache(np.arange(8, dtype=np.int32), rows[:2], rows[2:]),)).to_bytes()
    state = np.concatenate([state, np.zeros(size, np.uint8)])
    return Piece(
        f"{n:02x}" * 32, model, "prefix", 3, np.arange(8, dtype=np.int32), state, text or f"text {n}", "before"
    )


def store(root: Path, max_memory_bytes: int = 64 * MB, max_disk_bytes: int = 64 * MB) -> PieceStore:
    return PieceStore(root, MODEL, max_memory_bytes, max_disk_bytes)


def same(first: Piece, second: Piece | None) -> bool:
    return (
        second is not None
        and (first.key, first.text, first.before, first.position, first.prefix)
        == ((second.key, second.text, second.before, second.position, second.prefix))
        and (np.array_equal(first.state, second.state) and np.array_equal(first.tokens, second.tokens))
    )


def test_another_process_finds_what_one_has_written(tmp_path: Path) -> None:
    first = store(tmp_path)
    first.put(piece(1, "Die Fähre\udc80"))
    assert first.flush(30)
    assert same(piece(1, "Die Fähre\udc80"), store(tmp_path).get(piece(1).key))
    assert store(tmp_path).get(piece(2).key) is None
    first.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "longthread-cells"]


def test_writing_does_not_delay_whoever_puts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()
    real = cell_files.write_part
    monkeypatch.setattr(cell_files, "write_part", lambda *given: (goes_on.wait(30), real(*given))[1])
    slow = store(tmp_path)
    for n in range(5):
        slow.put(piece(n))
        assert same(piece(n), slow.get(piece(n).key))
    assert not slow.path(piece(0).key).exists()
    goes_on.set()
    slow.close()
    assert all(slow.path(piece(n).key).exists() for n in range(5))


@pytest.mark.skipif(os.name != "posix", reason="modes of files are those of POSIX")
def test_folders_and_files_are_their_owners_alone(tmp_path: Path) -> None:
    root = tmp_path / "pieces"
    root.mkdir(mode=0o755)
    pieces = store(root)
    pieces.put(piece(1))
    pieces.close()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (root, pieces.folder)}
    assert modes == {0o700}
    assert stat.S_IMODE(pieces.path(piece(1).key).stat().st_mode) == 0o600


def test_memory_and_disk_are_bounded_the_least_recently_used_go(tmp_path: Path) -> None:
    small = store(tmp_path, max_memory_bytes=3 * MB, max_disk_bytes=5 * MB)
    for n in range(8):
        small.put(piece(n, size=MB - 8192))
        small.flush()
        time.sleep(0.01)
        if n:
            assert small.get(piece(1).key) is not None
    assert len(small) == 3
    assert small.n_bytes <= 3 * MB
    small.close()
    kept = [n for n in range(8) if small.path(piece(n).key).exists()]
    assert 4 <= len(kept) <= 5
    assert kept[-3:] == [5, 6, 7]
    n_files, n_bytes = cell_files.size_of(tmp_path)
    assert (n_files, n_bytes <= 5 * MB) == (len(kept), True)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "torn": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "foreign": lambda data: b"no cells at all" * 99,
    "a bit of the state": lambda data: data[:-50] + bytes([data[-50] ^ 4]) + data[-49:],
    "a bit of the header": lambda data: data.replace(b'"position": 3', b'"position": 2', 1),
    "longer": lambda data: data + b"x",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_never_loaded_and_written_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    pieces = store(tmp_path)
    pieces.put(piece(1))
    pieces.close()
    path = pieces.path(piece(1).key)
    whole = path.read_bytes()
    path.write_bytes(DAMAGE[damage](whole))
    with caplog.at_level(logging.WARNING):
        assert store(tmp_path).get(piece(1).key) is None
    assert f"{path}: not loaded" in caplog.text
    again = store(tmp_path)
    again.put(piece(1))
    again.close()
    assert path.read_bytes() == whole


def test_a_file_of_another_model_or_key_is_not_loaded(tmp_path: Path) -> None:
    pieces = store(tmp_path)
    pieces.put(piece(1))
    pieces.close()
    pieces.path(piece(1).key).rename(pieces.path(piece(2).key))
    assert store(tmp_path).get(piece(2).key) is None
    assert PieceStore(tmp_path, "cd" * 32, MB, MB).get(piece(1).key) is None


def test_forgetting_a_text_deletes_it_for_every_model_in_memory_on_disk_and_on_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = PieceStore(tmp_path, "cd" * 32, MB, 64 * MB)
    other.put(piece(1, "Anna moved\n to Graz.", model="cd" * 32))
    other.close()
    pieces = store(tmp_path)
    pieces.put(piece(2, "In May Anna  moved to Graz. Then it rained."))
    pieces.put(piece(3, "It rained."))
    pieces.flush()
    started, goes_on = threading.Event(), threading.Event()
    real = cell_files.write_part

    def slow(*given: object) -> Path:
        part = real(*given)  # type: ignore[arg-type]
        started.set()
        goes_on.wait(30)
        return part

    monkeypatch.setattr(cell_files, "write_part", slow)
    pieces.put(piece(4, "Anna moved to Graz."))
    assert started.wait(30)
    assert pieces.forget("Anna moved to Graz.") >= 3
    goes_on.set()
    pieces.close()
    assert [pieces.get(piece(n).key) is None for n in (1, 2, 3, 4)] == [True, True, False, True]
    left = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"Graz" not in left
    assert piece(2).state.tobytes()[-64:] not in left
    assert piece(3).state.tobytes()[-64:] in left
    assert pieces.forget("  ") == 0
    pieces.remove(piece(3).key)
    assert list(tmp_path.rglob("*.kv")) == []


WRITER = """
import sys
from pathlib import Path
from tests.models.test_piece_store import piece, store, MB
pieces = store(Path(sys.argv[1]))
for n in range(40):
    pieces.put(piece(n, size=MB))
    pieces.flush()
    print(n, flush=True)
"""


def test_a_kill_while_it_writes_loses_nothing_but_that_file(tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert writer.stdout is not None
    written = -1
    for line in writer.stdout:
        written = int(line)
        if written >= 5:
            writer.send_signal(signal.SIGKILL)
            break
    writer.wait()
    writer.stdout.close()
    after = store(tmp_path)
    assert all(same(piece(n, size=MB), after.get(piece(n).key)) for n in range(written + 1))
    for path in tmp_path.rglob("*.part"):
        os.utime(path, (0, 0))
    after.put(piece(99))
    after.close()
    assert list(tmp_path.rglob("*.part")) == [], "what the killed writer left goes with the next that is written"


def test_a_disk_that_cannot_be_written_costs_time_and_no_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    with caplog.at_level(logging.WARNING):
        blocked = store(tmp_path / "file")
        blocked.put(piece(1))
        assert blocked.flush(30)
        assert same(piece(1), blocked.get(piece(1).key))
        blocked.close()
    assert "not kept" in caplog.text


def test_eight_bits_take_half_the_place_and_are_near(tmp_path: Path) -> None:
    packed = PieceStore(tmp_path, MODEL, 64 * MB, 64 * MB, is_packed=True)
    packed.put(piece(1))
    packed.close()
    small = cell_packing.pack(piece(1).state)
    assert small is not None
    assert small.nbytes < 0.6 * piece(1).state.nbytes
    again = PieceStore(tmp_path, MODEL, 64 * MB, 64 * MB, is_packed=True).get(piece(1).key)
    assert again is not None
    assert again.state.nbytes == piece(1).state.nbytes
    values, others = (State.parse(held.state).caches[0].keys[0].values() for held in (piece(1), again))
    assert np.abs(values - others).max() <= np.abs(values).max() / 127
    assert cell_packing.pack(piece(1).state[:8]) is None, "nothing to pack"
