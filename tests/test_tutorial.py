"""The tutorial runs as it stands: its files are written, its commands run in their order, and they answer right."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.evaluation.answers import holds

ROOT = Path(__file__).parent.parent
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
FILES = re.findall(r"^```\w+ file=(\S+)\n(.*?)^```", TUTORIAL, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line for block in re.findall(r"^```sh\n(.*?)^```", TUTORIAL, re.M | re.DOTALL) for line in block.split("\n")
]
COMMANDS = [command for command in COMMANDS if command]

EXPECTED = {
    'ask "Who built the oldest clock?" museum': "Tobias Renk",
    'ask "How much does the bus from the airport cost?" museum': "The documents do not hold the answer.",
    'ask "When does the museum open on the first Sunday of a month?" museum --config mine.yaml --account': "9:00",
    "steps compress.exit_mini": "keep_ratio: number or null",
    "eval whole.yaml mine.yaml --docs museum --data questions.jsonl --kind jsonl --output measured": "mine",
    "sweep sweep.yaml --output swept": "top_k",
}
"""What a command prints, by its words after `longthread`."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder with the tutorial's files; nothing else is in it or in the cache."""
    folder = tmp_path_factory.mktemp("tutorial")
    for name, text in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    return folder


def test_the_commands_run_in_their_order_and_answer_right(folder: Path) -> None:
    environment = {**os.environ, "LONGTHREAD_CACHE": str(folder / ".cache"), "PYTHONPATH": str(ROOT)}
    outputs: dict[str, str] = {}
    for command in COMMANDS:
        program, *arguments = shlex.split(command)
        assert program == "longthread"
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        outputs[command.removeprefix("longthread ")] = done.stdout
    for words, expected in EXPECTED.items():
        assert expected in outputs[words] or holds(outputs[words], expected), f"{words}\n{outputs[words]}"
    assert (folder / "measured" / "report.html").is_file()
    shutil.rmtree(folder / ".cache")


def test_every_expectation_is_of_a_command_of_the_page() -> None:
    assert set(EXPECTED) <= {command.removeprefix("longthread ") for command in COMMANDS}
