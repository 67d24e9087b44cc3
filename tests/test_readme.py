"""What the README says is true: its commands run and answer right, its links lead somewhere, its picture is offline.

The answers are those of the model that comes along, SmolLM2-135M, or of a quote that takes their place. Asking it takes
some seconds, so each command runs once for all tests.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path

import pytest
import typer

from cli.main import app
from pipeline.documents.formats import FORMATS
from pipeline.evaluation.answers import holds
from pipeline.gguf.named import MODELS
from pipeline.registry import COMPONENTS, KINDS
from tests.cli.conftest import Done, run_main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
MAX_LINES = 150
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines()]
SCRIPTS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
OUTPUTS = re.findall(r"^```text\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
INLINE = re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL))


ANSWERS = {
    "How many beehives does the garden have?": ("garden.html", ("seven", "7")),
    "Who repaired the clock in 1987?": ("town-hall.txt", ("Lucia Ferrand",)),
    "When does the ferry leave in winter?": ("ferry.md", ("9:00",)),
}
"""Each question of the README with the document that answers it, and the accepted answers."""
ACCOUNT = re.compile(r"\d+ tokens read, \d+ written in \d+\.\d s(, \d of \d passages left out)?, --account shows all")

Run = Callable[[str], Done]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, fill_cache: Callable[[Path], Path]) -> Path:
    """A folder in which the README's paths exist."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "configs", folder / "configs")
    fill_cache(folder / "cache")
    return folder


@pytest.fixture(scope="module")
def finished() -> dict[str, Done]:
    """What each command has printed."""
    return {}


@pytest.fixture
def run(
    place: Path,
    finished: dict[str, Done],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Runs a command of the README, once: the first as a program of its own, the others in this process."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("LONGTHREAD_CACHE", str(place / "cache"))
    monkeypatch.setenv("LONGTHREAD_DATA", str(place / "data"))

    def _run(command: str) -> Done:
        if command not in finished:
            program, *arguments = shlex.split(command)
            assert program == "longthread"
            if command == COMMANDS[0]:
                program = str(Path(sys.executable).with_name(program))
                done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
                finished[command] = Done(done.returncode, done.stdout, done.stderr)
            else:
                finished[command] = run_main(arguments, monkeypatch, capsys)
        return finished[command]

    return _run


def question_of(command: str) -> str | None:
    """The question that a command asks."""
    _, name, *arguments = shlex.split(command)
    return arguments[0] if name in ("ask", "why") else None


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_runs_and_answers_right(run: Run, command: str) -> None:
    """In the order of the README: a later command may use the index that an earlier one made."""
    done = run(command)
    assert done.code == 0, done.err
    assert done.out
    assert "Traceback" not in done.err
    question = question_of(command)
    if question is not None:
        assert_right(done.out, *ANSWERS[question])


def assert_right(output: str, source: str, accepted: tuple[str, ...]) -> None:
    """The answer holds an accepted one, or a quote that does stands in its place; the quote, which may be the answer
    itself, is of the right document.

    What `--diff` and `why` print below the answer does not count.
    """
    answer, *citations = takewhile(lambda line: line and not ACCOUNT.fullmatch(line), output.splitlines())
    is_replaced = answer.startswith("The model (") and "gave no usable answer" in answer
    shown = citations[0] if is_replaced else answer
    assert any(holds(shown, one) for one in accepted), output
    quotes = [line.replace(": this sentence", f": {answer}") for line in citations]
    assert any(source in line and any(holds(line, one) for one in accepted) for line in quotes), output


def test_every_question_has_its_answer() -> None:
    assert {question for command in COMMANDS if (question := question_of(command))} == set(ANSWERS)


def test_the_output_that_is_shown_is_right(run: Run) -> None:
    """What a machine and its quantisation of the model may change is not compared: the answer's words, which are right
    in both, the quotes beside the first one, and the seconds. The places, the quote, the tokens that were read and the
    passages that were left out are those that the command prints.
    """
    [output] = OUTPUTS
    question = question_of(COMMANDS[0])
    assert question is not None
    assert_right(output, *ANSWERS[question])
    shown, printed = output.splitlines(), run(COMMANDS[0]).out.splitlines()
    assert first_quote(shown) == first_quote(printed)
    accounts = [ACCOUNT.fullmatch(lines[-1]) for lines in (shown, printed)]
    assert all(accounts), printed[-1]
    written = re.compile(r"\d+ written in \d+\.\d s")
    assert written.sub("", shown[-1]) == written.sub("", printed[-1])


def first_quote(lines: list[str]) -> str:
    """The first citation, with its quote: an answer that is the quote itself is called `this sentence`."""
    return lines[1].replace(": this sentence", f': "{lines[0]}"')


def test_there_are_commands_and_all_blocks_are_shell_or_output() -> None:
    assert len(COMMANDS) >= 8
    assert README.count("```") == 2 * (len(BLOCKS) + len(SCRIPTS) + len(OUTPUTS))


def test_every_make_target_exists() -> None:
    targets = {line.partition(":")[0] for line in (ROOT / "Makefile").read_text().splitlines() if ":" in line}
    named = [words[1] for text in INLINE if len(words := text.split()) > 1 and words[0] == "make"]
    assert {"demo", "test"} <= set(named) <= targets


def test_the_page_of_commands_has_every_command() -> None:
    page = (ROOT / "docs" / "commands.md").read_text("utf-8")
    table = re.findall(r"^\| `longthread ([a-z ]+)` \|", page, re.MULTILINE)
    assert sorted(table) == sorted(_commands(typer.main.get_command(app)))


def _commands(command: object, before: str = "") -> list[str]:
    """The full names of all commands below one, without those that are hidden."""
    names: list[str] = []
    for name, child in getattr(command, "commands", {}).items():
        if hasattr(child, "commands"):
            names += _commands(child, f"{before}{name} ")
        elif not child.hidden:
            names.append(f"{before}{name}")
    return names


def test_every_model_and_step_that_is_named_exists() -> None:
    models = {entry.name for entry in MODELS}
    assert {text.split()[-1] for text in INLINE if " pull " in text} <= models
    assert "qwen2.5-1.5b-instruct" in models
    steps = {text for text in INLINE if text.partition(".")[0] in KINDS and re.fullmatch(r"\w+\.\w+", text)}
    assert steps <= set(COMPONENTS)


def test_the_number_of_formats_is_right() -> None:
    assert f"{len(FORMATS)} formats" in README


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= MAX_LINES


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


@pytest.mark.parametrize("name", ["--arm ", "needle calibrate", "compress.gate"])
def test_no_page_and_no_pipeline_file_uses_an_old_name(name: str) -> None:
    """Decisions and experiments keep the names of their time."""
    files = [*ROOT.glob("docs/*.*"), *ROOT.glob("docs/needles/*.txt"), *ROOT.glob("configs/**/*.yaml")]
    files = [path for path in files if path.suffix in (".md", ".py", ".txt", ".yaml") and path.stem != "experiments"]
    assert len(files) > 30
    assert [str(path) for path in (*files, ROOT / "README.md") if name in path.read_text("utf-8")] == []


def test_the_diagram_has_every_kind_of_step() -> None:
    (diagram,) = re.findall(
        r"^```mermaid\n(.*?)^```", (ROOT / "docs" / "how-it-works.md").read_text(), re.M | re.DOTALL
    )
    (chain,) = re.findall(r"^ +(retrieve --> .* --> generate)$", diagram, re.MULTILINE)
    assert sorted(chain.split(" --> ")) == sorted(KINDS)


def test_the_picture_is_of_a_run_and_needs_no_network() -> None:
    picture = (ROOT / "docs" / "ask.svg").read_text("utf-8")
    assert "garden.html" in picture
    loaded = re.sub(r"<!--.*?-->", "", picture, flags=re.DOTALL).replace("http://www.w3.org/2000/svg", "")
    assert not re.findall(r"https?:|@font-face|@import", loaded)


def test_the_script_runs_and_answers_right(own_cache: Path) -> None:
    (script,) = SCRIPTS
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    bees, _, clock = done.stdout.partition("\n")
    assert holds(bees, "seven") or holds(bees, "7")
    assert holds(clock, "Lucia Ferrand")
