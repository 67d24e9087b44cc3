"""Output that cannot be written, and input and consoles of other encodings: one message, an exit code, no traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.exit_codes import EXIT_CLOSED, EXIT_ERROR
from cli.input import as_text
from tests.chat.conftest import SCRIPTED
from tests.cli.conftest import OFFLINE, Done, Run
from tests.cli.test_eval import SEARCH, SWEEP
from tests.evaluation import layouts
from tests.evaluation.layouts import write

ROOT = Path(__file__).parent.parent.parent
COMMAND = (sys.executable, "-m", "cli.main")
KEEPER = "The keeper is Łukasz Żak → see room 4."
MENU = "The café menu is 7 kroner."
FULL = b"longthread: standard output cannot be written: No space left on device\n"
CLOSED = b"longthread: standard output cannot be written: Bad file descriptor\n"
needs_dev_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "keeper.txt").write_text(f"{KEEPER}\n", "utf-8")
    (tmp_path / "menu.txt").write_text(f"{MENU}\n", "utf-8")
    (tmp_path / "chat.yaml").write_text(SCRIPTED)
    return tmp_path


def environment(folder: Path, encoding: str = "utf-8") -> dict[str, str]:
    cache = {"LONGTHREAD_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    return {**os.environ, **cache, "PYTHONIOENCODING": encoding}


def longthread(
    folder: Path, *arguments: str | bytes, given: bytes = b"", encoding: str = "utf-8"
) -> subprocess.CompletedProcess[bytes]:
    command, env = [*COMMAND, *arguments], environment(folder, encoding)
    return subprocess.run(command, cwd=folder, env=env, input=given, capture_output=True, check=False)


def ask(
    folder: Path, question: str | bytes, *more: str | bytes, encoding: str = "utf-8"
) -> subprocess.CompletedProcess[bytes]:
    return longthread(folder, "ask", question, "keeper.txt", "menu.txt", "-c", OFFLINE, *more, encoding=encoding)


# ---------------------------------------------------------------------------------------- output that cannot be written
PRINTING = [
    ("schema",),
    ("steps",),
    ("models", "list"),
    ("models", "list", "--json"),
    ("check", OFFLINE),
    ("show", OFFLINE),
    ("ask", "Who is the keeper?", "keeper.txt", "-c", OFFLINE),
]


@needs_dev_full
@pytest.mark.parametrize("arguments", PRINTING, ids=lambda arguments: " ".join(arguments[:3]))
def test_standard_output_on_a_full_disk(folder: Path, arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*COMMAND, *arguments],
            cwd=folder,
            env=environment(folder),
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (done.returncode, done.stderr) == (EXIT_ERROR, FULL)


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell")
@pytest.mark.parametrize(
    ("redirection", "code", "err"),
    [(">&-", EXIT_ERROR, CLOSED), ("2>&-", 0, b""), ("<&-", 0, b""), ("<&- 2>&- >&-", EXIT_ERROR, b"")],
)
def test_streams_that_are_closed(folder: Path, redirection: str, code: int, err: bytes) -> None:
    """No file that is opened later, such as an index, takes the number of a closed stream."""
    line = f'"$@" {redirection}'
    command = ["sh", "-c", line, "sh", *COMMAND, "ask", "Who is the keeper?", "keeper.txt", "-c", OFFLINE]
    done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (code, err)
    assert (KEEPER.encode() in done.stdout) == (code == 0)


@needs_dev_full
def test_standard_error_on_a_full_disk_ends_nothing(folder: Path) -> None:
    with open("/dev/full", "wb") as full:
        command = [*COMMAND, "ask", "Who is the keeper?", "keeper.txt", "none.txt", "menu.txt", "-c", OFFLINE]
        done = subprocess.run(
            command, cwd=folder, env=environment(folder), stdout=subprocess.PIPE, stderr=full, check=False
        )
        assert done.returncode == EXIT_ERROR, "none.txt is not there, and nobody can be told"
        command.remove("none.txt")
        done = subprocess.run(
            command, cwd=folder, env=environment(folder), stdout=subprocess.PIPE, stderr=full, check=False
        )
    assert (done.returncode, KEEPER.encode() in done.stdout) == (0, True)


@pytest.mark.skipif(os.name == "nt", reason="SIGPIPE")
@pytest.mark.parametrize("arguments", PRINTING[:2], ids=lambda arguments: " ".join(arguments))
def test_a_reader_that_has_gone_ends_it_quietly(folder: Path, arguments: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [*COMMAND, *arguments]
    done = subprocess.run(command, env=environment(folder), stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (EXIT_CLOSED, b"")


# ----------------------------------------------------------------------------------------- files that cannot be written
@needs_dev_full
def test_each_file_of_a_measurement_on_a_full_disk(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, k in (("search", 2), ("narrow", 1)):
        (tmp_path / f"{name}.yaml").write_text(SEARCH.replace("{k: 2}", f"{{k: {k}}}"))
    write(tmp_path / "own.jsonl", layouts.OWN, as_lines=True)
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    evaluate = ("eval", "search.yaml", "narrow.yaml", "--data", "own.jsonl", "-k", "jsonl", "-o", "out", "-q")
    assert run(*evaluate).code == 0
    files = {
        "out/eval.json": evaluate,
        "out/search/metrics.jsonl": evaluate,
        "out/report.html": evaluate,
        "out/summary.json": evaluate,
        "compared/report.html": ("compare", "out", "--allow", "indexes", "-o", "compared"),
        "swept/sweep.json": ("sweep", "sweep.yaml", "-o", "swept", "-q"),
        "swept/pipelines/k-1_show_titles-true.yaml": ("sweep", "sweep.yaml", "-o", "swept", "-q"),
        "shown.svg": ("show", "search.yaml", "--svg", "shown.svg"),
    }
    for name, command in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to("/dev/full")
        done = run(*command)
        assert done.code == EXIT_ERROR, name
        assert f"{name}: No space left on device: make room, or name a place on another disk\n" in done.err
        path.unlink()
        assert run(*command).code == 0, name
        assert path.is_file()
        assert not list(path.parent.glob(".*.part"))


def test_a_folder_that_is_a_file(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("kept")
    (tmp_path / "search.yaml").write_text(SEARCH)
    (tmp_path / "docs.txt").write_text(f"{KEEPER}\n")
    (tmp_path / "questions.jsonl").write_text('{"id": 1, "question": "Who is the keeper?"}\n')
    write(tmp_path / "own.jsonl", layouts.OWN, as_lines=True)
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    for command in (
        ("eval", "search.yaml", "--data", "own.jsonl", "-k", "jsonl", "-o", "file"),
        ("sweep", "sweep.yaml", "-o", "file"),
        ("run", "search.yaml", "--input", "questions.jsonl", "-o", "file", "-d", "docs.txt"),
        ("index", "docs.txt", "--index", "file", "-c", "search.yaml"),
        ("show", "search.yaml", "--svg", "file/a.svg"),
        ("needle", "run", "-o", "file", "--method", "search.yaml", "--pairs", "5", "-n", "1"),
    ):
        done = run(*command, "-q") if command[0] != "show" else run(*command)
        assert (done.code, "Traceback" in done.err) == (EXIT_ERROR, False), command
        assert "file" in done.err
    assert (tmp_path / "file").read_text() == "kept"


# ------------------------------------------------------------------------------------------ consoles of other encodings
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_console_that_lacks_the_letters(folder: Path, encoding: str) -> None:
    done = ask(folder, "Who is the keeper?", encoding=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    first = done.stdout.splitlines()[0].decode(encoding)
    assert first == r"The keeper is \u0141ukasz \u017bak -> see room 4. [1]"
    menu = ask(folder, "What is the café menu?", "-q", encoding=encoding).stdout.splitlines()[0]
    assert menu.decode(encoding) == f"{MENU.encode(encoding, 'backslashreplace').decode(encoding)} [1]"
    record = json.loads(ask(folder, "Who is the keeper?", "--json", encoding=encoding).stdout.decode(encoding))
    assert record["answer"] == f"{KEEPER} [1]"
    refused = ask(folder, "Who?", "żak.txt", encoding=encoding)
    assert (refused.returncode, rb"\u017cak.txt: no such file" in refused.stderr) == (EXIT_ERROR, True)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_chat_whose_console_and_lines_are_of_other_encodings(folder: Path, encoding: str) -> None:
    lines = [b"Who is the keeper?", b"What is the caf\xe9 menu?", "Who is Łukasz?".encode(), b"/save talk.md"]
    command = ("chat", "-d", "keeper.txt", "-d", "menu.txt", "-c", "chat.yaml")
    done = longthread(folder, *command, given=b"\xef\xbb\xbf" + b"\n".join(lines), encoding=encoding)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    keeper, menu, *_ = (line.decode(encoding) for line in done.stdout.splitlines())
    assert keeper.startswith("The keeper is ")
    assert menu == f"{MENU.encode(encoding, 'backslashreplace').decode(encoding)} [1]"
    talk = (folder / "talk.md").read_text("utf-8")
    assert "**What is the café menu?**" in talk, "the turn is kept, its byte read as cp1252"
    assert KEEPER in talk


def test_arguments_whose_bytes_are_not_utf8(folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first to a process of its own, the others in this one, decoded as Python decodes them there."""
    asked = ask(folder, b"What is the caf\xe9 menu?", "-q")
    assert (asked.returncode, asked.stdout.splitlines()[0].decode()) == (0, f"{MENU} [1]")
    monkeypatch.chdir(folder)

    def given(*arguments: str | bytes) -> Done:
        return run(*map(os.fsdecode, arguments))

    (folder / os.fsdecode(b"q\xe9.jsonl")).write_text('{"id": 1, "question": "Who is the keeper?"}\n')
    batch = given("run", OFFLINE, "--input", b"q\xe9.jsonl", "-o", b"r\xe9", "-d", "keeper.txt", "-q")
    assert (batch.code, "1 of 1 answered" in batch.out) == (0, True), batch.err
    (folder / os.fsdecode(b"n\xe9.txt")).write_text("The nail is red.\n")
    named = given("ask", "Who?", "keeper.txt", "menu.txt", "-c", OFFLINE, b"n\xe9.txt")
    assert (named.code, "n?.txt: its name is not UTF-8: rename it" in named.err) == (EXIT_ERROR, True)
    model = given("ask", "Who?", "keeper.txt", "-m", b"m\xe9.gguf")
    assert (model.code, "model: holds bytes that are not UTF-8" in model.err) == (EXIT_ERROR, True), model.err
    for refused in (
        given("chat", "-s", b"s\xe9"),
        given("models", "verify", b"m\xe9.gguf"),
        given("check", b"c\xe9.yaml"),
    ):
        assert (refused.code, "Traceback" in refused.err) == (EXIT_ERROR, False), refused.err
        assert "\ufffd" in refused.err


def test_stray_bytes_are_read_as_cp1252() -> None:
    for text in (b"caf\xe9", "caf\u00e9 \u0141".encode() + b" \x80 \x81", b"plain"):
        assert as_text(text.decode("utf-8", "surrogateescape")) == {
            b"caf\xe9": "café",
            b"plain": "plain",
        }.get(text, "café Ł € \ufffd")
    assert as_text("half \ud800 of a pair") == "half \ufffd of a pair"
