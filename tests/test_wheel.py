"""The wheel works outside the repository: installed alone into a fresh environment, with the dependencies of this one.

The dependencies are not installed again, which would compile llama.cpp: a .pth file adds this environment's packages
behind the fresh one's. Python reads no .pth files in there, so the editable install of the checkout is not among them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.test_demo import assert_answers_are_right

ROOT = Path(__file__).parent.parent
QUESTION = "How many beehives does the Orla garden have?"


@dataclass(frozen=True)
class Installed:
    """The fresh environment, and a folder outside the repository to run commands in."""

    environment: Path
    folder: Path

    def run(self, *command: str, input_text: str = "") -> subprocess.CompletedProcess[str]:
        """A program of the environment; nothing of the caller's Python settings reaches it."""
        settings = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV_"))}
        settings |= {"LONGTHREAD_CACHE": str(self.folder / "cache"), "HOME": str(self.folder), "COLUMNS": "200"}
        program = self.environment / "bin" / command[0]
        return subprocess.run(
            [str(program), *command[1:]],
            cwd=self.folder,
            env=settings,
            input=input_text,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (file,) = folder.glob("longthread-*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("outside")
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    (packages,) = (environment / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return Installed(environment, folder)


def test_the_wheel_holds_the_license_the_presets_and_the_demo(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        license_text = archive.read(next(name for name in names if name.endswith("/licenses/LICENSE")))
        metadata = archive.read(next(name for name in names if name.endswith("/METADATA"))).decode()
    assert license_text == (ROOT / "LICENSE").read_bytes()
    assert "License-Expression: Apache-2.0" in metadata
    configs = [path for path in (ROOT / "configs").rglob("*") if path.is_file()]
    assert {f"pipeline/presets/{path.relative_to(ROOT / 'configs').as_posix()}" for path in configs} <= names
    assert not [name for name in names if name.startswith(("tests/", "configs/")) or "__pycache__" in name]


def test_it_is_the_installed_longthread_that_runs(installed: Installed) -> None:
    done = installed.run("python", "-c", "import cli.main, pipeline; print(cli.main.__file__)")
    assert Path(done.stdout.strip()).is_relative_to(installed.environment), done.stderr
    version = installed.run("longthread", "--version")
    assert (version.returncode, version.stdout.split()[0], version.stderr) == (0, "longthread", "")


def test_ask_chat_and_check(installed: Installed) -> None:
    document = installed.folder / "garden.txt"
    document.write_text("The Orla garden has seven beehives.\n")
    ask = installed.run("longthread", "ask", QUESTION, "garden.txt", "--quiet", "--config", "offline")
    assert (ask.returncode, "seven beehives" in ask.stdout) == (0, True), ask.stderr
    chat = installed.run(
        "longthread", "chat", "--docs", "garden.txt", "--config", "offline", input_text=f"{QUESTION}\n"
    )
    assert (chat.returncode, "seven beehives" in chat.stdout) == (0, True), chat.stderr
    check = installed.run("longthread", "check", "default", "offline", "eval/xquad/exit")
    assert (check.returncode, len(check.stdout.splitlines())) == (0, 3), check.stderr
    missing = installed.run("longthread", "check", "nosuch")
    assert (missing.returncode, missing.stdout) == (2, "")


@pytest.mark.parametrize("options", [["--no-tune"], pytest.param([], marks=pytest.mark.thorough)], ids=["", "tuned"])
def test_the_demo(installed: Installed, options: list[str]) -> None:
    done = installed.run("longthread", "demo", *options)
    assert done.returncode == 0, done.stderr
    assert_answers_are_right(done.stdout)
    assert "presets/demo/documents" in done.stdout
    assert "town-hall.txt" in done.stdout
    assert done.stdout.splitlines()[-1].strip().startswith("longthread ask")


def test_a_question_from_python(installed: Installed) -> None:
    code = (
        "import longthread as lt; from pipeline.presets import presets_folder; "
        f"print(lt.ask({QUESTION!r}, docs=presets_folder() / 'demo' / 'documents').text)"
    )
    done = installed.run("python", "-c", code)
    assert done.returncode == 0, done.stderr
    assert re.search(r"\b(?:seven|7)\b", done.stdout)
