"""A terminal that a test types into: tmux, whose screen is read as its user reads it."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

HAS_TMUX = shutil.which("tmux") is not None
SECONDS = 180.0
"""Longest wait for something on the screen: a busy machine reads a prompt slowly."""


class Terminal:
    """A shell's command in a tmux of its own, `width` x `height`. Leaving the `with` ends it, whatever it does."""

    def __init__(self, command: list[str], folder: Path, cache: Path, width: int = 80, height: int = 24) -> None:
        self.socket = f"longthread-test-{uuid.uuid4().hex[:12]}"
        folders = [f"LONGTHREAD_CACHE={cache}", f"LONGTHREAD_DATA={cache.parent / 'data'}"]
        environment = [*folders, "TERM=screen-256color", "COLUMNS=", "LINES=", "PYTHONWARNINGS="]
        line = f"exec env {' '.join(map(shlex.quote, environment))} {shlex.join(command)}"
        self._tmux("new-session", "-d", "-x", str(width), "-y", str(height), "-c", str(folder), line)
        self._tmux("set-option", "-g", "remain-on-exit", "on")
        self._tmux("set-option", "-g", "history-limit", "5000")

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-L", self.socket, "-f", os.devnull, *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout

    def write(self, text: str) -> None:
        self._tmux("send-keys", "-l", text)

    def press(self, *keys: str) -> None:
        """Keys by tmux's names: Enter, C-c, Tab, Escape."""
        self._tmux("send-keys", *keys)

    def line(self, text: str) -> None:
        self.write(text)
        self.press("Enter")

    def screen(self, with_history: bool = False, with_colours: bool = False) -> str:
        options = [*(("-S", "-5000") if with_history else ()), *(("-e",) if with_colours else ())]
        return self._tmux("capture-pane", "-p", *options).rstrip()

    def wait(self, text: str, times: int = 1, seconds: float = SECONDS) -> str:
        """All that was shown so far, once the text has been shown so often. Raises AssertionError when it is not."""
        end = time.monotonic() + seconds
        while True:
            shown = self.screen(with_history=True)
            if shown.count(text) >= times:
                return shown
            if time.monotonic() > end:
                raise AssertionError(f"{text!r} was not shown {times} times within {seconds} s:\n{shown}")
            time.sleep(0.05)

    def wait_for_prompt(self, seconds: float = SECONDS) -> str:
        """The screen, once the chat waits for a line: the last line above the bar holds nothing but the prompt."""
        end = time.monotonic() + seconds
        while True:
            above = [line for line in self.screen().splitlines() if line.strip()][:-2]
            if above and above[-1].strip() == ">":
                return self.screen()
            if time.monotonic() > end:
                raise AssertionError(f"no prompt within {seconds} s:\n{self.screen()}")
            time.sleep(0.05)

    @property
    def pid(self) -> int:
        return int(self._tmux("display-message", "-p", "#{pane_pid}"))

    def kill(self) -> None:
        """SIGKILL to the command, and waits for its end."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait_until_dead()

    def wait_until_dead(self, seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while self._tmux("display-message", "-p", "#{pane_dead}").strip() != "1":
            if time.monotonic() > end:
                raise AssertionError(f"still running after {seconds} s:\n{self.screen()}")
            time.sleep(0.05)

    def close(self) -> None:
        subprocess.run(["tmux", "-L", self.socket, "kill-server"], capture_output=True, check=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
