"""/why: what the last answer stands on."""

from __future__ import annotations

from cli.chat.chat import Chat
from pipeline.errors import ConfigError


def why(chat: Chat, words: list[str]) -> None:
    """The passages and sentences that each sentence of the last answer stands on."""
    from cli.why import explain, explanation, is_explicable
    from pipeline.answers.attribution import with_account

    state = chat.last
    if state is None:
        raise ConfigError("nothing has been answered since this session was opened: ask something first")
    if not is_explicable(state):
        chat.say(*explanation(state, None))
        return
    attribution = explain(state, chat.pipeline, exact=False, display=chat.display)
    chat.display.stop()
    chat.last = with_account(state, attribution)
    chat.say(*explanation(state, attribution))
