"""What is lost, leaked or stuck when writes go wrong, files are damaged, and commands run at the same time.

    nice -n 15 .venv/bin/python benchmarks/faults.py
    nice -n 15 .venv/bin/python benchmarks/faults.py --minutes 2 --only forget,retry --seed 7

Each game runs a command as its user does. Its writes are counted; then it is run again and again from the same files,
killed before a random one of them (or inside one), or on a disk that is full from there on; then the same command
without a fault has to end as if nothing had been. Further games damage a byte, a block or all of one file of ours, ask
20 times in parallel while the index changes, and talk for 500 turns. The seeds differ from those of the tests.

`failed` counts points after which something was lost, repeated, stuck, or shown as a traceback; each is printed with
its number, so that `--only GAME --at N` repeats it. The last line is JSON. No model is needed but for the snapshots.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.faults_games import (
    GAMES,
    LONGTHREAD,
    PHRASE,
    PRESET,
    QUESTIONS,
    TARGETS,
    Game,
    Place,
    Target,
    begin,
    change_documents,
    chat_command,
    succeed,
)
from tests.faults import ROOT, Done, Kind, build, damage, disturbed, run

WORKERS = 2
KINDS: tuple[Kind, ...] = ("kill", "full", "tear")


@dataclass
class Tally:
    """Points of one kind: how many were tried, and what went wrong at those that failed."""

    tried: int = 0
    failures: list[str] = field(default_factory=list)


class Player:
    """Plays one game: from the same files, with a fault at another write each time."""

    def __init__(self, game: Game, library: Path, folder: Path, log: Callable[[str], None]) -> None:
        self.game, self.library, self.folder, self.log = game, library, folder, log
        self.kills, self.fulls = Tally(), Tally()
        self.bytes_left = 0
        self.template = begin(folder)
        game.prepare(self.template)
        undisturbed = self.template.copy(folder / "undisturbed")
        done = self._disturbed(undisturbed, "kill", 0)
        self.n_changes = done.n_changes
        self.expected: Any = None
        try:
            self.expected = game.outcome(undisturbed)
        except AssertionError as error:  # then no fault can tell more: it counts as one point that failed
            self.n_changes = 0
            self.kills = Tally(1, [str(error)])
            self._count_bytes(undisturbed)
            log(f"{game.name}: without a fault: {error}")

    def _disturbed(self, place: Place, kind: Kind, at: int) -> Done:
        command = self.game.command(place)
        return disturbed(self.library, command, place.folder, kind, at, place.environment, self.game.input_text)

    def play(self, kind: Kind, at: int) -> None:
        tally = self.fulls if kind == "full" else self.kills
        place = self.template.copy(self.folder / f"{kind}-{at}")
        try:
            why = self._why_failed(place, kind, at)
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
        tally.tried += 1
        if why:
            tally.failures.append(why)
            self.log(f"{self.game.name}: {kind} at {at} of {self.n_changes}: {why}")
        self._count_bytes(place)
        shutil.rmtree(place.folder)

    def _count_bytes(self, place: Place) -> None:
        if self.game.name in ("forget", "retry"):
            each = PHRASE.encode()
            self.bytes_left += sum(path.read_bytes().count(each) * len(each) for path in place.files_with(PHRASE))

    def _why_failed(self, place: Place, kind: Kind, at: int) -> str:
        done = self._disturbed(place, kind, at)
        if done.timed_out:
            return "it stood still"
        if kind != "full" and not done.was_killed and done.n_changes >= at and done.code != 0:
            return f"exit code {done.code}: {done.err.strip()[-300:]}"
        if done.has_traceback:
            return f"traceback: {done.err.strip()[-300:]}"
        try:
            self.game.check(place, done)
            outcome = self.game.outcome(place)
        except AssertionError as error:
            return str(error)
        return "" if outcome == self.expected else f"another outcome: {str(outcome)[:200]}"

    def points(self, rng: random.Random) -> Iterator[tuple[Kind, int]]:
        """Two kills, then a full disk, and so on, each at another write."""
        places = rng.sample(range(1, self.n_changes + 1), self.n_changes)
        for number, at in enumerate(places):
            yield KINDS[number % 3], at


class Damager:
    """Damages one file at a time, and looks at what reading it back says."""

    def __init__(self, target: Target, folder: Path, log: Callable[[str], None]) -> None:
        self.target, self.folder, self.log = target, folder, log
        self.n_tried = self.n_tracebacks = self.n_silent = 0
        self.template = begin(folder)
        target.prepare(self.template)
        done, self.expected = target.read(self.template.copy(folder / "undisturbed"))
        assert done.code == 0, f"{target.name} cannot be read undamaged: {done.err[-600:]}"

    def play(self, seed: int) -> None:
        rng = random.Random(seed)
        place = self.template.copy(self.folder / f"damage-{seed}")
        path = rng.choice(self.target.files(place))
        path.write_bytes(damage(path.read_bytes(), rng))
        name = path.relative_to(place.folder).as_posix()
        try:
            done, value = self.target.read(place)
            is_traceback = done.has_traceback or done.timed_out or done.code not in (0, 2)
            is_silent = done.code == 0 and not done.err.strip() and value != self.expected
            what = done.err.strip()[-300:] or str(value)[:200]
        except Exception as error:  # the benchmark itself could not read what the command left
            is_traceback, is_silent, what = False, True, f"{type(error).__name__}: {error}"
        self.n_tried += 1
        self.n_tracebacks += is_traceback
        self.n_silent += is_silent and not is_traceback
        if is_traceback or is_silent:
            self.log(f"damaged {name} (seed {seed}): {'traceback' if is_traceback else 'accepted'}: {what}")
        shutil.rmtree(place.folder)


# ------------------------------------------------------------------------------------------------------------ at a time
def parallel(folder: Path, log: Callable[[str], None], n: int = 20) -> dict[str, int]:
    """`ask --docs` n times at once and two chats, while an index run brings in a change: how many are refused."""
    place = begin(folder)
    succeed(place.longthread("ask", QUESTIONS[0], "--docs", str(place.docs), "-c", PRESET, "-q"))
    change_documents(place)
    command = [*LONGTHREAD, "ask", QUESTIONS[1], "--docs", str(place.docs), "-c", PRESET, "-q"]
    talks = [[*LONGTHREAD, "chat", "--session", name, "--docs", str(place.docs), "-c", PRESET] for name in "ab"]

    def start(command: Sequence[str], text: str = "") -> Done:
        return run(command, place.environment, text, 300)

    with ThreadPoolExecutor(n + 2) as pool:
        chats = [pool.submit(start, talk, f"{QUESTIONS[1]}\n{QUESTIONS[0]}\n") for talk in talks]
        asks = [pool.submit(start, command) for _ in range(n)]
        done = [one.result() for one in (*asks, *chats)]
    refused = [one for one in done if one.code != 0 or ("ten" not in one.out and "nine" not in one.out)]
    for one in refused[:3]:
        log(f"parallel: exit code {one.code}: {one.err.strip()[-200:] or one.out[:200]}")
    return {"asks": n, "chats": 2, "refused": len(refused)}


def soak(folder: Path, n_turns: int, seconds: float) -> dict[str, Any]:
    """A chat through a pipe: its resident memory after turn 50 and after the last."""
    import psutil

    place = begin(folder)
    process = subprocess.Popen(
        chat_command(place),
        cwd=ROOT,
        env=place.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        bufsize=1,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    memory: dict[int, float] = {}
    end = time.monotonic() + seconds
    turn = 0
    while turn < n_turns and time.monotonic() < end:
        turn += 1
        process.stdin.write(f"{QUESTIONS[turn % len(QUESTIONS)]}\n")
        process.stdin.flush()
        if not process.stdout.readline():
            break
        if turn in (50, n_turns):
            memory[turn] = psutil.Process(process.pid).memory_info().rss / 1e6
    if process.poll() is None and turn not in memory:
        memory[turn] = psutil.Process(process.pid).memory_info().rss / 1e6
    process.stdin.close()
    process.stdout.close()
    code = process.wait(60)
    first, last = memory.get(50), memory.get(turn)
    growth = None if first is None or last is None else round(last / first - 1, 4)
    return {
        "turns": turn,
        "exit_code": code,
        "mb_at_50": None if first is None else round(first, 1),
        "mb_at_end": None if last is None else round(last, 1),
        "growth": growth,
    }


# ------------------------------------------------------------------------------------------------------------ all of it
def play_until(end: float, plays: Iterator[Callable[[], None]]) -> None:
    """As many as fit before the end, two at a time."""
    with ThreadPoolExecutor(WORKERS) as pool:
        running: list[Any] = []
        for play in plays:
            while len(running) >= WORKERS:
                running = [one for one in running if not one.done()]
                time.sleep(0.01)
            if time.monotonic() > end:
                break
            running.append(pool.submit(play))
        for one in running:
            one.result()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=9.5)
    parser.add_argument("--seed", type=int, default=20261129)
    parser.add_argument("--turns", type=int, default=500)
    parser.add_argument("--only", default="", help="games by name, with commas; also damage, parallel, soak")
    parser.add_argument("--at", type=int, help="only this write of each game, with all three faults")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",") if arguments.only else [*(g.name for g in GAMES), "damage", "parallel", "soak"]
    start = time.monotonic()
    weights = {"damage": 2.5, "soak": 1.5, "parallel": 1.0}
    left = sum(weights.get(name, 1.0) for name in chosen)
    end = start + arguments.minutes * 60

    def log(text: str) -> None:
        sys.stderr.write(text.replace("\n", " | ") + "\n")
        sys.stderr.flush()

    def share(name: str) -> float:
        """When this game ends: it has its part of what is left."""
        nonlocal left
        now = time.monotonic()
        seconds = max(0.0, end - now) * weights.get(name, 1.0) / left
        left -= weights.get(name, 1.0)
        return now + float(seconds)

    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="longthread-faults-") as temporary:
        folder = Path(temporary)
        library = build(folder)
        bytes_left = 0
        if "parallel" in chosen:
            share("parallel")
            result["parallel"] = parallel(folder / "parallel", log)
        if "soak" in chosen:
            until = share("soak")
            result["soak"] = soak(folder / "soak", arguments.turns, until - time.monotonic())
        for game in GAMES:
            if game.name not in chosen:
                continue
            until = share(game.name)
            if time.monotonic() >= end:
                log(f"{game.name}: no time was left")
                result[game.name] = None
                continue
            player = Player(game, library, folder / game.name, log)
            rng = random.Random(f"{arguments.seed} {game.name}")
            points = player.points(rng) if arguments.at is None else iter([(kind, arguments.at) for kind in KINDS])
            play_until(until, (partial(player.play, kind, at) for kind, at in points))
            bytes_left += player.bytes_left
            result[game.name] = {
                "writes": player.n_changes,
                "kill_points": player.kills.tried,
                "kill_failed": len(player.kills.failures),
                "full_points": player.fulls.tried,
                "full_failed": len(player.fulls.failures),
            }
            log(f"{game.name}: {json.dumps(result[game.name])}")
        if "damage" in chosen:
            until = share("damage")
            damagers = [Damager(target, folder / f"damage-{target.name}", log) for target in TARGETS]
            seeds = ((damager, n) for n in range(100_000) for damager in damagers)
            plays = (partial(damager.play, arguments.seed + n) for damager, n in seeds)
            play_until(until, plays)
            result["damaged"] = {
                "files": sum(one.n_tried for one in damagers),
                "tracebacks": sum(one.n_tracebacks for one in damagers),
                "accepted_silently": sum(one.n_silent for one in damagers),
            }
        if {"forget", "retry"} & set(chosen):
            result["bytes_left_after_forgetting"] = bytes_left
    result["seconds"] = round(time.monotonic() - start, 1)
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
