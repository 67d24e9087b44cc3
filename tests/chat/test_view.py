"""The parts of the terminal that need none: streamed Markdown, completion, the bar, the lines once typed."""

import io
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from rich.console import Console

from cli.chat import views
from cli.chat.asking import TypedQuestion, ask
from cli.chat.chat import Chat
from cli.chat.command_types import Group
from cli.chat.commands import COMMANDS
from cli.chat.line import CommandCompleter, bar
from cli.chat.loop import handle
from cli.chat.markdown import rendered
from cli.chat.settings import Settings
from cli.chat.stream import Markdowns
from cli.chat.typed import Typed
from cli.progress import Display
from pipeline.conversation.typed import TypedLine, forget_typed, read_typed
from pipeline.text.visible import visible
from pipeline.types import Excerpt, Generation, Ledger, Question, State, Text

TEXT = """\
# A title

Some *text* with a <b>tag</b> and a passage <passage 1>.

- one [1]
- two

```python
def f():

    return "```"
```

| a | b |
|---|---|
| 1 | 2 |

The end."""


# ------------------------------------------------------------------------------------------------------------ Markdown
def plain(text: str) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(rendered(text))
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_no_text_is_lost_and_none_drives_the_terminal() -> None:
    shown = plain("a <b>tag</b>, <passage 9>\x1b[2J\x07 and [1]")
    assert "a <b>tag</b>, <passage 9>\ufffd[2J\ufffd and [1]" in shown
    assert visible("a\tb\nc\x9b\r\n") == "a\tb\nc\ufffd\n"


def shown_by(pieces: list[str], final: str, restart_at: int = -1) -> str:
    """What is on the screen in the end: everything after the last time that a line was erased."""
    console = Console(file=io.StringIO(), width=80, height=24, force_terminal=True, color_system=None)
    view = Markdowns(console, lambda: None)
    for n, piece in enumerate(pieces):
        if n == restart_at:
            view.restart("it has no words")
        view(piece)
    view.end(final)
    return re.split(r"\x1b\[2K", console.file.getvalue())[-1]  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_an_answer_in_pieces_is_shown_whole_and_once(size: int) -> None:
    shown = shown_by([TEXT[start : start + size] for start in range(0, len(TEXT), size)], TEXT)
    for part in ("A title", "<b>tag</b>", "<passage 1>", 'return "```"', "• two", "The end."):
        assert shown.count(part) == 1


def test_what_counts_takes_the_place_of_what_was_written() -> None:
    shown = shown_by(["[1] ", "[1] [1]"], "Seven beehives.", restart_at=1)
    assert shown.strip() == "Seven beehives."


# --------------------------------------------------------------------------------------------------- the line, the bar
@pytest.fixture
def chat(tmp_path: Path, documents: Path, scripted: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Chat]:
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LONGTHREAD_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    settings = Settings(docs=(str(documents),), config=str(scripted))
    with Chat.open("s", settings, Console(file=io.StringIO()), Display(quiet=True), is_terminal=False) as chat:
        yield chat


def completed(chat: Chat, text: str) -> list[str]:
    found = CommandCompleter(chat).get_completions(Document(text), CompleteEvent())
    return [text[: len(text) + one.start_position] + one.text for one in found]


def test_commands_and_sub_commands_are_completed(chat: Chat) -> None:
    assert completed(chat, "/") == [f"/{name}" for name in COMMANDS]
    assert completed(chat, "/do") == ["/docs", "/doctor"]
    for name, command in COMMANDS.items():
        if isinstance(command, Group):
            assert completed(chat, f"/{name} ") == [f"/{name} {sub.name}" for sub in command.subs]
    assert completed(chat, "How many /do") == []
    assert completed(chat, "/nosuch ") == []


def test_arguments_are_completed(chat: Chat, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my notes").mkdir()
    assert completed(chat, "/docs add my") == ["/docs add my\\ notes/"]
    assert completed(chat, "/docs add one.md docu") == ["/docs add one.md documents/"]
    assert completed(chat, "/docs add documents/t") == ["/docs add documents/tower.md"]
    assert completed(chat, "/docs remove d") == ["/docs remove documents"]
    assert completed(chat, "/save documents/b") == ["/save documents/boat.md"]
    assert completed(chat, "/docs list ") == ["/docs list --skipped"]
    assert completed(chat, "/set key") == ["/set keys"]
    assert completed(chat, "/set keys v") == ["/set keys vi"]
    assert completed(chat, "/set rewrite ") == ["/set rewrite on", "/set rewrite off"]
    assert completed(chat, "/help se") == ["/help session", "/help set"]
    assert completed(chat, "/session resume ") == ["/session resume s"]
    assert completed(chat, "/model use smollm2-135") == ["/model use smollm2-135m"]
    ask(chat, TypedQuestion("When was the tower built?"))
    assert completed(chat, "/memory forget turn ") == ["/memory forget turn 1"]
    capsys.readouterr()


def test_the_bar_adds_up_to_the_window_at_any_width(chat: Chat, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        for width in (60, 80, 100, 140):
            text = "".join(fragment[1] for fragment in bar(chat, width))
            head, meter = text.split("\n")
            assert len(head) < width
            assert len(meter) <= max(width, 80)
            numbers = dict(re.findall(r"([a-z ]+?) (\d+)", meter))
            numbers = {name.strip(): int(n) for name, n in numbers.items()}
            assert sum(n for name, n in numbers.items() if name != "reused") == chat.pipeline.window
        ask(chat, TypedQuestion("When was the tower built?"))
    capsys.readouterr()


def test_an_empty_line_after_edit_takes_nothing_back(chat: Chat, capsys: pytest.CaptureFixture[str]) -> None:
    handle(chat, "When was the tower built?")
    for line, n_turns in (("", 2), ("/docs", 2), ("When does the boat sail?", 1)):
        chat.replaces = True  # as /edit leaves it, with the last question in the line
        handle(chat, line)
        assert chat.replaces is False
        if line != "When does the boat sail?":
            handle(chat, "What does a ticket cost?")
        assert len(chat.turns) == n_turns
        while len(chat.turns) > 1:
            chat.take_back()
    capsys.readouterr()


# --------------------------------------------------------------------------------------------------------- typed lines
def test_typed_lines_are_kept_and_forgotten(tmp_path: Path) -> None:
    typed = Typed(tmp_path)
    for line in (
        "What is the password?",
        "two\nlines",
        "/memory forget matching password",
        "/edit What is the password?",
    ):
        typed.append_string(line)
    assert list(Typed(tmp_path).load_history_strings()) == [
        "/edit What is the password?",
        "two\nlines",
        "What is the password?",
    ]
    path = tmp_path / "typed.jsonl"
    with path.open("a") as file:
        file.write('"cut sho')
    assert len(list(Typed(tmp_path).load_history_strings())) == 3
    typed.append_string("after the cut")
    assert next(iter(Typed(tmp_path).load_history_strings())) == "after the cut"
    assert forget_typed(tmp_path, lambda line: "password" in line.text) == 2
    assert list(Typed(tmp_path).load_history_strings()) == ["after the cut", "two\nlines"]
    assert "password" not in path.read_text()
    assert "cut sho" not in path.read_text()


@pytest.mark.parametrize(
    "line", ["/memory forget turn 3", "/mem  forget matching x", " / memory forget matching x", "/memory forget"]
)
def test_what_is_to_be_forgotten_is_not_kept_as_typed(tmp_path: Path, line: str) -> None:
    Typed(tmp_path).append_string(line)
    assert not (tmp_path / "typed.jsonl").exists()


def test_lines_that_an_older_version_typed_are_read(tmp_path: Path) -> None:
    (tmp_path / "typed.jsonl").write_text('"What is the password?"\n{"text": "two", "turn": 2}\n{"text": 3}\n[]\n')
    assert read_typed(tmp_path) == [TypedLine("What is the password?"), TypedLine("two", 2)]


def test_what_was_kept_is_underlined_in_the_prompt_and_counted() -> None:
    excerpt = Excerpt((), ("<passage>\n", "It sails at seven. It is blue.", "\n</passage>\n"), ((0, 28),))
    generation = Generation("Seven", "stop", 60, 10, 1, 0.5, 0.1, restored_tokens=30, shifted_tokens=20, saved_s=2.04)
    state = State(Question("When?"), prompt=(excerpt, Text("\nQuestion: When?", "question")))
    state = replace(state, ledger=Ledger(generation=generation))
    console = Console(record=True, width=200, file=io.StringIO(), force_terminal=True)
    console.print(views.prompt(state))
    styled = console.export_text(styles=True, clear=False)
    assert "\x1b[4;32m<passage>" in styled, "underlined, in the colour of its part"
    plain = console.export_text()
    assert "<passage>\nIt sails at seven.\n" in re.sub(r" +\n", "\n", plain)
    assert "30 restored (20 of them moved), 20 read; reading the restored ones takes about 2.0 s" in plain
    assert "30 kept from earlier, about 2.0 s saved" in views.figures(state)
    reading_first = replace(generation, stored_tokens=90, stored_s=3.0)
    state = replace(state, ledger=Ledger(generation=reading_first))
    assert "saved" not in views.figures(state), "the first time costs more than it saves"
