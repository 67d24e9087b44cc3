"""Chats through a pipe, in this process: lines in; what came out, what was said beside it, and the exit code."""

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.main import main

SCRIPTED = """\
index: {embedder: none}
stages:
  - retrieve.bm25: {k: 3}
  - memory.window
  - assemble.cited
  - generate.scripted: {n_ctx: 4096}
"""


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Talk = Callable[..., Done]


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "tower.md").write_text("# The tower\n\nThe tower was built in 1612. Its bell weighs two tons.\n")
    (folder / "boat.md").write_text("# The boat\n\nThe boat sails at nine. A ticket for the boat costs 14 marks.\n")
    return folder


@pytest.fixture
def scripted(tmp_path: Path) -> Path:
    path = tmp_path / "scripted.yaml"
    path.write_text(SCRIPTED)
    return path


@pytest.fixture
def talk(
    tmp_path: Path, documents: Path, scripted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Talk:
    """Types lines into a chat with the scripted model; `session` names it, `extra` are further arguments."""
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LONGTHREAD_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)

    def _talk(*lines: str, session: str = "s", extra: tuple[str, ...] | None = None) -> Done:
        arguments = extra if extra is not None else ("--docs", str(documents), "--config", str(scripted))
        monkeypatch.setattr(sys, "argv", ["longthread", "chat", "--session", session, *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return _talk
