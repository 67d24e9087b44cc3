"""Every command: its help in 80 columns, examples that parse, one meaning for each short flag, flags in messages."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from cli.command import command, new_app
from cli.main import COMMANDS, app
from cli.options import Docs, Seed
from pipeline.errors import ConfigError
from tests.cli.conftest import Run

ROOT = Path(__file__).parent.parent.parent


def leaves(node: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each command that runs something, with the words that name it."""
    group: Any = get_command(app) if node is None else node
    for name, child in group.commands.items():
        if hasattr(child, "commands"):
            yield from leaves(child, (*path, name))
        else:
            yield (*path, name), child


LEAVES = dict(leaves())
IDS = [" ".join(path) for path in LEAVES]


def examples(text: str) -> list[str]:
    return re.findall(r"^    (?:cat \S+ \| )?(longthread .*?)(?: [<>] \S+)?$", text, re.MULTILINE)


@pytest.mark.parametrize("path", LEAVES, ids=IDS)
def test_a_help_text_fits_80_columns_and_its_examples_parse(
    run: Run, monkeypatch: pytest.MonkeyPatch, path: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = run(*path, "--help")
    assert done.code == 0
    body = done.out.partition("\n  Example")[0]
    assert max(map(len, body.splitlines())) <= 80
    assert "**" not in body
    shown = examples(done.out)
    assert shown, done.out
    for example in shown:
        program, *words = shlex.split(example)
        assert (program, tuple(words[: len(path)])) == ("longthread", path)
        LEAVES[path].make_context(path[-1], words[len(path) :])


def test_the_help_of_groups_lists_every_command_in_full(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = run("--help")
    names = {name for group in COMMANDS.values() for name in group}
    assert names == set(get_command(app).commands)  # type: ignore[attr-defined]
    assert all(re.search(rf"^  {name} ", done.out, re.MULTILINE) for name in names)
    assert max(map(len, done.out.splitlines())) <= 80
    for group in ("models", "needle", "sessions", "indexes"):
        text = run(group, "--help").out
        assert "..." not in text.partition("Commands:")[2]
        assert f"Example:\n    longthread {group} " in text


def test_asterisks_survive(run: Run) -> None:
    assert "'manual/*'" in run("ask", "--help").out


def test_a_short_flag_means_one_thing() -> None:
    meanings: dict[str, set[str]] = {}
    for node in LEAVES.values():
        for parameter in node.params:
            for flag in parameter.opts:
                if re.fullmatch("-[a-z]", flag) and flag != "-n":  # -n is always a number of questions
                    meanings.setdefault(flag, set()).add(parameter.name)
    assert {flag: sorted(names) for flag, names in meanings.items()} == {
        "-c": ["config"],
        "-d": ["docs"],
        "-i": ["index"],
        "-k": ["kind"],
        "-m": ["model"],
        "-o": ["output"],
        "-q": ["quiet"],
        "-s": ["session"],
        "-t": ["tasks"],
    }


def test_every_module_with_a_command_is_in_the_table() -> None:
    modules = {module for group in COMMANDS.values() for module, _ in group.values()}
    files = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "cli").rglob("*.py")
        if re.search(r"^app = new_app\(", path.read_text("utf-8"), re.MULTILINE)
    }
    assert files == modules


@dataclass(frozen=True, kw_only=True)
class Base:
    docs: Docs = ()


@dataclass(frozen=True, kw_only=True)
class Example(Base):
    word: str
    seed: Seed = 0


def made(fault: str = "") -> tuple[Any, list[Example]]:
    """A command that records its options, or fails."""
    seen: list[Example] = []
    example_app = new_app()

    @command(example_app, "example", "longthread example x")
    def example(options: Example) -> int:
        """Does nothing."""
        seen.append(options)
        if fault:
            raise ConfigError(fault)
        return 3

    return get_command(example_app), seen


def test_a_dataclass_becomes_a_command_and_is_given_to_the_function() -> None:
    node, seen = made()
    with pytest.raises(typer.Exit) as stop:
        node.invoke(node.make_context("example", ["x", "-d", "a", "--docs", "b"]))
    assert stop.value.exit_code == 3
    assert seen == [Example(word="x", docs=("a", "b"), seed=0)]


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("`seed` must be positive", "--seed must be positive"),
        ("`seeds` of `docs`: `other`", "--seed of --docs: `other`"),
        ("the `word` is too long", "the `word` is too long"),
    ],
)
def test_a_message_of_the_library_gets_the_commands_flags(message: str, shown: str) -> None:
    node, _ = made(message)
    with pytest.raises(ConfigError) as refused:
        node.invoke(node.make_context("example", ["x"]))
    assert str(refused.value) == shown


COMMAND_LINES = ("longthread ", "pip install", "qpdf", "--force-reinstall")


@pytest.mark.parametrize("package", ["pipeline", "memory", "compressors"])
def test_messages_of_the_library_speak_of_arguments(package: str) -> None:
    """A flag may stand in a whole command line that the user can run, and nowhere else."""
    faults = []
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Raise) and node.exc is not None:
                text = "".join(
                    c.value for c in ast.walk(node.exc) if isinstance(c, ast.Constant) and isinstance(c.value, str)
                )
                if re.search(r"(?<![\w-])--[a-z]", text) and not any(line in text for line in COMMAND_LINES):
                    faults.append(f"{path.relative_to(ROOT)}:{node.lineno}: {text[:100]}")
    assert faults == []
