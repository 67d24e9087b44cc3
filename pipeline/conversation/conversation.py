"""A conversation: a pipeline that answers one question after another, and remembers, in a folder that is its own.

with Pipeline(config, index) as pipeline, Conversation(pipeline, session_folder("notes")) as conversation:
    state = conversation.ask("How many beehives are there?")  # on disk before it returns
    conversation.settle()                                     # while the person reads
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pipeline.contracts import Memory, Progress, Recollection
from pipeline.conversation.forgetting import (
    Forgetting,
    Forgotten,
    carry_out,
    finish,
    held_elsewhere,
    plan,
    sweep,
)
from pipeline.conversation.sessions import lock_session, other_sessions, session_folder
from pipeline.conversation.transcript import has_log, now, session_errors
from pipeline.errors import ConfigError, StoreError
from pipeline.last_prompt import LastPrompt
from pipeline.pipeline import Pipeline
from pipeline.registry import stage_name
from pipeline.storage.checked_json import read_object, with_checksum
from pipeline.storage.whole import write_whole
from pipeline.text.languages import load_lists
from pipeline.types import Answer, Message, Question, State, Text, Turn

if TYPE_CHECKING:
    from pipeline.storage.locks import Lock

_ASIDE = "aside.json"
"""Holds a turn that was taken back for another, until the other is on disk."""


class Conversation:
    """The session of a folder, open for this process alone. Close it, or use it in a `with`.

    Raises StoreError where another process has the session, or a newer longthread wrote it, and ConfigError for a
    pipeline without a memory stage. The pipeline stays its caller's. What a killed process left is put right first:
    a turn that was being asked again comes back, and what was being forgotten is.
    """

    def __init__(self, pipeline: Pipeline, folder: Path) -> None:
        self.pipeline = pipeline
        self.folder = folder
        self._lock, self.memory = _opened(pipeline, folder)
        self._prompt = LastPrompt(folder, is_resumed=not self.memory.turns)
        pipeline.recollection = self.memory
        pipeline.set_day((self.turns[0].time if self.turns else now())[:10])

    @property
    def turns(self) -> tuple[Turn, ...]:
        return self.memory.turns

    def warm_up(self) -> None:
        """Loads what the next question searches with. It may run in a thread while the question is typed."""
        self.pipeline.embedder.embed(["warm"])
        reader = self.pipeline.resources.reader.peek()
        if reader is not None:
            reader.render([Message("user", (Text("warm"),))])  # starts the process of the chat template
        load_lists()
        self.memory.warm_up()

    def ask(self, text: str, search_for: str | None = None, ask_for: str | None = None) -> State:
        """The answer, streamed through the pipeline's `on_text`, and committed as a turn before this returns.

        `search_for` is another wording, to retrieve and recall by. The model is asked `ask_for`, or the text itself,
        which the turn keeps. What was stopped by `cancel` is committed with what had come of it. Raises what the
        pipeline raises, and then commits nothing.
        """
        self.pipeline.is_cancelled = False
        wording = ask_for or text
        question = Question(wording, search_query=search_for or "")
        state = self.commit(text, self._prompt.ask(question, self.pipeline))
        self._prompt.answered(state, self.pipeline)
        return state

    def commit(self, text: str, state: State) -> State:
        """Keeps what was said as a turn, durable when this returns; the state, with an answer in any case.

        For answers that did not come by `ask`, such as summaries.
        """
        finish = state.ledger.generation.finish if state.ledger.generation else "stop"
        if state.answer is None:
            state = replace(state, answer=Answer("", why="it was stopped before it began"))
            finish = "cancelled"
        answer = state.answer.text if state.answer else ""
        self.memory.commit(Turn(self.memory.next_number, text, answer, now(), finish))
        (self.folder / _ASIDE).unlink(missing_ok=True)
        return state

    def cancel(self) -> None:
        """Ends what is being answered or settled, soon. May be called from a signal handler or another thread."""
        self.pipeline.is_cancelled = True

    def undo(self) -> Turn | None:
        """Takes the last turn back, out of every tier; None where there is none."""
        self._prompt.drop()  # what is taken back is not to be kept either
        return self.memory.undo()

    def set_aside(self) -> Turn | None:
        """Takes the last turn back for the next one that is asked; None where there is none.

        It is kept on disk until that one is. `restore` and the next opening of the session bring it back before. Raises
        StoreError where it cannot be kept, and then takes nothing back.
        """
        if not self.turns:
            return None
        self._prompt.drop()
        path = self.folder / _ASIDE
        try:
            write_whole(path, json.dumps(with_checksum(asdict(self.turns[-1]))), private=True)
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {error.strerror}; the last turn is as it was") from None
        return self.memory.undo()

    def restore(self) -> None:
        """Brings back the turn that was set aside, unless another has taken its place."""
        _restore(self.folder, self.memory)

    def forget(
        self, turns: Sequence[int] | None = None, before: str | None = None, matching: str | None = None
    ) -> Forgotten:
        """Forgets turns by number, all before a time, or all that hold a text, in every file of the session.

        A text goes out of the typed lines as well, whether or not a turn holds it. The result names other sessions
        that still hold what was forgotten. Raises DataError for turns that are not there and a time that is none, and
        StoreError where a file cannot be written: the rest is then forgotten when the session is opened next.
        """
        finish(self.folder, self.memory, self.pipeline.forget)
        self._prompt.drop()  # its cells hold what is forgotten
        numbers = self.memory.named(turns, before, matching)
        what = plan(self.turns, numbers, (matching or "").strip())
        if not numbers and not matching:
            return Forgotten(what, (), 0)
        n_lines = carry_out(self.folder, self.memory, what, self.pipeline.forget)
        return Forgotten(what, numbers, n_lines, held_elsewhere(what, other_sessions(self.folder)))

    def forget_in(self, name: str, what: Forgetting) -> tuple[int, ...]:
        """Forgets the same in another session, such as a fork; gives the numbers of its turns.

        Raises StoreError where that session is open in another process, or cannot be read.
        """
        folder = session_folder(name)
        lock, memory = _opened(self.pipeline, folder)
        try:
            numbers = tuple(turn.number for turn in memory.turns if what.covers_turn(turn))
            carry_out(folder, memory, plan(memory.turns, numbers, what.matching), self.pipeline.forget)
        finally:
            memory.close()
            lock.release()
        return numbers

    def settle(self, progress: Progress | None = None) -> None:
        """What can wait until an answer is shown: older turns move to the next tier. Stopped, it goes on next time."""
        self.pipeline.is_cancelled = False
        self.memory.settle(self.pipeline, progress)

    def close(self) -> None:
        """Lets others have the session. Closing twice does nothing."""
        if self.pipeline.recollection is self.memory:
            self.pipeline.recollection = None
            self._prompt.keep(self.pipeline)
        self.memory.close()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _opened(pipeline: Pipeline, folder: Path) -> tuple[Lock, Recollection]:
    """A session's lock and its memory, once what a killed process left is put right."""
    component = memory_of(pipeline)
    lock = lock_session(folder)
    try:
        is_to_scrub = has_log(folder)  # the last process did not close it: deleted bytes may still be there
        memory = component.open(folder, pipeline)
        try:
            with session_errors(folder):
                sweep(folder)
                _restore(folder, memory)
                finish(folder, memory, pipeline.forget)
                if is_to_scrub:
                    memory.scrub()
        except BaseException:
            memory.close()
            raise
    except BaseException:
        lock.release()
        raise
    return lock, memory


def _restore(folder: Path, memory: Recollection) -> None:
    path = folder / _ASIDE
    if not path.exists():
        return
    try:
        turn = Turn(**read_object(path))
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(
            f"{path} cannot be read ({error}): it holds a turn that was being asked again. Delete it, and the session "
            "goes on without that turn"
        ) from None
    if turn.number == memory.next_number:
        memory.commit(turn)
    path.unlink()


def memory_of(pipeline: Pipeline) -> Memory:
    """The pipeline's memory component. Raises ConfigError where it has none."""
    memory = pipeline.config.memory
    if memory is not None:
        return memory
    name = stage_name(pipeline.config.assembler)
    raise ConfigError(
        f"{pipeline.config.path}: a conversation needs a memory stage right before {name}: "
        "memory.hierarchical, memory.window, memory.full, or memory.none"
    )
