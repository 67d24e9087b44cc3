"""A chat as commands see it: the session that is open, what was last answered, and how to change either."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from types import FrameType, TracebackType
from typing import Literal, Protocol, Self

from rich.console import Console, RenderableType
from rich.text import Text

from cli.chat import views
from cli.chat.documents import check_what_answers, config_of, index_of
from cli.chat.earlier import SEARCHED, n_questions_with_this_answer, recovered
from cli.chat.settings import Settings, recovered_settings, save_settings
from cli.chat.stream import Blocks, Markdowns, Plain
from cli.chat.watched import Watched
from cli.output import print_line
from cli.printing import shown_path
from cli.progress import Display
from pipeline.config import IndexSettings, PipelineConfig
from pipeline.contracts import Embedder
from pipeline.conversation import Conversation
from pipeline.docs_index import Unread, unread
from pipeline.errors import ConfigError, DocumentError
from pipeline.followup import MAX_TURNS, Rewritten, rewrite
from pipeline.forgetting import Forgotten
from pipeline.pipeline import Pipeline
from pipeline.reading_ahead import IdleReader, keeps_passages
from pipeline.retrieval.metadata import Metadata
from pipeline.sessions import rename_session, session_folder
from pipeline.text.visible import visible
from pipeline.types import Question, State, Turn
from pipeline.utterances import Language, read_utterance, without_small_talk


class View(Protocol):
    """Where an answer is seen as it is written.

    `restart` drops what came, for another attempt. `end` shows the text that counts in its place.
    """

    def __call__(self, piece: str) -> None: ...
    def restart(self, why: str) -> None: ...
    def end(self, text: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Pending:
    """What the chat asked back, until the next line: which of these documents, or what instead of the last thing.

    Or whether to forget in other sessions too. `text` is the line that it was asked about.
    """

    kind: Literal["summary", "correction", "forget"]
    text: str
    language: Language
    sources: tuple[str, ...] = ()
    forgotten: Forgotten | None = None


@dataclass
class Chat:
    """One chat.

    `last` is what was answered since the session was opened, None before that and after an undo. `rewritten` is the
    query of the last question where it is not its own words, and `is_correction` says that it came of a correction.

    `searched` holds the rewritten query of each turn that has one, by the turn's number; of a summary it is the
    document's name. `last_cited` is the document that the last answer stood in. `said` holds what the model wrote in
    this chat, with the question. `prefill` is what the next input line begins with, and `replaces` says that it takes
    the last turn's place. `failed`: something went wrong.
    """

    name: str
    settings: Settings
    console: Console
    display: Display
    pipeline: Pipeline
    conversation: Conversation
    is_terminal: bool = False
    last: State | None = None
    rewritten: Rewritten | None = None
    is_correction: bool = False
    searched: dict[int, str] = field(default_factory=dict)
    pending: Pending | None = None
    last_cited: str | None = None
    said: dict[int, tuple[str, str]] = field(default_factory=dict)
    prefill: str = ""
    replaces: bool = False
    failed: bool = False
    tries: int = 0
    typed_changed: bool = False
    watched: Watched = field(default_factory=Watched)
    _warming: Thread | None = None

    @classmethod
    def open(cls, name: str, settings: Settings, console: Console, display: Display, is_terminal: bool) -> Self:
        """The chat of a session. Raises what is wrong with its name, its settings, its documents or its model."""
        folder = session_folder(name)
        config = config_of(settings)
        index, n_failed = index_of(settings, config, display)
        pipeline = Pipeline(config, index, progress=display)
        try:
            conversation = Conversation(pipeline, folder)
            try:
                pipeline.reader  # noqa: B018 - so that the first answer does not wait for it
                kept, damage = recovered_settings(folder)
                if settings != kept or damage:
                    check_what_answers(pipeline, settings)
                    save_settings(folder, settings)
            except BaseException:
                conversation.close()
                raise
        except BaseException:
            pipeline.close()
            raise
        finally:
            display.stop()
        chat = cls(name, settings, console, display, pipeline, conversation, is_terminal, failed=n_failed > 0)
        chat.searched = recovered(chat.turns)
        return chat

    @property
    def folder(self) -> Path:
        return session_folder(self.name)

    @property
    def config(self) -> PipelineConfig:
        return self.pipeline.config

    @property
    def turns(self) -> tuple[Turn, ...]:
        return self.conversation.turns

    @property
    def indexed(self) -> tuple[tuple[str, ...], str | None, IndexSettings]:
        """What decides which index is searched."""
        return self.settings.docs, self.settings.index, self.config.index

    @property
    def has_documents(self) -> bool:
        return bool(self.settings.docs or self.settings.index)

    # -------------------------------------------------------------------------------------------------- the documents
    @property
    def titles(self) -> dict[str, str]:
        """The title of each document that is answered from, by source."""
        return self.pipeline.index.titles if self.has_documents else {}

    @property
    def counts(self) -> dict[str, int]:
        """How many passages each document has, by source."""
        return self.pipeline.index.counts if self.has_documents else {}

    @property
    def metadata(self) -> dict[str, Metadata]:
        """What is known of each document beside its text, by source."""
        return self.pipeline.index.metadata if self.has_documents else {}

    @property
    def sources(self) -> tuple[str, ...]:
        return self.pipeline.index.sources if self.has_documents else ()

    @property
    def unread(self) -> Unread:
        """What the index lacks of the files that it was made from."""
        return unread(self.pipeline.index_folder) if self.has_documents else Unread()

    def watch(self) -> None:
        """Keeps the index current from now on. Raises ConfigError for a chat that answers from an index made before."""
        if self.settings.index is not None:
            raise ConfigError(
                f"--watch needs the documents by --docs: 'longthread index PATH --index {self.settings.index} --watch' "
                "keeps an index current, and an open chat goes on with its newest state"
            )
        if self.settings.docs:
            self.watched.start(self.pipeline.index_folder, self.settings.docs, self.config.index)

    def say_news(self) -> None:
        """What changed in the documents meanwhile. Answers come from their newest state from here on."""
        if self.watched.is_stale:
            self.watched.is_stale = False
            self.pipeline.follow_index()
        for line in self.watched.take():
            self.remark(line)

    # -------------------------------------------------------------------------------------------------------- printing
    def say(self, *what: RenderableType) -> None:
        """What a command was asked for."""
        self.display.stop()
        for one in what:
            self.console.print(one, soft_wrap=isinstance(one, str), highlight=False, markup=False)

    def remark(self, what: Text) -> None:
        """What nobody asked for, and is good to know: beside the answers where these go into a pipe."""
        if self.is_terminal:
            self.say(what)
        else:
            print_line(what.plain, is_error=True)

    def reply(self, text: str) -> None:
        """What the chat itself answers: shown like an answer, and kept nowhere."""
        self.display.stop()
        if self.is_terminal:
            self.console.print(Text(visible(text)))
        else:
            Plain().end(text)

    # -------------------------------------------------------------------------------------------------------- asking
    def ask(
        self,
        text: str,
        as_it_is: bool = False,
        question: str = "",
        rewritten: Rewritten | None = None,
        asks_rewritten: bool = False,
    ) -> None:
        """Answers a question and prints it.

        `question` is the text without a greeting in front of it, to search by. A query that is `rewritten` already is
        not rewritten again, and with `asks_rewritten` the model is asked it too. With `as_it_is` retrieval searches for
        the person's own words.
        """
        self._warm()
        bare = question or text
        self.rewritten = rewritten or (None if as_it_is else self._rewritten(bare))
        if self.rewritten is not None:
            self.remark(views.rewriting(self.rewritten, asks_rewritten))
        self.is_correction = asks_rewritten
        query = self.rewritten.text if self.rewritten else None if as_it_is else bare
        asked = query if asks_rewritten else None

        def answered() -> State:
            return self.conversation.ask(text, query, asked)

        state = self._shown(answered)
        if self.rewritten is not None:
            self.searched[self.turns[-1].number] = self.rewritten.text
        self._notice_repetition(self.searched.get(self.turns[-1].number, bare), state)
        self._settle()

    def summarise(self, text: str, sources: Sequence[str], language: Language) -> None:
        """Goes through the whole of some documents, and commits the summary as the answer to the text."""
        from pipeline.summarise import summarise

        self._warm()
        index = self.pipeline.index
        documents = {source: index.passages(source) for source in sources}
        name = shown_path(sources[0]) if len(sources) == 1 else f"{len(sources)} documents"
        n_passages = sum(map(len, documents.values()))
        if not n_passages:
            raise DocumentError(f"{name} has no text to summarise")
        self.remark(Text(f"{visible(name)}: {n_passages} passages, read from beginning to end", style="dim"))
        self.rewritten = None

        def answered() -> State:
            self.pipeline.is_cancelled = False
            state = summarise(Question(text), documents, self.pipeline, self.pipeline.ledger, language, index.vectors)
            return self.conversation.commit(text, state)

        self._shown(answered, is_summary=True)
        self.searched[self.turns[-1].number] = self.titles.get(sources[0]) or name if len(sources) == 1 else name
        if len(sources) == 1:
            self.last_cited = sources[0]
        self._settle()

    def _shown(self, answered: Callable[[], State], is_summary: bool = False) -> State:
        """Shows the answer as it is written, then the text that counts, and where it stands."""
        view: View = Plain()
        if self.is_terminal:
            view = (Blocks if is_summary else Markdowns)(self.console, self.display.stop)
        self.pipeline.on_text, self.pipeline.on_retry = view, view.restart
        text = ""
        try:
            with stopping(self.conversation):
                state = answered()
            if state.answer is not None and (is_summary or not (self.is_terminal and views.is_quote(state))):
                text = state.answer.text
        finally:
            self.display.stop()
            view.end(text)
        self.last = state
        self.last_cited = next(
            (c.quote.source for c in (state.answer.citations if state.answer else ()) if c.quote is not None),
            self.last_cited,
        )
        if self.is_terminal:
            self.say(*views.footer(state, self.settings, is_summary))
        elif views.is_quote(state) and not is_summary:
            self.remark(Text("the model gave no usable answer: this is the sentence nearest to the question"))
        return state

    def _rewritten(self, text: str) -> Rewritten | None:
        if not self.settings.rewrite:
            return None
        turns = [turn for turn in self.turns[-2 * MAX_TURNS :] if read_utterance(turn.question).kind in SEARCHED]
        earlier = [(self.searched.get(turn.number, without_small_talk(turn.question)), turn.answer) for turn in turns]
        found = rewrite(text, earlier, self.pipeline.reader, self.display)
        self.display.stop()
        return found

    def _notice_repetition(self, query: str, state: State) -> None:
        """Says so where the model has given the same answer to different questions. Refusals do not count."""
        answer = state.answer
        if answer is None or answer.is_abstention or not answer.model_text.strip():
            return
        self.said[self.turns[-1].number] = (query, answer.model_text)
        n = n_questions_with_this_answer(query, answer.model_text, list(self.said.values()))
        if n > 1:
            self.remark(
                Text(f"the model has given this same answer to {n} questions: it may not be reading them", style="dim")
            )

    def _settle(self) -> None:
        """Lets memory move what is old to its next tier; Ctrl-C puts it off to the next time."""
        with stopping(self.conversation):
            self.conversation.settle(self.display)
        self.display.stop()

    @contextmanager
    def replacing(self) -> Iterator[Turn]:
        """Takes the last turn back for the question asked inside; where that comes to nothing, the turn is there again.

        Raises ConfigError where there is none.
        """
        turn = self._taken(self.conversation.set_aside())
        try:
            yield turn
        finally:
            self.conversation.restore()

    def take_back(self) -> Turn:
        """Removes the last turn. Raises ConfigError where there is none."""
        return self._taken(self.conversation.undo())

    def _taken(self, turn: Turn | None) -> Turn:
        if turn is None:
            raise ConfigError("there is no turn to take back: nothing was asked in this session")
        self.searched.pop(turn.number, None)
        self.said.pop(turn.number, None)
        self.last = self.rewritten = None
        return turn

    # ------------------------------------------------------------------------------------------------------ changing
    def change(self, settings: Settings, name: str | None = None) -> None:
        """Goes on with other settings, or in another session. What is wrong is raised, and then nothing has changed."""
        self._warm()
        config = config_of(settings)
        index, n_failed = index_of(settings, config, self.display, self)
        before = self.pipeline
        new_name = name or self.name
        session_folder(new_name)
        self.conversation.close()
        try:
            self.pipeline = before.changed(config, index)
            self.conversation = Conversation(self.pipeline, session_folder(new_name))
            check_what_answers(self.pipeline, settings)
            save_settings(session_folder(new_name), settings)
        except BaseException:
            self.conversation.close()
            self.pipeline = before
            self.conversation = Conversation(before, self.folder)
            raise
        finally:
            self.display.stop()
        if new_name != self.name:
            self.last = self.rewritten = self.pending = self.last_cited = None
            self.said.clear()
            self.searched = recovered(self.turns)
        is_other = (settings.docs, config.index) != (self.settings.docs, before.config.index)
        self.name, self.settings = new_name, settings
        self.failed |= n_failed > 0
        if self.watched.is_on and is_other:
            self.watch()

    @contextmanager
    def answering_with(self, config: PipelineConfig) -> Iterator[None]:
        """Inside, questions of the same conversation are answered with other settings of the last stage."""
        before = self.pipeline
        self.pipeline = self.conversation.pipeline = before.changed(config, before.index_folder)
        try:
            yield
        finally:
            self.pipeline = self.conversation.pipeline = before

    def warm_up(self) -> None:
        """Loads what the first question needs while it is being typed. What is wrong is told when it is asked."""

        def load(embedder: Embedder) -> None:
            with suppress(Exception):
                embedder.embed(["warm"])

        if self.has_documents:
            self._warming = Thread(target=load, args=(self.pipeline.embedder,), daemon=True)
            self._warming.start()

    @contextmanager
    def reading_ahead(self, typed: Callable[[], str]) -> Iterator[None]:
        """Inside, while a line is typed, the passages that its question may need are read, where the pipeline keeps
        them. Leaving it halts that at once.
        """
        if not self.settings.ahead or not self.has_documents or not keeps_passages(self.pipeline):
            yield
            return
        warming = self._warming

        def wait() -> None:
            if warming is not None:
                warming.join()

        with IdleReader(self.pipeline, self.last, typed, wait):
            yield

    def _warm(self) -> None:
        while self._warming is not None and self._warming.is_alive():
            self.display("load the embedder", 0, 0)
            self._warming.join(0.1)
        self._warming = None

    def rename(self, name: str) -> None:
        """Gives the session another name. Raises StoreError for one that is taken, or can be none."""
        self.conversation.close()
        try:
            rename_session(self.name, name)
            self.name = name
        finally:
            self.conversation = Conversation(self.pipeline, self.folder)

    def forget(
        self, turns: Sequence[int] | None = None, before: str | None = None, matching: str | None = None
    ) -> Forgotten:
        """Forgets in every file of the session, and in what this chat holds beside it."""
        forgotten = self.conversation.forget(turns, before, matching)
        self.typed_changed = True
        self.last = self.rewritten = self.pending = None
        kept = {turn.number for turn in self.turns}
        self.searched = {number: query for number, query in self.searched.items() if number in kept}
        self.said = {number: said for number, said in self.said.items() if number in kept}
        return forgotten

    def turn_of(self, line: str) -> int:
        """The number of the turn that a line typed now is for: the next one, or the one that it replaces."""
        is_edit = self.replaces or line.startswith("/edit ")
        return self.turns[-1].number if is_edit and self.turns else self.conversation.memory.next_number

    def close(self) -> None:
        self.watched.close()
        self._warm()
        self.conversation.close()
        self.pipeline.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


@contextmanager
def stopping(conversation: Conversation) -> Iterator[None]:
    """Inside, Ctrl-C ends what the conversation does, and what has come of it is kept; a second one breaks it off."""
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
