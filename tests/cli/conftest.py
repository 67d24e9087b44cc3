"""The commands as their user runs them: arguments in, exit code and text out."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.main import main

DEMO = Path(__file__).parent.parent.parent / "configs" / "demo"
OFFLINE = str(Path(__file__).parent.parent.parent / "configs" / "offline.yaml")


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory, fill_cache: Callable[[Path], Path]) -> Path:
    return fill_cache(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shared_cache: Path) -> Run:
    """Runs a command in this process; an error that is not for the user comes through as what it is."""
    monkeypatch.setenv("LONGTHREAD_CACHE", str(shared_cache))
    monkeypatch.setenv("COLUMNS", "200")

    def _run(*arguments: str) -> Done:
        return run_main(arguments, monkeypatch, capsys)

    return _run


def run_main(arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Done:
    """Runs a command in this process and folder."""
    monkeypatch.setattr(sys, "argv", ["longthread", *arguments])
    capsys.readouterr()
    try:
        main()
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    captured = capsys.readouterr()
    return Done(code, captured.out, captured.err)
