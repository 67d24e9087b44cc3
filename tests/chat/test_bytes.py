"""Bytes that are no UTF-8, typed at a real terminal: the line is answered and kept, and the next one is."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.conversation.transcript import read_turns
from pipeline.conversation.typed import read_typed

ROOT = Path(__file__).parent.parent.parent
SECONDS = 120.0


class Typist:
    """Types bytes into a command's terminal, and reads what it writes there."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        self.shown = b""

    def type(self, data: bytes) -> None:
        os.write(self.master, data)

    def wait(self, text: bytes) -> None:
        """Until the text was shown since the last wait. Raises AssertionError when it is not."""
        end = time.monotonic() + SECONDS
        while text not in self.shown:
            assert time.monotonic() < end, f"{text!r} was not shown: {self.shown[-3000:]!r}"
            self.read()
        self.shown = self.shown.partition(text)[2]

    def read(self) -> None:
        if select.select([self.master], [], [], 0.1)[0]:
            try:
                self.shown += os.read(self.master, 65536)
            except OSError as error:  # the other side is closed
                raise AssertionError(f"it ended: {self.shown[-3000:]!r}") from error
            if b"\x1b[6n" in self.shown:  # prompt-toolkit asks where the cursor is
                self.shown = self.shown.replace(b"\x1b[6n", b"")
                self.type(b"\x1b[1;1R")

    def close(self) -> int:
        """Ctrl-D on an empty line; the exit code."""
        self.type(b"\x04")
        end = time.monotonic() + SECONDS
        while self.process.poll() is None and time.monotonic() < end:
            try:
                self.read()
            except AssertionError:
                break
        code = self.process.wait(SECONDS)
        os.close(self.master)
        return code


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal is needed")
@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_bytes_that_are_no_utf_8_are_answered_and_kept(
    tmp_path: Path, documents: Path, scripted: Path, locale: str
) -> None:
    folders = {"LONGTHREAD_CACHE": str(tmp_path / "cache"), "LONGTHREAD_DATA": str(tmp_path / "data")}
    environment = {**os.environ, **folders, "TERM": "xterm", "LC_ALL": locale, "PYTHONWARNINGS": ""}
    arguments = ["--session", "s", "--docs", str(documents), "--config", str(scripted)]
    typist = Typist([sys.executable, "-m", "cli.main", "chat", *arguments], environment)
    try:
        typist.wait(b"lists the commands")
        typist.wait(b"> ")
        for line in (b"When was the caf\xe9 tower \xff\x80 built?", b"/docs add \xe9\xff.md", b"/set \xff \xfe"):
            typist.type(line + b"\r")
            typist.wait(b"1612" if line.startswith(b"When") else b"\x1b[31m")
            typist.wait(b"> ")
        typist.type(b"When does the boat sail?\r")
        typist.wait(b"nine")
        typist.wait(b"> ")
        assert typist.close() == 0
    finally:
        typist.process.kill()
        typist.process.wait()
    first, second = read_turns(tmp_path / "data" / "sessions" / "s")
    assert first.question == "When was the café tower ÿ€ built?"
    assert second.question == "When does the boat sail?"
    lines = [line.text for line in read_typed(tmp_path / "data" / "sessions" / "s")]
    assert len(lines) == 4
    assert lines[-1] == "When does the boat sail?"
