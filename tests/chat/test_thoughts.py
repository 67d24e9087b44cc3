"""A chat with a model that thinks: through a pipe, and in a terminal for three turns."""

import sys
from pathlib import Path

import pytest

from tests.chat.conftest import Talk
from tests.chat.terminal import HAS_TMUX, Terminal
from tests.models.speaking import ANSWER, MUSINGS, speaking

SAID = "".join(ANSWER)
LEAK = "mmm"
QUESTIONS = ("How many hives has the garden?", "And its wall?", "Is the garden large?")
PIPELINE = """\
index: {{embedder: none}}
stages:
  - retrieve.bm25: {{k: 2}}
  - memory.window
  - assemble.cited: {{layout: brief}}
  - generate.llama:
      {{model: {model}, n_ctx: 2048, threads: 1, max_tokens: 24, thinking_tokens: 40, use_tuned: false}}
"""


@pytest.fixture
def arguments(tmp_path: Path, documents: Path) -> tuple[str, ...]:
    (documents / "garden.md").write_text("The garden has seven hives. Its wall is red.\n")
    path = tmp_path / "thinking.yaml"
    path.write_text(PIPELINE.format(model=speaking("switched", tmp_path)))
    return ("--docs", str(documents), "--config", str(path))


def test_a_chat_thinks_when_it_is_told_to_and_folds_what_it_thought(talk: Talk, arguments: tuple[str, ...]) -> None:
    done = talk(QUESTIONS[0], "/thoughts", "/set thinking on", *QUESTIONS[1:], "/thoughts", "/prompt", extra=arguments)
    assert done.code == 0, done.err
    before, _, after = done.out.partition("No thoughts before this answer.")
    assert before.startswith(SAID)
    answers, _, shown = after.partition("thought for ")
    assert answers.count(SAID) == 2
    assert LEAK not in answers
    assert MUSINGS in shown
    assert shown.count(LEAK) == 1, "the prompt holds no thought of the turns before"
    assert SAID in shown.partition("in colour:")[2]


@pytest.mark.parametrize("value", ["on", "off", "auto"])
def test_thinking_is_set_by_word(talk: Talk, arguments: tuple[str, ...], value: str) -> None:
    done = talk(f"/set thinking {value}", "/set thinking", extra=arguments)
    assert done.code == 0, done.err
    assert value in done.out


@pytest.mark.skipif(not HAS_TMUX, reason="tmux is not installed: apt-get install tmux")
def test_three_turns_in_a_terminal(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    longthread = str(Path(sys.executable).with_name("longthread"))
    root = Path(__file__).parent.parent.parent
    with Terminal([longthread, "chat", "--session", "t", *arguments], root, tmp_path / "cache", width=120) as terminal:
        terminal.wait("/help lists the commands")
        terminal.wait_for_prompt()
        terminal.line("/set thinking on")
        terminal.wait_for_prompt()
        for n, question in enumerate(QUESTIONS, 1):
            terminal.line(question)
            shown = terminal.wait("thought for ", times=n)
            terminal.wait_for_prompt()
        assert shown.count("thought for ") == len(QUESTIONS)
        assert LEAK not in shown
        terminal.line("/thoughts")
        shown = terminal.wait(MUSINGS)
        assert shown.count(LEAK) == 1
