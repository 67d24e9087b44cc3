"""Runs `watch` in its own process, so that reading and embedding files never delays an answer.

The child has a low priority and ignores the terminal's signals. Its first line of input says what to watch. It prints a
line of JSON per update and ends when its input closes, so it never outlives its parent.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from threading import Event, Thread

from pipeline.config import IndexSettings
from pipeline.listener import silent
from pipeline.watching import News, watch

_NICE = 10
_END_S = 10.0


class Watcher:
    """A running child process. It calls `on_news` from its own thread, for the first update and each change."""

    def __init__(
        self, folder: Path, paths: Sequence[str], settings: IndexSettings, on_news: Callable[[News], None]
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.watch_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        order = {"folder": str(folder), "paths": list(paths), "settings": asdict(settings)}
        if self.process.stdin is not None:
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
        self._is_closed = False
        self._reading = Thread(target=self._read, args=(on_news,), daemon=True)
        self._reading.start()

    def _read(self, on_news: Callable[[News], None]) -> None:
        for line in self.process.stdout or ():
            on_news(_news(json.loads(line)))
        if not self._is_closed:
            on_news(News(problem=f"the process that watches them has ended ({self.process.wait()})"))

    def close(self) -> None:
        """Ends the child. The next update resumes one that was interrupted."""
        self._is_closed = True
        if self.process.stdin is not None:
            with suppress(OSError):
                self.process.stdin.close()
        try:
            self.process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reading.join()
        if self.process.stdout is not None:
            self.process.stdout.close()


def _news(values: dict[str, object]) -> News:
    lists = {name: tuple(map(_tuple, value)) for name, value in values.items() if isinstance(value, list)}
    return News(**lists, problem=str(values["problem"]))  # type: ignore[arg-type]


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def main() -> None:
    """Runs the child until its input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(OSError, AttributeError):
        os.nice(_NICE)
    order = json.loads(sys.stdin.readline())
    stop = Event()
    Thread(target=_leave_at_end_of_input, args=(stop,), daemon=True).start()
    for news in watch(Path(order["folder"]), order["paths"], IndexSettings(**order["settings"]), stop, silent):
        sys.stdout.write(json.dumps(asdict(news)) + "\n")
        sys.stdout.flush()


def _leave_at_end_of_input(stop: Event) -> None:
    """Ends the process once its input closes, even during an update, which survives a kill."""
    sys.stdin.read()
    stop.set()
    os._exit(0)


if __name__ == "__main__":
    from pipeline.offline import switch_off_telemetry

    switch_off_telemetry()
    main()
