"""What a chat does for an answer: rewrite the question, ask or summarise, show the answer, let the memory settle."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import FrameType

from rich.text import Text

from cli.chat import views
from cli.chat.chat import Chat
from cli.chat.earlier import SEARCHED, n_questions_with_this_answer
from cli.chat.stream import Blocks, Markdowns, Plain, View
from cli.printing import shown_path
from pipeline.conversation.conversation import Conversation
from pipeline.conversation.followup import MAX_TURNS, Rewritten, rewrite
from pipeline.conversation.utterances import Language, read_utterance, without_small_talk
from pipeline.errors import DocumentError
from pipeline.text.counting import counted
from pipeline.text.visible import visible
from pipeline.types import Question, State


@dataclass(frozen=True)
class TypedQuestion:
    """A typed question, and how to search for it.

    :param text: the line as it was typed. It is stored as the turn's question.
    :param question: the text without a greeting in front of it, to search by. Default: the text.
    :param rewritten: the query, if it is known already. Then the question is not rewritten again.
    :param asks_rewritten: whether the model is asked the rewritten query, too.
    :param is_literal: whether retrieval searches for the text as it is.
    """

    text: str
    question: str = ""
    rewritten: Rewritten | None = None
    asks_rewritten: bool = False
    is_literal: bool = False


def ask(chat: Chat, typed: TypedQuestion) -> None:
    """Answers a question and prints the answer."""
    chat.wait_until_warm()
    question = typed.question or typed.text
    chat.rewritten = typed.rewritten or (None if typed.is_literal else _rewritten(chat, question))
    if chat.rewritten is not None:
        chat.remark(views.rewriting(chat.rewritten, typed.asks_rewritten))
    chat.is_correction = typed.asks_rewritten
    query = chat.rewritten.text if chat.rewritten else None if typed.is_literal else question
    wording = query if typed.asks_rewritten else None
    state = _show_answer(chat, lambda: chat.conversation.ask(typed.text, query, wording))
    number = chat.turns[-1].number
    if chat.rewritten is not None:
        chat.searched[number] = chat.rewritten.text
    _notice_repetition(chat, chat.searched.get(number, question), state)
    _settle(chat)


def summarise(chat: Chat, text: str, sources: Sequence[str], language: Language) -> None:
    """Reads whole documents, and stores their summary as the answer to the text."""
    from pipeline.summarise import summarise as summarise_documents

    chat.wait_until_warm()
    index = chat.pipeline.index
    documents = {source: index.passages(source) for source in sources}
    name = shown_path(sources[0]) if len(sources) == 1 else f"{len(sources)} documents"
    n_passages = sum(map(len, documents.values()))
    if not n_passages:
        raise DocumentError(f"{name} has no text to summarise")
    passages = counted(n_passages, "passage")
    chat.remark(Text(f"{visible(name)}: {passages}, read from beginning to end", style="dim"))
    chat.rewritten = None

    def answer() -> State:
        pipeline = chat.pipeline
        pipeline.is_cancelled = False
        question = Question(text)
        state = summarise_documents(question, documents, pipeline, pipeline.ledger, language, index.vectors)
        return chat.conversation.commit(text, state)

    _show_answer(chat, answer, is_summary=True)
    title = chat.titles.get(sources[0]) if len(sources) == 1 else None
    chat.searched[chat.turns[-1].number] = title or name
    if len(sources) == 1:
        chat.last_cited = sources[0]
    _settle(chat)


def _show_answer(chat: Chat, answer: Callable[[], State], is_summary: bool = False) -> State:
    """Shows the answer while it is written, then the final text, then its sources."""
    view: View = Plain()
    if chat.is_terminal:
        view = (Blocks if is_summary else Markdowns)(chat.console, chat.display.stop)
    chat.pipeline.listener = replace(chat.pipeline.listener, on_text=view, on_retry=view.restart)
    text = ""
    try:
        with stopping(chat.conversation):
            state = answer()
        if state.answer is not None and (is_summary or not (chat.is_terminal and views.is_quote(state))):
            text = state.answer.text
    finally:
        chat.display.stop()
        view.end(text)
    chat.last = state
    citations = state.answer.citations if state.answer else ()
    quoted = (citation.quote.source for citation in citations if citation.quote is not None)
    chat.last_cited = next(quoted, chat.last_cited)
    if chat.is_terminal:
        chat.say(*views.footer(state, chat.settings, is_summary))
    elif views.is_quote(state) and not is_summary:
        chat.remark(Text("the model gave no usable answer: this is the sentence nearest to the question"))
    return state


def _rewritten(chat: Chat, text: str) -> Rewritten | None:
    if not chat.settings.rewrite:
        return None
    turns = [turn for turn in chat.turns[-2 * MAX_TURNS :] if read_utterance(turn.question).kind in SEARCHED]
    earlier = [(chat.searched.get(turn.number, without_small_talk(turn.question)), turn.answer) for turn in turns]
    rewritten = rewrite(text, earlier, chat.pipeline.reader, chat.display)
    chat.display.stop()
    return rewritten


def _notice_repetition(chat: Chat, query: str, state: State) -> None:
    """Prints a remark if the model gave the same answer to different questions. Refusals do not count."""
    answer = state.answer
    if answer is None or answer.is_abstention or not answer.model_text.strip():
        return
    chat.answered[chat.turns[-1].number] = (query, answer.model_text)
    n = n_questions_with_this_answer(query, answer.model_text, list(chat.answered.values()))
    if n > 1:
        chat.remark(
            Text(f"the model has given this same answer to {n} questions: it may not be reading them", style="dim")
        )


def _settle(chat: Chat) -> None:
    """Lets the memory move old turns to its next tier. Ctrl-C postpones that."""
    with stopping(chat.conversation):
        chat.conversation.settle(chat.display)
    chat.display.stop()


@contextmanager
def stopping(conversation: Conversation) -> Iterator[None]:
    """Inside, Ctrl-C ends the conversation's work and keeps its result so far. A second Ctrl-C interrupts it."""
    presses = 0

    def stop(_: int, __: FrameType | None) -> None:
        nonlocal presses
        presses += 1
        if presses > 1:
            raise KeyboardInterrupt
        conversation.cancel()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
