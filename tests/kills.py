"""Kills a process at each of its changes to the disk, and looks at what the next process finds.

A game makes a folder, changes it, and checks what a killed change has left. `run_game` plays it at every change, or at
some of them, in a process of its own that `faults.c` is preloaded into:

    result = run_game("tests.memory.games:FORGET", tmp_path, every=1)
    assert result.failed == ()

With `full`, the disk is full from that change on, in the place of a kill. `benchmarks/faults.py` plays the same games
with other seeds.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.retrieval.vectors import load_library
from tests.faults import COMPILER, ROOT, Kind, build

CAN_PLAY = COMPILER is not None and sys.platform == "linux"
_FAULT = "fault.txt"


@dataclass(frozen=True)
class Game:
    """`prepare` makes what is needed below a folder, `play` changes it, and `check` opens what is left of it.

    Each runs in a fork of its own, with LONGTHREAD_DATA and LONGTHREAD_CACHE below the folder. `check` raises what is
    wrong, usually an AssertionError. With `is_warmed` the game is first played once in the process that forks, which
    is much quicker; it must not leave threads there, as Chroma does.
    """

    prepare: Callable[[Path], None]
    play: Callable[[Path], None]
    check: Callable[[Path], None]
    is_warmed: bool = True


@dataclass(frozen=True)
class Result:
    """`n_changes` is how often an undisturbed game changes the disk; `failed` says where and how it failed."""

    n_changes: int
    tried: tuple[int, ...]
    failed: tuple[str, ...]


def run_game(
    name: str, folder: Path, every: int = 1, seed: int = 0, torn: bool = False, full: bool = False, limit: int = 0
) -> Result:
    """Plays a game `module:NAME` at each `every`-th change, from one that the seed chooses; at most `limit` times.

    `torn` writes half of what the killed call was to write.
    """
    library = build(folder)
    settings = {"every": every, "seed": seed, "torn": torn, "full": full, "limit": limit}
    done = subprocess.run(
        [sys.executable, "-m", "tests.kills", name, str(folder), json.dumps(settings)],
        cwd=ROOT,
        env={**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{name} could not be played: {done.stderr[-2000:]}")
    result = json.loads(done.stdout.splitlines()[-1])
    return Result(result["n_changes"], tuple(result["tried"]), tuple(result["failed"]))


# ------------------------------------------------------------------------------------------ in the game's process
def _play_all(game: Game, folder: Path, every: int, seed: int, torn: bool, full: bool, limit: int) -> Result:
    if game.is_warmed:
        _warm(game, folder / "warm")
    else:
        load_library()  # leaves no thread behind, unlike a client, and each fork is a second quicker
    base = folder / "base"
    base.mkdir()
    if fault := _forked(base, lambda: game.prepare(base)):
        raise RuntimeError(f"prepare: {fault}")
    n_changes = _count(game, base, folder / "counted")
    rng = random.Random(seed)
    points = list(range(1 + rng.randrange(every), n_changes + 1, every))
    if limit and len(points) > limit:
        points = sorted(rng.sample(points, limit))
    failed = []
    for n in points:
        work = folder / f"point-{n}"
        shutil.copytree(base, work)
        fault = _forked(work, lambda work=work, n=n: _disturbed(game, work, n, torn, full))  # type: ignore[misc]
        fault = fault or _forked(work, lambda work=work: game.check(work))  # type: ignore[misc]
        if fault:
            failed.append(f"change {n} of {n_changes}: {fault}")
        else:
            shutil.rmtree(work)
    return Result(n_changes, tuple(points), tuple(failed))


def _warm(game: Game, folder: Path) -> None:
    folder.mkdir()
    _choose_folders(folder)
    for step in (game.prepare, game.play, game.check):
        step(folder)


def _choose_folders(folder: Path) -> None:
    os.environ["LONGTHREAD_DATA"], os.environ["LONGTHREAD_CACHE"] = str(folder / "data"), str(folder / "cache")


def _count(game: Game, base: Path, work: Path) -> int:
    shutil.copytree(base, work)

    def counted() -> None:
        _watch(work, 0, "kill")
        game.play(work)
        (work / "count.txt").write_text(str(_stop()))

    if fault := _forked(work, counted) or _forked(work, lambda: game.check(work)):
        raise RuntimeError(f"undisturbed: {fault}")
    n = int((work / "count.txt").read_text())
    shutil.rmtree(work)
    return n


def _disturbed(game: Game, work: Path, n: int, torn: bool, full: bool) -> None:
    """Plays until the kill; on a full disk until the error that is meant for the user."""
    from pipeline.errors import LongthreadError

    _watch(work, n, "full" if full else "tear" if torn else "kill")
    try:
        game.play(work)
    except LongthreadError:
        if not full:
            raise
    finally:
        _stop()


def _watch(folder: Path, n: int, kind: Kind) -> None:
    ctypes.CDLL(None).faults_watch(os.fsencode(folder), ctypes.c_long(n), ctypes.c_char(kind[0].encode()))


def _stop() -> int:
    """The number of changes since `_watch`."""
    library = ctypes.CDLL(None)
    library.faults_stop.restype = ctypes.c_long
    return int(library.faults_stop())


def _forked(folder: Path, work: Callable[[], None]) -> str:
    """What went wrong in a fork that did the work; empty where nothing did, or it was killed as planned."""
    path = folder.with_name(f"{folder.name}-{_FAULT}")
    child = os.fork()
    if child == 0:
        _choose_folders(folder)
        try:
            work()
            os._exit(0)
        except BaseException:
            path.write_text(traceback.format_exc()[-3000:])
            os._exit(1)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code in (0, -signal.SIGKILL):
        return ""
    fault = path.read_text() if path.exists() else f"ended with {code}"
    path.unlink(missing_ok=True)
    return fault


def main() -> None:
    name, folder, settings = sys.argv[1:]
    module, _, attribute = name.partition(":")
    game: Game = getattr(importlib.import_module(module), attribute)
    result = _play_all(game, Path(folder), **json.loads(settings))
    sys.stdout.write(json.dumps(asdict(result)) + "\n")


if __name__ == "__main__":
    main()
