"""Every command is given text that drives a terminal, in every place where it takes text, and none of it comes out."""

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from cli.main import app
from tests.cli.conftest import Done, Run
from tests.cli.hostile import HTML, MARKUP_PATH, NAME, SEEN, TEXT, YAML_STRING, dangers
from tests.models.gguf_file import TENSORS, gguf, tiny_llama

PIPELINE = "index: {embedder: none, chunk_tokens: 60}\nstages: [retrieve.bm25, assemble.cited, generate.scripted]\n"
NEEDLE = (
    "index: {embedder: none, chunk_tokens: 32}\nstages: [retrieve.given, assemble.plain, {generate.scripted: "
    "{n_ctx: 400}}]\n"
)
QUESTION = "What is the bell of the tower?"


def all_commands() -> Iterator[tuple[str, ...]]:
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        yield from ((name, sub) for sub in inner) if inner else [(name,)]


@pytest.fixture(params=[False, True], ids=["pipe", "terminal"])
def is_terminal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if request.param:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm-256color")
    return bool(request.param)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder whose files have hostile names and hostile contents, and with it the cache."""
    folder = tmp_path / NAME
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "stdin", io.StringIO(TEXT))
    monkeypatch.setenv("LONGTHREAD_CACHE", str(folder / f"cache {NAME}"))
    monkeypatch.setenv("LONGTHREAD_CONFIG", str(folder / f"settings {NAME}"))
    docs = folder / "docs"
    (docs / MARKUP_PATH).parent.mkdir(parents=True)
    (docs / f"{NAME}.txt").write_text(f"Title: {TEXT}\n\nThe bell of the tower is {TEXT} green.\n")
    (docs / "page.html").write_text(f"<title>{HTML}</title><h1>{HTML}</h1><p>The bell of the tower {HTML} rings.</p>")
    (docs / MARKUP_PATH).write_text("The bell of the tower is heavy.\n")
    (docs / f"broken {NAME}.pdf").write_bytes(b"%PDF-1.7\n" + TEXT.encode())
    (docs / f"empty {NAME}.txt").write_text("")
    (folder / f"{NAME}.yaml").write_text(PIPELINE)
    (folder / f"other {NAME}.yaml").write_text(PIPELINE.replace("60", "90"))
    (folder / "needle [red].yaml").write_text(NEEDLE)
    (folder / "bad.yaml").write_text(
        f"{PIPELINE}{YAML_STRING}: 1\nbudget: {{{YAML_STRING}: 1, window: {YAML_STRING}}}\n"
    )
    (folder / "sweep.yaml").write_text(
        f"pipeline: {YAML_STRING}\ndata: {YAML_STRING}\nkind: {YAML_STRING}\nvary: {{{YAML_STRING}: [1]}}\n"
    )
    item = {"id": TEXT, "question": QUESTION, "answers": ["green"], "documents": [{"title": TEXT, "text": TEXT}]}
    lines = [json.dumps(item), json.dumps({"id": f"2{TEXT}", "question": 7}), f'{{"{TEXT}']
    (folder / "questions.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "data.jsonl").write_text(json.dumps(item) + "\n")
    (folder / f"{NAME}.gguf").write_bytes(tiny_llama(changes={"general.name": TEXT, "tokenizer.chat_template": TEXT}))
    (folder / "strange.gguf").write_bytes(
        gguf({"general.architecture": TEXT, "general.name": TEXT}, TENSORS, bytes(480))
    )
    return folder


def check(done: Done, is_terminal: bool, is_shown: bool = True) -> Done:
    assert "Traceback" not in done.err
    assert dangers(done.out, is_terminal) == []
    assert dangers(done.err, is_terminal) == []
    if is_shown:
        shown = (done.out + done.err).replace("\n", "").replace("\\u001b", "").replace("\\u0007", "")
        assert SEEN in shown, done
    return done


# ---------------------------------------------------------------------------------------- every command, whatever it is
@pytest.mark.parametrize("command", list(all_commands()), ids=" ".join)
def test_an_argument_that_no_command_takes(command: tuple[str, ...], run: Run, files: Path, is_terminal: bool) -> None:
    assert check(run(*command, f"--{TEXT.replace('=', '')}"), is_terminal).code == 2
    assert check(run(*command, TEXT, TEXT, TEXT, MARKUP_PATH, "-o"), is_terminal, is_shown=False).code == 2
    assert check(run(TEXT), is_terminal).code == 2


@pytest.mark.parametrize("command", [command for command in all_commands() if command != ("demo",)], ids=" ".join)
def test_an_argument_that_names_nothing(command: tuple[str, ...], run: Run, files: Path, is_terminal: bool) -> None:
    """Each with one hostile word for every argument and option that it must have; `demo` asks a real model."""
    node = get_command(app)
    for name in command:
        node = node.commands[name]  # type: ignore[attr-defined]
    arguments = []
    for parameter in node.params:
        if parameter.param_type_name == "argument":
            arguments.append(TEXT)
        elif parameter.required:
            arguments += [parameter.opts[0], TEXT]
    done = check(run(*command, *arguments), is_terminal, is_shown=False)
    assert done.code == (2 if arguments else 0)


# --------------------------------------------------------------------------------------------------- documents, answers
@pytest.mark.parametrize(
    "arguments",
    [
        ("ask", QUESTION, "docs", "--account", "--diff"),
        ("ask", QUESTION, "docs", "--json"),
        ("ask", QUESTION, "docs", "--glob", f"*{NAME}.txt"),
        ("ask", QUESTION, "--read", f"docs/{NAME}.txt", "--account"),
        ("ask", f"{QUESTION} {TEXT}", "docs"),
        ("ask", QUESTION, f"docs/broken {NAME}.pdf"),
        ("ask", QUESTION, f"docs/empty {NAME}.txt"),
        ("ask", QUESTION, f"docs/{NAME}/none"),
        ("ask", QUESTION, f"docs/{MARKUP_PATH}/none"),
        ("why", QUESTION, "docs", "--account"),
        ("why", QUESTION, "docs", "--json"),
        ("why", QUESTION, f"docs/{NAME}/none"),
        ("index", "docs", f"docs/broken {NAME}.pdf", "--index", NAME),
        ("index", "docs", "--index", NAME, "--json"),
        ("index", f"docs/{MARKUP_PATH}", "--index", MARKUP_PATH),
        ("index", "--index", NAME, "--skipped"),
    ],
    ids=lambda arguments: " ".join(arguments)[:40].encode("ascii", "ignore").decode().replace("\x1b", ""),
)
def test_documents(arguments: tuple[str, ...], run: Run, files: Path, is_terminal: bool) -> None:
    config = ("--config", f"{NAME}.yaml")
    if "--skipped" in arguments:
        run("index", "docs", "--index", NAME, *config)
    is_shown = MARKUP_PATH not in " ".join(arguments)
    done = check(run(*arguments, *config), is_terminal, is_shown)
    assert done.code in (0, 2)
    if not is_shown:
        assert MARKUP_PATH in done.out + done.err


# ------------------------------------------------------------------------------------------------ batches, measurements
def test_batches(run: Run, files: Path, is_terminal: bool) -> None:
    done = check(
        run("run", f"{NAME}.yaml", "--input", "questions.jsonl", "-o", f"out {NAME}", "-d", "docs"), is_terminal
    )
    assert (done.code, "failed" in done.out) == (2, True)
    again = run("run", f"other {NAME}.yaml", "--input", "questions.jsonl", "-o", f"out {NAME}", "-d", "docs")
    assert check(again, is_terminal).code == 2
    check(run("run", f"{NAME}.yaml", "--input", f"{NAME}.jsonl", "-o", "x"), is_terminal)


def test_measurements(run: Run, files: Path, is_terminal: bool) -> None:
    pipelines = (f"{NAME}.yaml", f"other {NAME}.yaml")
    measured = run("eval", *pipelines, "--data", "data.jsonl", "-k", "jsonl", "-o", f"out {NAME}")
    assert check(measured, is_terminal).code == 0
    assert check(run("compare", f"out {NAME}"), is_terminal).code == 2, "they searched different indexes"
    for more in ((), ("--json",), ("-o", f"again {NAME}")):
        assert check(run("compare", f"out {NAME}", "--allow", "indexes", *more), is_terminal).code == 0
    (files / "good.yaml").write_text(
        f"pipeline: {json.dumps(f'{NAME}.yaml')}\ndata: data.jsonl\nkind: jsonl\nvary: {{retrieve.bm25.k: [1, 2]}}\n"
    )
    assert check(run("sweep", "good.yaml", "-o", f"swept {NAME}"), is_terminal).code == 0
    assert check(run("sweep", "sweep.yaml", "-o", "x"), is_terminal).code == 2


# ------------------------------------------------------------------------------------------------------- pipeline files
def test_pipeline_files(run: Run, files: Path, is_terminal: bool) -> None:
    assert check(run("check", f"{NAME}.yaml", "bad.yaml", f"{NAME}.none"), is_terminal).code == 2
    (files / MARKUP_PATH).parent.mkdir()
    (files / MARKUP_PATH).write_text(PIPELINE)
    assert check(run("check", MARKUP_PATH), is_terminal, is_shown=False).code == 0
    assert check(run("show", "bad.yaml"), is_terminal).code == 2
    assert check(run("show", f"{NAME}.yaml"), is_terminal, is_shown=False).code == 0
    assert check(run("show", f"{NAME}.yaml", "--svg", f"{NAME}.svg"), is_terminal, is_shown=False).code == 0
    assert dangers((files / f"{NAME}.svg").read_text("utf-8")) == []
    assert check(run("show", f"{NAME}.yaml", "--svg", f"none/{NAME}.svg"), is_terminal).code == 2


# --------------------------------------------------------------------------------------------------------------- models
def test_models(run: Run, files: Path, is_terminal: bool) -> None:
    model = f"{NAME}.gguf"
    laid = files / f"cache {NAME}" / "models"
    laid.mkdir(parents=True)
    (laid / model).write_bytes((files / model).read_bytes())
    assert check(run("models", "list"), is_terminal).code == 0
    assert check(run("models", "list", "--json"), is_terminal).code == 0
    for name in (model, "strange.gguf", NAME):
        check(run("models", "verify", name), is_terminal)
        check(run("models", "verify", name, "--json"), is_terminal)
    check(run("models", "default", model), is_terminal)
    check(run("models", "default"), is_terminal)
    assert check(run("doctor"), is_terminal).code in (0, 2)
    check(run("models", "default", "--reset"), is_terminal, is_shown=False)
    for command in (("models", "tune"), ("models", "try"), ("models", "pull"), ("calibrate",), ("needle", "verbatim")):
        assert check(run(*command, "strange.gguf" if command[-1] != "pull" else f"hf:{TEXT}"), is_terminal).code == 2
    assert check(run("ask", QUESTION, "docs", "--model", "strange.gguf"), is_terminal).code == 2
    assert check(run("needle", "limit", "strange.gguf"), is_terminal).code == 2
    assert check(run("calibrate", model, "--data", f"{NAME}.tsv"), is_terminal).code == 2


def test_needles(run: Run, files: Path, is_terminal: bool) -> None:
    (files / f"{NAME}.needle.yaml").write_text(NEEDLE)
    method = ("--method", f"{NAME}.needle.yaml", "--pairs", "5", "-n", "2")
    assert check(run("needle", "run", "-o", f"out {NAME}", *method), is_terminal).code == 0
    assert check(run("needle", "report", f"out {NAME}"), is_terminal).code == 0
    assert (
        check(run("needle", "run", "-o", "x", *method, "--book", f"{NAME}.txt", "-t", "sentences"), is_terminal).code
        == 2
    )
    assert check(run("needle", "verbatim", "--nouns", f"{NAME}.txt"), is_terminal).code == 2
