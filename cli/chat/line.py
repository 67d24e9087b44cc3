"""The input line: history, completion, several lines, emacs and vi keys, a bottom bar.

prompt-toolkit controls the terminal only while a line is typed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app, run_in_terminal
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.enums import EditingMode
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.styles import Style
from rich.text import Text

from cli.chat.chat import Chat
from cli.chat.commands import COMMANDS
from cli.chat.typed import Typed
from cli.chat.views import PART_NAMES, cut_line
from cli.printing import shown_path
from pipeline.text.counting import counted
from pipeline.text.visible import visible
from pipeline.types import Part

_LAST_WORD = re.compile(r"(?:\\.|[^\s\\])*\Z")
_PART_COLOURS = {
    "system": "ansimagenta",
    "memory": "ansiyellow",
    "passages": "ansigreen",
    "history": "ansiblue",
    "question": "ansicyan",
    "template": "ansibrightblack",
    "answer": "ansiwhite",
}
STYLE = Style.from_dict(
    {
        "bottom-toolbar": "noreverse bg:#262626 #d0d0d0",
        "prompt": "bold ansicyan",
        **{f"part-{part}": colour for part, colour in _PART_COLOURS.items()},
        "part-free": "#585858",
        "name": "bold",
    }
)


class Line:
    """Reads an input of one or several lines. Raises EOFError at Ctrl-D and KeyboardInterrupt at Ctrl-C."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self._session: PromptSession[str] | None = None
        self._name = ""

    def read(self) -> str:
        chat = self.chat
        if self._session is None or self._name != chat.name or chat.has_typed_changed:
            self._session, self._name, chat.has_typed_changed = self._new(), chat.name, False
        self._session.editing_mode = EditingMode.VI if chat.settings.keys == "vi" else EditingMode.EMACS
        prefill, chat.prefill = chat.prefill, ""
        return self._session.prompt([("class:prompt", "> ")], default=prefill)

    def typed(self) -> str:
        """The line as far as it is typed. May be called from any thread."""
        return "" if self._session is None else self._session.default_buffer.text

    def announce(self, text: Text) -> bool:
        """Prints above the line that is being typed, from any thread. Returns False if no line is being typed."""
        app = self._session.app if self._session is not None else None
        if app is None or not app.is_running or app.loop is None or app.context is None:
            return False

        def show() -> None:
            run_in_terminal(lambda: self.chat.console.print(text, soft_wrap=True))

        try:
            app.loop.call_soon_threadsafe(show, context=app.context)
        except RuntimeError:  # the loop has just ended
            return False
        return True

    def _new(self) -> PromptSession[str]:
        return PromptSession(
            history=Typed(self.chat.folder, self.chat.turn_of),
            completer=CommandCompleter(self.chat),
            complete_while_typing=True,
            auto_suggest=AutoSuggestFromHistory(),
            multiline=True,
            prompt_continuation=[("class:prompt", "  ")],
            key_bindings=_keys(),
            bottom_toolbar=lambda: bar(self.chat, get_app().output.get_size().columns),
            style=STYLE,
            reserve_space_for_menu=6,
        )


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def send(event: KeyPressEvent) -> None:
        """Accepts the chosen completion if there is one, else sends the line."""
        buffer = event.current_buffer
        if buffer.complete_state is not None and buffer.complete_state.current_completion is not None:
            buffer.complete_state = None
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys


class CommandCompleter(Completer):
    """Completes a command's name, then its arguments. Questions have no completion."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        text = document.text_before_cursor
        if not text.startswith("/") or "\n" in text:
            return
        name, space, rest = text[1:].partition(" ")
        if not space:
            for command in COMMANDS.values():
                if command.name.startswith(name):
                    yield Completion(command.name, -len(name), f"/{command.name}", command.help)
            return
        if name not in COMMANDS:
            return
        word = _LAST_WORD.search(rest.lstrip())
        prefix = word.group() if word else ""
        before = rest.lstrip()[: len(rest.lstrip()) - len(prefix)].split()
        for choice, meaning in COMMANDS[name].complete(self.chat, [*before, prefix]):
            if choice.startswith(prefix):
                yield Completion(choice, -len(prefix), visible(choice), cut_line(meaning, 50))


def bar(chat: Chat, width: int) -> StyleAndTextTuples:
    """Two lines: model, session and documents, then the parts of the last prompt and the free tokens."""
    turns = counted(len(chat.turns), "turn")
    head = f" {chat.pipeline.reader.name} │ {chat.name}, {turns} │ {_documents(chat)}"
    first: StyleAndTextTuples = [("class:name", cut_line(head, width - 1)), ("", "\n")]
    return [*first, *meter(chat, width)]


def _documents(chat: Chat) -> str:
    if chat.settings.index is not None:
        return f"index {shown_path(chat.settings.index)}"
    return ", ".join(map(shown_path, chat.settings.docs)) or "no documents: /docs add PATH"


def meter(chat: Chat, width: int) -> StyleAndTextTuples:
    """The window as a bar and in numbers, with a colour for each part, shortened to the width."""
    window, reserve = chat.pipeline.window, chat.pipeline.reserve
    account = chat.last.ledger if chat.last is not None else None
    tokens = dict(account.parts) if account is not None else {}
    shares = [(part, tokens[part]) for part, _, _ in PART_NAMES if tokens.get(part)]
    shares.append(("answer", reserve))
    reused = account.generation.reused_tokens if account is not None and account.generation is not None else 0
    for is_long, n_cells in ((True, 20), (False, 20), (False, 8), (False, 0)):
        words = _numbers(shares, window, reused, is_long)
        line: StyleAndTextTuples = [("", " "), *_cells(shares, window, n_cells), *words]
        if sum(len(text) for _, text, *_ in line) < width:
            break
    return line


def _numbers(shares: Sequence[tuple[Part, int]], window: int, reused: int, is_long: bool) -> StyleAndTextTuples:
    names = {part: long if is_long else short for part, long, short in PART_NAMES}
    gap = "  " if is_long else " "
    words: StyleAndTextTuples = []
    for part, n in shares:
        words += [("", gap), (f"class:part-{part}", f"{names[part]} {n}")]
    words.append(("class:part-free", f"{gap}free {window - sum(n for _, n in shares)}"))
    return [*words, ("", f"{gap}reused {reused}")] if reused else words


def _cells(shares: Sequence[tuple[Part, int]], window: int, n_cells: int) -> StyleAndTextTuples:
    """The bar. Each cell stands for the same number of tokens, in the colour of the part at its middle."""
    cells: StyleAndTextTuples = []
    end, drawn = 0, 0
    for part, n in shares:
        end += n
        last = round(end / window * n_cells)
        cells.append((f"class:part-{part}", "█" * (last - drawn)))
        drawn = last
    cells.append(("class:part-free", "░" * (n_cells - drawn)))
    return cells
