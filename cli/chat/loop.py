"""`longthread chat`: one line after another, something said or a command, from a terminal or from a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from rich.text import Text

from cli.chat.chat import Chat
from cli.chat.commands import greeting, run_command
from cli.chat.docs_commands import absolute
from cli.chat.settings import Settings, recovered_settings
from cli.chat.talk import Leave, talk
from cli.errors import EXIT_ERROR, describe
from cli.input import as_text, read_lines
from cli.output import SafeConsole, open_console, print_line
from cli.progress import Display
from cli.sessions import move_old_sessions
from pipeline.cache import private_files
from pipeline.errors import ConfigError, LongthreadError
from pipeline.presets import preset_or_path
from pipeline.sessions import session_folder
from pipeline.text.visible import MARK, visible
from pipeline.typed import n_damaged

DEFAULT_SESSION = "default"
SECONDS_BEFORE_A_BAR = 0.4
"""What is done sooner shows no bar, which would only flash."""


def run(
    docs: Sequence[str],
    config: str | None,
    index: str | None,
    session: str | None,
    model: str | None,
    filter_text: str | None = None,
    watch: bool = False,
) -> int:
    if docs and index:
        raise ConfigError("give --docs or --index, not both: 'longthread index PATH --index DIR' adds to an index")
    name = session or DEFAULT_SESSION
    session_folder(name)
    move_old_sessions()
    kept, damage = recovered_settings(session_folder(name))
    settings = overlaid(kept, docs, config, index, model, filter_text)
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    console = SafeConsole() if is_terminal else open_console()
    display = Display(after_s=SECONDS_BEFORE_A_BAR)
    with private_files(), display, Chat.open(name, settings, console, display, is_terminal) as chat:
        if watch:
            chat.watch()
        if damage:
            chat.remark(Text(visible(damage)))
        if is_terminal:
            terminal(chat)
        else:
            pipe(chat)
        return EXIT_ERROR if chat.failed and not is_terminal else 0


def overlaid(
    settings: Settings,
    docs: Sequence[str],
    config: str | None,
    index: str | None,
    model: str | None,
    filter_text: str | None = None,
) -> Settings:
    """A session's settings, with those of the command line in their place where it has any."""
    if docs:
        settings = settings.with_docs(tuple(map(absolute, docs)))
    if index is not None:
        settings = replace(settings, docs=(), index=absolute(index))
    if config is not None:
        settings = replace(settings, config=absolute(str(preset_or_path(config))), model=None, answering="{}")
    if filter_text is not None:
        settings = replace(settings, filter=filter_text or None)
    if model is not None:
        settings = replace(settings, model=absolute(model) if model.endswith(".gguf") else model)
    return settings


def terminal(chat: Chat) -> None:
    """Until Ctrl-D or /quit. Ctrl-C empties the line."""
    from cli.chat.line import Line

    line = Line(chat)
    chat.watched.announce = line.announce
    chat.warm_up()
    chat.say(greeting(chat), Text("/help lists the commands, Ctrl-D leaves", style="dim"))
    if n := n_damaged(chat.folder):
        chat.remark(Text(f"{n} of the lines typed earlier cannot be read, and are passed over", style="dim"))
    while True:
        try:
            with chat.reading_ahead(line.typed):
                text = line.read()
        except EOFError:
            return
        except KeyboardInterrupt:
            chat.replaces = False
            continue
        try:
            with no_echo():
                handle(chat, text)
        except Leave:
            return


@contextmanager
def no_echo() -> Iterator[None]:
    """Inside, keys are not echoed into what is printed, nor is Ctrl-C as ^C; what was typed is in the next line."""
    if sys.platform == "win32":
        yield
        return
    import termios

    before = termios.tcgetattr(sys.stdin)
    silent = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def pipe(chat: Chat) -> None:
    """Until the end of the input: each line a question or a command; answers go to stdout, a line each.

    Ctrl-C ends all of it, once what came of the answer is kept.
    """
    for text in read_lines():
        try:
            handle(chat, text)
        except Leave:
            return
        generation = chat.last.ledger.generation if chat.last is not None else None
        if generation is not None and generation.finish == "cancelled":
            raise KeyboardInterrupt


def handle(chat: Chat, text: str) -> None:
    """One line. What is wrong is said, and the chat goes on.

    A line that begins with a slash is a command; a space or another slash before it makes it a question. An empty line
    takes nothing back: it only ends an /edit.
    """
    text = text.replace("\0", MARK)  # no path and no C library takes one
    chat.say_news()
    is_command = text.startswith("/") and not text.startswith("//")
    text = (text[1:] if text.startswith("//") else text).strip()
    replaces, chat.replaces = chat.replaces, False
    if not text:
        return
    try:
        if is_command:
            if chat.pending is not None and chat.pending.kind == "forget":
                chat.pending = None  # a yes that comes later means something else
            run_command(chat, text)
        elif replaces:
            with chat.replacing():
                talk(chat, as_text(text))
        else:
            talk(chat, as_text(text))
    except LongthreadError as error:
        failed(chat, str(error))
    except OSError as error:
        failed(chat, describe(error))
    except KeyboardInterrupt:
        if not chat.is_terminal:
            raise
        failed(chat, "stopped")
    if chat.is_terminal:
        chat.console.print()


def failed(chat: Chat, what: str) -> None:
    chat.failed = True
    chat.display.stop()
    if chat.is_terminal:
        chat.console.print(Text(visible(what), style="red"), soft_wrap=True)
    else:
        print_line(f"longthread: {what}", is_error=True)
