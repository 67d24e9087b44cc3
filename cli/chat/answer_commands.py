"""The chat's commands about the last answer: /sources, /prompt, /diff, /why, /retry, /undo, /edit and others."""

from __future__ import annotations

from rich.text import Text

from cli.chat import views
from cli.chat.asking import TypedQuestion, ask
from cli.chat.chat import Chat
from cli.chat.talk import talk
from cli.printing import ledger as ledger_table
from cli.printing import thoughts as thoughts_text
from pipeline.default import with_generator_settings
from pipeline.errors import ConfigError
from pipeline.text.visible import visible
from pipeline.types import State

RETRY_TEMPERATURE = 0.7
"""For the answers of /retry if the pipeline's own temperature is 0."""


def last_answer(chat: Chat) -> State:
    if chat.last is None:
        raise ConfigError("nothing has been answered since this session was opened: ask something first")
    return chat.last


def sources(chat: Chat, words: list[str]) -> None:
    state = last_answer(chat)
    if not state.found:
        raise ConfigError("no passages were found for the last question: /docs list says what is searched")
    chat.say(views.sources(state))


def thoughts(chat: Chat, words: list[str]) -> None:
    chat.say(thoughts_text(last_answer(chat).ledger.generation))


def prompt(chat: Chat, words: list[str]) -> None:
    state = last_answer(chat)
    if not state.prompt:
        raise ConfigError("the last question did not reach the model: /ledger says which step ended it")
    chat.say(views.prompt(state))


def diff(chat: Chat, words: list[str]) -> None:
    from cli.ask import kept_and_dropped

    chat.say(views.differences(kept_and_dropped(last_answer(chat))))


def ledger(chat: Chat, words: list[str]) -> None:
    account = last_answer(chat).ledger
    chat.say(ledger_table(account))
    if account.recalled:
        chat.say(views.recollections(account))


def why(chat: Chat, words: list[str]) -> None:
    """Shows the passages and sentences that support each sentence of the last answer."""
    from cli.why import explain, explanation, is_explicable
    from pipeline.answers.attribution import with_account

    state = last_answer(chat)
    if not is_explicable(state):
        chat.say(*explanation(state, None))
        return
    attribution = explain(state, chat.pipeline, exact=False, display=chat.display)
    chat.display.stop()
    chat.last = with_account(state, attribution)
    chat.say(*explanation(state, attribution))


def retry(chat: Chat, words: list[str]) -> None:
    """Asks the last question again. A model at temperature 0 would repeat itself, so it gets a higher one."""
    with chat.replacing() as turn:
        _ask_again(chat, turn.question)


def _ask_again(chat: Chat, question: str) -> None:
    chat.tries += 1
    temperature = getattr(chat.config.generator, "temperature", None)
    if temperature is None:
        talk(chat, question)
        return
    sampling = {"temperature": temperature or RETRY_TEMPERATURE, "seed": chat.tries}
    line = f"again, at temperature {sampling['temperature']}, seed {chat.tries}, for this answer"
    chat.remark(Text(line, style="dim"))
    with chat.answering_with(with_generator_settings(chat.config, sampling)):
        talk(chat, question)


def undo(chat: Chat, words: list[str]) -> None:
    """Takes back the rewriting of a follow-up if there is one, else the last turn."""
    if chat.rewritten is not None and not chat.is_correction:
        with chat.replacing() as turn:
            chat.remark(Text(f"searching for your own words: {visible(turn.question)}", style="dim"))
            ask(chat, TypedQuestion(turn.question, is_literal=True))
        return
    turn = chat.take_back()
    chat.say(f"Taken back: turn {turn.number}, {views.cut_line(turn.question, 60)}")


def edit(chat: Chat, words: list[str]) -> None:
    """Puts the last question into the input line. With a text, asks that text instead of the last question."""
    if not chat.turns:
        raise ConfigError("there is no question to edit: nothing was asked in this session")
    if words:
        with chat.replacing():
            talk(chat, " ".join(words))
        return
    if not chat.is_terminal:
        raise ConfigError("/edit needs the new question after it if there is no terminal")
    chat.prefill, chat.replaces = chat.turns[-1].question, True
