"""The tutorial runs as it stands: its files are written, its commands run in their order, and they answer right."""

import re
import shlex
from pathlib import Path

import pytest

from pipeline.evaluation.answers import holds
from tests.cli.conftest import Run

ROOT = Path(__file__).parent.parent.parent
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


@pytest.fixture(params=[2, pytest.param(0, marks=pytest.mark.thorough)], ids=["two questions", "all"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """An empty folder with the tutorial's files; of its six questions the last two, one of them without an answer, or
    all.
    """
    for name, text in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        lines = text.splitlines(keepends=True)
        (tmp_path / name).write_text("".join(lines[-request.param :] if name == "questions.jsonl" else lines), "utf-8")
    return tmp_path


def test_the_commands_run_in_their_order_and_answer_right(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    outputs: dict[str, str] = {}
    for command in COMMANDS:
        program, *arguments = shlex.split(command)
        assert program == "longthread"
        done = run(*arguments)
        assert done.code == 0, f"{command}\n{done.out}{done.err}"
        outputs[command.removeprefix("longthread ")] = done.out
    for words, expected in EXPECTED.items():
        assert expected in outputs[words] or holds(outputs[words], expected), f"{words}\n{outputs[words]}"
    assert (folder / "measured" / "report.html").is_file()


def test_every_expectation_is_of_a_command_of_the_page() -> None:
    assert set(EXPECTED) <= {command.removeprefix("longthread ") for command in COMMANDS}
