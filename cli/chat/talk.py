"""Answers a line that is no command: a question, a greeting, a request for a summary, a correction.

Greetings, thanks, yes and no, requests for help and for the list of documents get fixed replies without a model. They
are no turns, so they are never stored, searched, recalled or repeated in a prompt.
"""

from __future__ import annotations

import re

from rich.text import Text

from cli.chat import replies
from cli.chat.asking import TypedQuestion, ask, summarise
from cli.chat.chat import Chat, Pending
from cli.chat.views import turns_text
from pipeline.conversation.corrections import corrected, is_other
from pipeline.conversation.followup import Rewritten, inside_sentence
from pipeline.conversation.utterances import Language, Utterance, plain, read_utterance, without_small_talk
from pipeline.document_names import find_document
from pipeline.errors import LongthreadError, StoreError


class Leave(Exception):
    """Ends the chat."""


def talk(chat: Chat, text: str) -> None:
    """Answers one line. Raises Leave for a goodbye."""
    utterance = read_utterance(text)
    pending, chat.pending = chat.pending, None
    if pending is not None and _settle_pending(chat, pending, text, utterance):
        return
    kind, language = utterance.kind, utterance.language
    if kind == "leave":
        raise Leave
    if kind == "help":
        _help(chat, language)
    elif kind == "greeting":
        chat.reply(replies.reply(language, "greeting", what=replies.what_to_ask(language, chat.sources)))
    elif kind == "thanks":
        chat.reply(replies.reply(language, "thanks"))
    elif kind in ("yes", "no"):
        _yes_or_no(chat, text, utterance)
    elif kind == "files":
        chat.reply(_files(chat, language))
    elif kind == "correction":
        _correct(chat, text, utterance)
    elif kind == "summary" and _summarise(chat, text, utterance):
        return
    else:
        ask(chat, TypedQuestion(text, utterance.about if kind == "question" else text))


def _settle_pending(chat: Chat, pending: Pending, text: str, utterance: Utterance) -> bool:
    """Takes the line as the answer to the chat's question. Returns False if it is something else."""
    if pending.kind == "forget":
        return _forget_elsewhere(chat, pending, utterance)
    if pending.kind == "correction":
        if utterance.kind != "question" or len(text.split()) > 6 or text.strip().endswith("?"):
            return False
        _correct(chat, text, Utterance("correction", pending.language, text.strip()))
        return True
    sources = pending.sources
    number = re.fullmatch(r"\s*(\d+)\.?\s*", text)
    if number and 1 <= int(number.group(1)) <= len(sources):
        chosen = sources[int(number.group(1)) - 1]
    elif utterance.kind == "yes" and len(sources) == 1:
        chosen = sources[0]
    else:
        titles = {source: title for source, title in chat.titles.items() if source in sources}
        meant = find_document(text, titles)
        if not text.strip() or meant.kind != "one" or utterance.kind not in ("question", "correction"):
            return False
        if len(sources) == 1 and plain(text).strip(" .!?") not in plain(sources[0]):
            return False
        chosen = meant.sources[0]
    summarise(chat, pending.text, (chosen,), pending.language)
    return True


def _forget_elsewhere(chat: Chat, pending: Pending, utterance: Utterance) -> bool:
    """After a yes, forgets in the other sessions too. Returns False for a line that is neither yes nor no."""
    forgotten = pending.forgotten
    if forgotten is None or utterance.kind not in ("yes", "no"):
        return False
    faults = []
    for session in forgotten.elsewhere:
        if utterance.kind == "no":
            chat.say(f"It stays in the session {session.name}.")
            continue
        try:
            numbers = chat.conversation.forget_in(session.name, forgotten.what)
            chat.say(f"Forgotten in the session {session.name} too: {turns_text(numbers) or 'typed lines'}.")
        except LongthreadError as error:
            faults.append(str(error))
    if faults:
        raise StoreError("\n".join(faults))
    return True


def _yes_or_no(chat: Chat, text: str, utterance: Utterance) -> None:
    """Answers a yes or no to the question at the end of the last answer. Without one, asks what it refers to."""
    last = chat.turns[-1] if chat.turns else None
    if last is not None and re.search(r"\?(?:\s*\[\d+\])*\s*\Z", last.answer):
        about = f"{chat.searched.get(last.number, last.question)} {last.answer}"
        rewritten = Rewritten(about, last.answer, "it answers the last answer's question", "rule")
        ask(chat, TypedQuestion(text, rewritten=rewritten))
    else:
        chat.reply(replies.reply(utterance.language, utterance.kind))


def _help(chat: Chat, language: Language) -> None:
    from cli.chat.commands import show_help

    chat.reply(replies.reply(language, "help", what=replies.what_to_ask(language, chat.sources)))
    show_help(chat, [])


def _files(chat: Chat, language: Language) -> str:
    if not chat.has_documents:
        return replies.reply(language, "nothing")
    return replies.files(language, chat.counts, chat.unread.n_unread)


def _summarise(chat: Chat, text: str, utterance: Utterance) -> bool:
    """Summarises the named document, or asks which one. Returns False if no document has that name."""
    if not chat.has_documents:
        chat.reply(replies.reply(utterance.language, "nothing"))
        return True
    meant = find_document(utterance.about, chat.titles, chat.last_cited)
    if meant.kind == "none":
        chat.remark(Text(f"no document is called '{utterance.about}': all of them are searched for it", style="dim"))
        return False
    if meant.kind == "ask":
        chat.pending = Pending("summary", text, utterance.language, meant.sources)
        chat.reply(replies.which_document(utterance.language, meant.sources))
    else:
        summarise(chat, text, meant.sources, utterance.language)
    return True


def _correct(chat: Chat, text: str, utterance: Utterance) -> None:
    """Asks the last question again, corrected."""
    language, correction = utterance.language, utterance.about
    last = _last_question(chat)
    if last is None:
        chat.reply(replies.reply(language, "nothing_to_correct"))
        return
    before = read_utterance(last)
    if before.kind == "summary" and chat.has_documents:
        meant = find_document(correction, chat.titles)
        if meant.kind in ("one", "all"):
            summarise(chat, text, meant.sources, language)
            return
    if is_other(correction):
        other = _other(chat)
        if other is None:
            chat.pending = Pending("correction", text, language)
            chat.reply(replies.reply(language, "other"))
            return
        ask(chat, TypedQuestion(text, rewritten=other, asks_rewritten=True))
        return
    again = corrected(last, correction)
    why = "a correction of the last question" + (f": for '{again.replaced}'" if again.replaced else "")
    rewritten = Rewritten(again.text, correction, why, "rule")
    ask(chat, TypedQuestion(text, rewritten=rewritten, asks_rewritten=True))


def _last_question(chat: Chat) -> str | None:
    """The query of the last question, which a correction changes."""
    if not chat.turns:
        return None
    turn = chat.turns[-1]
    if read_utterance(turn.question).kind == "summary":
        return turn.question
    return chat.searched.get(turn.number, without_small_talk(turn.question))


def _other(chat: Chat) -> Rewritten | None:
    """The last rewriting with the next candidate for its pronoun, None if there is none."""
    last = chat.rewritten
    if last is None or last.about not in last.choices:
        return None
    others = [choice for choice in last.choices if choice != last.about]
    start = plain(last.text).find(plain(last.about))
    if not others or start < 0:
        return None
    text = last.text[:start] + inside_sentence(others[0]) + last.text[start + len(last.about) :]
    return Rewritten(text, others[0], f"'{others[0]}' in the place of '{last.about}'", "rule", tuple(others))
