"""The chat as its user has it: typed into a real terminal, the default model answering from the demo's documents.

`python -m tests.chat.test_terminal` writes the screens that are seen on the way into docs/.
"""

import io
import re
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from cli.show import write_svg
from tests.chat.conftest import SCRIPTED
from tests.chat.terminal import HAS_TMUX, SECONDS, Terminal

ROOT = Path(__file__).parent.parent.parent
LONGTHREAD = str(Path(sys.executable).with_name("longthread"))
COMMAND = [LONGTHREAD, "chat", "--docs", "configs/demo/documents", "--session", "notes"]
STORY = "Write a long story about the ferry and her captain, in ten paragraphs."

pytestmark = pytest.mark.skipif(not HAS_TMUX, reason="tmux is not installed: apt-get install tmux")
Keep = Callable[[str, Terminal], None]


def conversation(cache: Path, width: int, height: int, keep: Keep) -> None:
    """Ask, follow up, look at what was seen, stop an answer, be killed, resume: each step asserted on the screen."""
    with Terminal(COMMAND, ROOT, cache, width, height) as terminal:
        ask(terminal, keep)
        follow_up(terminal, keep)
        look(terminal, keep)
        stop(terminal, keep)
        terminal.kill()
    with Terminal(COMMAND, ROOT, cache, width, height) as terminal:
        resume(terminal, keep)


def ask(terminal: Terminal, keep: Keep) -> None:
    terminal.wait("/help lists the commands")
    terminal.wait_for_prompt()
    terminal.line("How much does a return ticket cost for a child under twelve?")
    shown = terminal.wait("tokens read")
    assert "6 marks" in shown
    assert "ferry.md, line 11" in shown
    assert "docs" in terminal.wait_for_prompt() or "documents" in terminal.screen()
    terminal.wait_for_prompt()
    keep("A question, its answer, and where it stands; below, what the window holds", terminal)


def follow_up(terminal: Terminal, keep: Keep) -> None:
    terminal.line("And for a grown person?")
    terminal.wait("searching for: How much does a return ticket cost")
    shown = terminal.wait("tokens read", times=2)
    reused = [int(n) for n in re.findall(r"(\d+) reused", shown)]
    before, _ = (int(n) for n in re.findall(r"(\d+) tokens read", shown))
    # all but the sentences that the layout repeats after the question, and those chosen for one of the two alone
    assert reused[-1] > 0.6 * before, "the prompt of the turn before was read again"
    terminal.wait_for_prompt()
    keep("A follow-up: what is searched for is shown, and what was read stays in the cache", terminal)


def look(terminal: Terminal, keep: Keep) -> None:
    terminal.line("/sources")
    terminal.wait("left out by")
    terminal.wait_for_prompt()
    keep("/sources", terminal)
    terminal.line("/prompt")
    shown = terminal.wait("\nQuestion: And for a grown person?")
    assert "<passage 1>" in shown
    terminal.wait_for_prompt()
    keep("/prompt", terminal)
    terminal.line("/sourcs")
    terminal.wait("there is no command '/sourcs', did you mean 'sources'?")
    terminal.wait_for_prompt()


def stop(terminal: Terminal, keep: Keep) -> None:
    """Ctrl-C while the answer is being written: what came stays on the screen, and in the conversation."""
    terminal.line("/set max_tokens 400")
    terminal.wait("max_tokens         400")
    terminal.wait_for_prompt()
    terminal.line(STORY)
    wait_for_words(terminal)
    terminal.press("C-c")
    shown = terminal.wait("stopped")
    begun = shown.partition(STORY)[2].strip().splitlines()[0]
    assert len(begun.split()) >= 2
    n_drawn = sum(line.startswith(begun) for line in shown.splitlines())  # a quote beside it may hold the same words
    assert n_drawn == 1, "the answer was drawn twice"
    assert "^C" not in shown
    terminal.wait_for_prompt()
    keep("Ctrl-C stops an answer and keeps what was written", terminal)


def wait_for_words(terminal: Terminal) -> None:
    """Waits until the answer has begun: words below the question that belong to no bar, no note on the search and no
    line of state, which is there until the question is taken.
    """
    end = time.monotonic() + 2 * SECONDS
    while time.monotonic() < end:
        lines = terminal.screen().partition(STORY)[2].splitlines()
        answer = [
            line for line in lines if not any(mark in line for mark in ("━", "left -", "searching for", "░", "│"))
        ]
        if len(" ".join(answer).split()) >= 3:
            return
        time.sleep(0.02)
    raise AssertionError(f"no answer began:\n{terminal.screen()}")


def resume(terminal: Terminal, keep: Keep) -> None:
    """After SIGKILL: every turn that was shown as complete is there, the stopped one too."""
    terminal.wait("3 turns so far")
    terminal.wait_for_prompt()
    terminal.line("/memory show")
    shown = terminal.wait("Write a long story", times=2)  # the first is in the greeting
    for text in ("How much does a return ticket cost", "And for a grown person?", "6 marks"):
        assert text in " ".join(shown.split())
    terminal.wait_for_prompt()
    keep("Killed with SIGKILL and begun again: nothing is lost", terminal)
    terminal.press("C-d")
    terminal.wait_until_dead()


def test_the_chat_in_a_terminal(own_cache: Path) -> None:
    conversation(own_cache, 80, 24, lambda title, terminal: None)


def draw(terminal: Terminal, path: str) -> None:
    """The screen as an SVG, without the empty lines above the bar."""
    console = Console(record=True, width=104, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.from_ansi(re.sub(r"(\n\s*)(\n\s*)+(?=\n)", r"\1", terminal.screen(with_colours=True))))
    write_svg(console, str(ROOT / path), "longthread chat")


def main() -> None:
    """Writes docs/chat.txt, and the screen of the follow-up in its colours as docs/chat.svg."""
    screens: list[str] = []
    cache = Path(tempfile.mkdtemp())

    def keep(title: str, terminal: Terminal) -> None:
        screens.append(f"=== {title} {'=' * max(0, 100 - len(title))}\n\n{terminal.screen()}\n")
        if title.startswith("A follow-up"):
            draw(terminal, "docs/chat.svg")

    try:
        conversation(cache, 104, 30, keep)
    finally:
        shutil.rmtree(cache)
    (ROOT / "docs" / "chat.txt").write_text("\n".join(screens) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()


def test_a_watched_folder_is_answered_from_as_it_is_now(tmp_path: Path) -> None:
    """A line above the prompt says what changed, while the person types, and what was typed stays."""
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "tower.md").write_text("The tower was built in 1612.\n")
    (tmp_path / "scripted.yaml").write_text(SCRIPTED)
    command = [LONGTHREAD, "chat", "--docs", "docs", "--config", "scripted.yaml", "--watch"]
    with Terminal(command, tmp_path, tmp_path / "cache") as terminal:
        terminal.wait("/help lists the commands")
        terminal.wait_for_prompt()
        terminal.write("How deep is")
        (docs / "well.md").write_text("The well is forty metres deep.\n")
        shown = terminal.wait("documents changed: added docs/well.md", seconds=60)
        assert "> How deep is" in shown.partition("added docs/well.md")[2]
        terminal.line(" the well?")
        terminal.wait("The well is forty metres deep.")
        terminal.wait_for_prompt()
        (docs / "well.md").rename(docs / "spring.md")
        terminal.wait("renamed docs/well.md to docs/spring.md", seconds=60)
        terminal.press("C-d")


def test_a_named_document_that_cannot_be_read_is_an_error_as_in_a_pipe(tmp_path: Path) -> None:
    """It is said on the screen, and the exit code is 2; a line that failed was seen, and is no error of the command."""
    (tmp_path / "tower.md").write_text("The tower was built in 1612.\n")
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7\nthis is all there is")
    (tmp_path / "scripted.yaml").write_text(SCRIPTED)
    command = [LONGTHREAD, "chat", "--config", "scripted.yaml", "--docs", "tower.md"]
    for documents, lines, code in (
        (("--docs", "broken.pdf"), (), 2),
        ((), (), 2),  # the session keeps its documents
        ((), ("/docs remove broken.pdf",), 0),
        ((), ("/docs add broken.pdf", "/nonsense"), 0),
    ):
        arguments = [*command, *documents] if documents else command[:4]
        arguments = ["sh", "-c", f"{shlex.join(arguments)}; echo $? > code"]  # tmux may miss the end of a process
        with Terminal(arguments, tmp_path, tmp_path / "cache", width=120) as terminal:
            shown = terminal.wait("/help lists the commands")
            assert ("longthread: broken.pdf: a broken PDF" in shown) is (code == 2 or "remove" in "".join(lines))
            for line in lines:
                terminal.wait_for_prompt()
                terminal.line(line)
            terminal.wait_for_prompt()
            terminal.press("C-d")
            terminal.wait_until_dead()
            assert (tmp_path / "code").read_text() == f"{code}\n", terminal.screen()
