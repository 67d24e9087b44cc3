"""The state of a chat: the open session, the last answer, and how to change them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Literal, Self

from rich.console import Console, RenderableType
from rich.text import Text

from cli.chat.documents import check_what_answers, config_of, index_of
from cli.chat.earlier import recovered
from cli.chat.settings import Settings, recovered_settings, save_settings
from cli.chat.stream import Plain
from cli.chat.watched import Watched
from cli.output import print_line
from cli.progress import Display
from pipeline.config import IndexSettings, PipelineConfig
from pipeline.conversation.conversation import Conversation
from pipeline.conversation.followup import Rewritten
from pipeline.conversation.forgetting import Forgotten
from pipeline.conversation.sessions import rename_session, session_folder
from pipeline.conversation.utterances import Language
from pipeline.docs_index import Unread, unread
from pipeline.errors import ConfigError
from pipeline.listener import Listener
from pipeline.pipeline import Pipeline
from pipeline.reading_ahead import IdleReader, keeps_passages
from pipeline.retrieval.metadata import Metadata
from pipeline.text.visible import visible
from pipeline.types import State, Turn


@dataclass(frozen=True, slots=True)
class Pending:
    """A question of the chat that the next line may answer, about the line `text`.

    `summary` asks which of the `sources` to summarise, `correction` what to search for instead, and `forget` whether to
    forget in other sessions as well.
    """

    kind: Literal["summary", "correction", "forget"]
    text: str
    language: Language
    sources: tuple[str, ...] = ()
    forgotten: Forgotten | None = None


@dataclass
class Chat:
    """One chat.

    `last` is the last answer since the session was opened, None before that and after an undo. `rewritten` is the query
    of the last question if it was rewritten, and `is_correction` says that a correction rewrote it. `searched` maps a
    turn's number to its rewritten query, or to the document's name for a summary. `last_cited` is the document of the
    last citation. `answered` maps a turn's number to its query and the model's words, for turns of this chat.

    `prefill` is the start of the next input line, and `replaces` says that this line replaces the last turn. `failed`
    says that some line failed, and `has_typed_changed` that the input history must be read again. `n_unread` counts the
    documents named by the settings that cannot be read.
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
    answered: dict[int, tuple[str, str]] = field(default_factory=dict)
    prefill: str = ""
    replaces: bool = False
    failed: bool = False
    n_unread: int = 0
    tries: int = 0
    has_typed_changed: bool = False
    watched: Watched = field(default_factory=Watched)
    _warming: Thread | None = None

    @classmethod
    def open(cls, name: str, settings: Settings, console: Console, display: Display, is_terminal: bool) -> Self:
        """Opens the chat of a session. Raises errors in its name, its settings, its documents or its model."""
        folder = session_folder(name)
        config = config_of(settings)
        index, n_unread = index_of(settings, config, display)
        pipeline = Pipeline(config, index, Listener(display))
        try:
            conversation = Conversation(pipeline, folder)
            try:
                pipeline.reader  # noqa: B018 - so that the first answer does not wait for it
                stored, damage = recovered_settings(folder)
                if settings != stored or damage:
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
        chat = cls(name, settings, console, display, pipeline, conversation, is_terminal)
        chat._count_unread(n_unread)
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
        """The settings that decide which index is searched."""
        return self.settings.docs, self.settings.index, self.config.index

    @property
    def has_documents(self) -> bool:
        return bool(self.settings.docs or self.settings.index)

    @property
    def titles(self) -> dict[str, str]:
        """The title of each document, by source."""
        return self.pipeline.index.titles if self.has_documents else {}

    @property
    def counts(self) -> dict[str, int]:
        """The number of passages of each document, by source."""
        return self.pipeline.index.counts if self.has_documents else {}

    @property
    def metadata(self) -> dict[str, Metadata]:
        """The metadata of each document, by source."""
        return self.pipeline.index.metadata if self.has_documents else {}

    @property
    def sources(self) -> tuple[str, ...]:
        return self.pipeline.index.sources if self.has_documents else ()

    @property
    def unread(self) -> Unread:
        """The files that the index could not read, and what it left out of others."""
        return unread(self.pipeline.index_folder) if self.has_documents else Unread()

    def watch(self) -> None:
        """Keeps the index current from now on. Raises ConfigError for a chat that searches an index of --index."""
        if self.settings.index is not None:
            raise ConfigError(
                f"--watch needs --docs: 'longthread index PATH --index {self.settings.index} --watch' "
                "keeps an index current, and an open chat then searches its newest state"
            )
        if self.settings.docs:
            self.watched.start(self.pipeline.index_folder, self.settings.docs, self.config.index)

    def show_news(self) -> None:
        """Prints which documents changed. From now on their newest state is searched."""
        if self.watched.is_stale:
            self.watched.is_stale = False
            self.pipeline.follow_index()
        for line in self.watched.take():
            self.remark(line)

    def say(self, *what: RenderableType) -> None:
        """Prints the result of a command."""
        self.display.stop()
        for block in what:
            self.console.print(block, soft_wrap=isinstance(block, str), highlight=False, markup=False)

    def remark(self, what: Text) -> None:
        """Prints additional information: on stderr if the answers go into a pipe."""
        if self.is_terminal:
            self.say(what)
        else:
            print_line(what.plain, is_error=True)

    def reply(self, text: str) -> None:
        """Prints a reply of the chat itself, which is stored nowhere."""
        self.display.stop()
        if self.is_terminal:
            self.console.print(Text(visible(text)))
        else:
            Plain().end(text)

    @contextmanager
    def replacing(self) -> Iterator[Turn]:
        """Replaces the last turn by the question asked inside. Restores the turn if that question gets no answer.

        Raises ConfigError if there is no turn.
        """
        turn = self._forget_last(self.conversation.set_aside())
        try:
            yield turn
        finally:
            self.conversation.restore()

    def take_back(self) -> Turn:
        """Removes the last turn. Raises ConfigError if there is none."""
        return self._forget_last(self.conversation.undo())

    def _forget_last(self, turn: Turn | None) -> Turn:
        if turn is None:
            raise ConfigError("there is no turn to take back: nothing was asked in this session")
        self.searched.pop(turn.number, None)
        self.answered.pop(turn.number, None)
        self.last = self.rewritten = None
        return turn

    def change(self, settings: Settings, name: str | None = None) -> None:
        """Switches to other settings, or to another session. An error is raised before anything changes."""
        self.wait_until_warm()
        config = config_of(settings)
        index, n_unread = index_of(settings, config, self.display, self)
        before, indexed = self.pipeline, self.indexed
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
            self.answered.clear()
            self.searched = recovered(self.turns)
        is_other = (settings.docs, config.index) != (self.settings.docs, before.config.index)
        self.name, self.settings = new_name, settings
        if self.indexed != indexed:
            self._count_unread(n_unread)
        if self.watched.is_on and is_other:
            self.watch()

    def _count_unread(self, n_unread: int) -> None:
        """Takes over how many named documents cannot be read; each was reported as an error."""
        self.n_unread = n_unread
        self.failed |= n_unread > 0

    @contextmanager
    def answering_with(self, config: PipelineConfig) -> Iterator[None]:
        """Inside, another pipeline answers the conversation's questions."""
        before = self.pipeline
        self.pipeline = self.conversation.pipeline = before.changed(config, before.index_folder)
        try:
            yield
        finally:
            self.pipeline = self.conversation.pipeline = before

    def warm_up(self) -> None:
        """Loads what searches in the background while the first question is typed. The question reports its errors."""

        def load(conversation: Conversation) -> None:
            with suppress(Exception):
                conversation.warm_up()

        if self.has_documents:
            self._warming = Thread(target=load, args=(self.conversation,), daemon=True)
            self._warming.start()

    @contextmanager
    def reading_ahead(self, typed: Callable[[], str]) -> Iterator[None]:
        """Reads the passages that the line being typed may need, if the pipeline keeps them. Leaving it stops that."""
        if not self.settings.ahead or not self.has_documents or not keeps_passages(self.pipeline):
            yield
            return
        warming = self._warming

        def wait() -> None:
            if warming is not None:
                warming.join()

        with IdleReader(self.pipeline, self.last, typed, wait):
            yield

    def wait_until_warm(self) -> None:
        """Waits for what `warm_up` loads."""
        while self._warming is not None and self._warming.is_alive():
            self.display("load the embedder", 0, 0)
            self._warming.join(0.1)
        self._warming = None

    def rename(self, name: str) -> None:
        """Renames the session. Raises StoreError for a name that is taken or invalid."""
        self.conversation.close()
        try:
            rename_session(self.name, name)
            self.name = name
        finally:
            self.conversation = Conversation(self.pipeline, self.folder)

    def forget(
        self, turns: Sequence[int] | None = None, before: str | None = None, matching: str | None = None
    ) -> Forgotten:
        """Forgets turns in every file of the session and in this chat."""
        forgotten = self.conversation.forget(turns, before, matching)
        self.has_typed_changed = True
        self.last = self.rewritten = self.pending = None
        kept = {turn.number for turn in self.turns}
        self.searched = {number: query for number, query in self.searched.items() if number in kept}
        self.answered = {number: pair for number, pair in self.answered.items() if number in kept}
        return forgotten

    def turn_of(self, line: str) -> int:
        """The number of the turn that a line typed now starts or replaces."""
        is_edit = self.replaces or line.startswith("/edit ")
        return self.turns[-1].number if is_edit and self.turns else self.conversation.memory.next_number

    def close(self) -> None:
        self.watched.close()
        self.wait_until_warm()
        self.conversation.close()
        self.pipeline.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
