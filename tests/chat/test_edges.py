"""A chat that is given text which drives a terminal, and one whose settings cannot be written."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.chat.command_types import Group
from cli.chat.commands import COMMANDS
from cli.chat.settings import DAMAGED
from cli.main import main
from tests.chat.conftest import Talk
from tests.cli.hostile import HTML, NAME, SEEN, TEXT, dangers

QUESTION = "What is the bell of the tower?"


@pytest.mark.parametrize("is_terminal", [False, True], ids=["pipe", "terminal"])
def test_every_command_with_hostile_text(
    talk: Talk, documents: Path, is_terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm-256color")
    (documents / f"{NAME}.txt").write_text(f"Title: {TEXT}\n\nThe bell of the tower is {TEXT} green.\n")
    (documents / "page.html").write_text(f"<title>{HTML}</title><p>The bell of the tower {HTML} rings.</p>")
    (documents / f"empty {NAME}.txt").write_text("")
    (documents.parent / f"{NAME}.txt").write_text("The gate is red.\n")
    lines = [QUESTION, f"{QUESTION} {TEXT}", TEXT, "/sources", "/prompt", "/diff", "/ledger", "/memory show", "/why"]
    lines += ["summarise the tower", f"summarise {TEXT}", "which files do you have?", "no, I meant the gate", "/edit x"]
    lines += [f'/docs add "{NAME}.txt"', "/docs list", "/docs list --skipped", f'/docs remove "{NAME}.txt"']
    for name, command in COMMANDS.items():
        if name not in ("quit", "undo", "retry"):
            subs = command.subs if isinstance(command, Group) else ()
            words = [f"{name} {sub.name}" for sub in subs] or [name]
            lines += [f"/{word} {argument}" for word in words for argument in (TEXT, f"turn {TEXT}", "a[/b]c", "a\0b")]
    done = talk(*(line.replace("\n", " ") for line in [*lines, f"/{TEXT}", f"/set {TEXT} {TEXT}", QUESTION]))
    assert (done.code, "Traceback" in done.err) == (2, False), done.err[-2000:]
    assert dangers(done.out, is_terminal) == []
    assert dangers(done.err, is_terminal) == []
    assert done.out.count(SEEN) > 5
    assert done.err.count(SEEN) > 5
    assert "a[/b]c" in done.err


def test_settings_that_cannot_be_written_are_said_and_the_chat_goes_on(
    documents: Path, scripted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LONGTHREAD_DATA", str(tmp_path / "data"))

    def lines() -> Iterator[str]:
        yield "When was the tower built?\n"
        (settings,) = tmp_path.rglob("chat.json")
        settings.unlink()
        settings.mkdir()  # whoever writes the settings now finds a folder in the place of the file
        (settings.with_name(DAMAGED) / "full").mkdir(parents=True)  # and no room to move it away
        yield "/set ledger on\n"
        yield "When does the boat sail?\n"

    class Input:
        def isatty(self) -> bool:
            return False

        def __iter__(self) -> Iterator[str]:
            return lines()

    monkeypatch.setattr(sys, "stdin", Input())
    monkeypatch.setattr(sys, "argv", ["longthread", "chat", "--docs", str(documents), "--config", str(scripted)])
    with pytest.raises(SystemExit, match="2"):
        main()
    out, err = capsys.readouterr()
    assert "chat.json: Directory not empty" in err
    assert "Traceback" not in err
    assert out.splitlines()[-1].startswith("The boat sails at nine.")
