"""`longthread chat`: reads lines from a terminal or a pipe, and answers each."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Annotated

import typer
from rich.text import Text

from cli.answering import check_one_source
from cli.chat.chat import Chat
from cli.chat.commands import run_command
from cli.chat.docs_commands import absolute
from cli.chat.settings import Settings, recovered_settings
from cli.chat.talk import Leave, talk
from cli.chat.views import greeting
from cli.command import command, new_app
from cli.errors import describe
from cli.exit_codes import EXIT_ERROR
from cli.input import as_text, read_lines
from cli.options import Paths, PipelineOptions, Watch
from cli.output import SafeConsole, open_console, print_line
from cli.progress import Display
from cli.sessions import move_old_sessions
from pipeline.conversation.sessions import session_folder
from pipeline.conversation.typed import n_damaged
from pipeline.errors import LongthreadError
from pipeline.presets import preset_or_path
from pipeline.storage.cache import private_files
from pipeline.text.visible import MARK, visible

DEFAULT_SESSION = "default"
SECONDS_BEFORE_A_BAR = 0.4
"""Shorter work shows no bar, which would only flash."""


app = new_app()


@dataclass(frozen=True, kw_only=True)
class ChatOptions(PipelineOptions):
    """The options of `longthread chat`."""

    paths: Paths = ()
    session: Annotated[
        str | None,
        typer.Option("--session", "-s", metavar="NAME", help="The conversation to start or resume. Default: default."),
    ] = None
    watch: Watch = False


@command(
    app,
    "chat",
    "longthread chat reports/",
    "longthread chat --session trip --docs guide.pdf --watch",
    "longthread chat reports/ < questions.txt",
)
def chat(options: ChatOptions) -> int:
    """Talk with your documents. The conversation is remembered.

    A pipe gives a question a line, and gets an answer a line.
    """
    options = replace(options, docs=(*options.docs, *options.paths), paths=())
    check_one_source(options.docs, options.index)
    name = options.session or DEFAULT_SESSION
    session_folder(name)
    move_old_sessions()
    stored, damage = recovered_settings(session_folder(name))
    settings = overlaid(stored, options)
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    console = SafeConsole() if is_terminal else open_console()
    display = Display(after_s=SECONDS_BEFORE_A_BAR)
    with private_files(), display, Chat.open(name, settings, console, display, is_terminal) as chat:
        if options.watch:
            chat.watch()
        if damage:
            chat.remark(Text(visible(damage)))
        if is_terminal:
            terminal(chat)
        else:
            pipe(chat)
        # A line that failed in a terminal was seen, and another was typed; a named document that cannot be read stays.
        return EXIT_ERROR if (chat.n_unread if is_terminal else chat.failed) else 0


def overlaid(settings: Settings, options: ChatOptions) -> Settings:
    """A session's settings, replaced by those of the command line where it has any."""
    if options.docs:
        settings = settings.with_docs(tuple(map(absolute, options.docs)))
    if options.index is not None:
        settings = replace(settings, docs=(), index=absolute(options.index))
    if options.config is not None:
        config = absolute(str(preset_or_path(options.config)))
        settings = replace(settings, config=config, model=None, answering="{}")
    if options.filter is not None:
        settings = replace(settings, filter=options.filter or None)
    if (model := options.model) is not None:
        settings = replace(settings, model=absolute(model) if model.endswith(".gguf") else model)
    return settings


def terminal(chat: Chat) -> None:
    """Answers lines until Ctrl-D or /quit. Ctrl-C empties the line."""
    from cli.chat.line import Line

    line = Line(chat)
    chat.watched.announce = line.announce
    chat.warm_up()
    chat.say(greeting(chat), Text("/help lists the commands, Ctrl-D leaves", style="dim"))
    if n := n_damaged(chat.folder):
        chat.remark(Text(f"{n} of the lines typed earlier cannot be read, and are skipped", style="dim"))
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
    """Inside, keys and Ctrl-C are not echoed into the output. Keys typed meanwhile go into the next line."""
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
    """Answers each line of standard input with a line on stdout. Ctrl-C stores the answer so far, and ends the chat."""
    for text in read_lines():
        try:
            handle(chat, text)
        except Leave:
            return
        generation = chat.last.ledger.generation if chat.last is not None else None
        if generation is not None and generation.finish == "cancelled":
            raise KeyboardInterrupt


def handle(chat: Chat, text: str) -> None:
    """Runs one line. An error is printed, and the chat continues.

    A line that begins with a slash is a command. A space or another slash before it makes it a question. An empty line
    ends an /edit, and changes nothing.
    """
    text = text.replace("\0", MARK)  # no path and no C library takes one
    chat.show_news()
    is_command = text.startswith("/") and not text.startswith("//")
    text = (text[1:] if text.startswith("//") else text).strip()
    replaces, chat.replaces = chat.replaces, False
    if not text:
        return
    try:
        if is_command:
            if chat.pending is not None and chat.pending.kind == "forget":
                chat.pending = None  # a later yes answers something else
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


def failed(chat: Chat, message: str) -> None:
    """Prints an error."""
    chat.failed = True
    chat.display.stop()
    if chat.is_terminal:
        chat.console.print(Text(visible(message), style="red"))
    else:
        print_line(f"longthread: {message}", is_error=True)
