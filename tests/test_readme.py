"""What the README says is true: its commands run, its tables are complete, its picture needs no network."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from cli.main import app
from pipeline.models.catalogue import MODELS
from pipeline.registry import COMPONENTS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines()]
INLINE = re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the README's paths exist, for all commands in turn."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "configs", folder / "configs")
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_runs(folder: Path, command: str) -> None:
    """In the order of the README: a later command may use the index that an earlier one made."""
    program, *arguments = shlex.split(command)
    assert program == "longthread"
    done = subprocess.run(
        [str(Path(sys.executable).with_name(program)), *arguments],
        cwd=folder,
        env={**os.environ, "LONGTHREAD_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert "Traceback" not in done.stderr


def test_there_are_commands_and_all_blocks_are_shell() -> None:
    assert len(COMMANDS) >= 8
    assert README.count("```") == 2 * len(BLOCKS)


def test_every_make_target_exists() -> None:
    targets = {line.partition(":")[0] for line in (ROOT / "Makefile").read_text().splitlines() if ":" in line}
    named = [words[1] for text in INLINE if len(words := text.split()) > 1 and words[0] == "make"]
    assert {"demo", "test"} <= set(named) <= targets


def test_the_table_has_every_command() -> None:
    table = re.findall(r"^\| `longthread ([a-z ]+)` \|", README, re.MULTILINE)
    assert sorted(table) == sorted(_commands(typer.main.get_command(app)))


def _commands(command: object, before: str = "") -> list[str]:
    found: list[str] = []
    for name, one in getattr(command, "commands", {}).items():
        found += _commands(one, f"{before}{name} ") if hasattr(one, "commands") else [f"{before}{name}"]
    return found


def test_every_model_and_step_that_is_named_exists() -> None:
    models = {entry.name for entry in MODELS}
    assert {text.split()[-1] for text in INLINE if " pull " in text} <= models
    assert "qwen2.5-1.5b-instruct" in models
    steps = {text for text in INLINE if re.fullmatch(r"(retrieve|gate|compress|memory|assemble|generate)\.\w+", text)}
    assert steps == set(COMPONENTS)


def test_every_path_that_is_linked_exists() -> None:
    for path in re.findall(r"\]\(([^)]+)\)", README):
        assert path.startswith("https://") or (ROOT / path).exists(), path


def test_the_picture_is_of_a_run_and_needs_no_network() -> None:
    picture = (ROOT / "docs" / "ask.svg").read_text("utf-8")
    assert "garden.html" in picture
    loaded = re.sub(r"<!--.*?-->", "", picture, flags=re.DOTALL).replace("http://www.w3.org/2000/svg", "")
    assert not re.findall(r"https?:|@font-face|@import", loaded)
