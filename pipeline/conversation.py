"""A conversation: a pipeline that answers one question after another, and remembers, in a folder that is its own.

with Pipeline(config, index) as pipeline, Conversation(pipeline, session_folder("notes")) as conversation:
    state = conversation.ask("How many beehives are there?")  # on disk before it returns
    conversation.settle()                                     # while the person reads
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline.build import Pipeline
from pipeline.contracts import Memory, Progress, Recollection
from pipeline.errors import ConfigError, StoreError
from pipeline.sessions import lock_session
from pipeline.storage.whole import write_whole
from pipeline.transcript import now
from pipeline.types import Answer, Passage, Question, State, Turn

_ASIDE = "aside.json"
"""Holds a turn that was taken back for another, until the other is on disk."""


class Conversation:
    """The session of a folder, open for this process alone. Close it, or use it in a `with`.

    Raises StoreError where another process has the session, or a newer longthread wrote it, and ConfigError for a
    pipeline without a memory stage. The pipeline stays its caller's.
    """

    def __init__(self, pipeline: Pipeline, folder: Path) -> None:
        self.pipeline = pipeline
        self.folder = folder
        component = memory_of(pipeline)
        self._lock = lock_session(folder)
        try:
            self.memory: Recollection = component.open(folder, pipeline)
            try:
                self.restore()
            except BaseException:
                self.memory.close()
                raise
        except BaseException:
            self._lock.release()
            raise
        self._shown: tuple[Passage, ...] = ()
        pipeline.recollection = self.memory
        pipeline.set_day((self.turns[0].time if self.turns else now())[:10])

    @property
    def turns(self) -> tuple[Turn, ...]:
        return self.memory.turns

    def ask(self, text: str, search_for: str | None = None, ask_for: str | None = None) -> State:
        """The answer, streamed through the pipeline's `on_text`, and committed as a turn before this returns.

        `search_for` is another wording, to retrieve and recall by. The model is asked `ask_for`, or the text itself,
        which the turn keeps. What was stopped by `cancel` is committed with what had come of it. Raises what the
        pipeline raises, and then commits nothing.
        """
        self.pipeline.is_cancelled = False
        wording = ask_for or text
        question = Question(search_for, asked=wording) if search_for and search_for != wording else Question(wording)
        state = self.commit(text, self.pipeline.ask(question, self._shown))
        self._shown = state.shown
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
        return self.memory.undo()

    def set_aside(self) -> Turn | None:
        """Takes the last turn back for the next one that is asked; None where there is none.

        It is kept on disk until that one is. `restore` and the next opening of the session bring it back before. Raises
        StoreError where it cannot be kept, and then takes nothing back.
        """
        if not self.turns:
            return None
        path = self.folder / _ASIDE
        try:
            write_whole(path, json.dumps(asdict(self.turns[-1])), private=True)
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {error.strerror}; the last turn is as it was") from None
        return self.memory.undo()

    def restore(self) -> None:
        """Brings back the turn that was set aside, unless another has taken its place."""
        path = self.folder / _ASIDE
        if not path.exists():
            return
        try:
            turn = Turn(**json.loads(path.read_text("utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise StoreError(f"{path} cannot be read: {error}; it holds a turn that was being asked again") from None
        if turn.number == self.memory.next_number:
            self.memory.commit(turn)
        path.unlink()

    def settle(self, progress: Progress | None = None) -> None:
        """What can wait until an answer is shown: older turns move to the next tier. Stopped, it goes on next time."""
        self.pipeline.is_cancelled = False
        self.memory.settle(self.pipeline, progress)

    def close(self) -> None:
        """Lets others have the session. Closing twice does nothing."""
        if self.pipeline.recollection is self.memory:
            self.pipeline.recollection = None
        self.memory.close()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def memory_of(pipeline: Pipeline) -> Memory:
    """The pipeline's memory component. Raises ConfigError where it has none."""
    for spec, component in zip(pipeline.config.stages, pipeline.config.components, strict=True):
        if spec.kind == "memory":
            found: Any = component
            return found  # type: ignore[no-any-return]
    raise ConfigError(
        f"{pipeline.config.path}: a conversation needs a memory stage right before {pipeline.config.stages[-2].name}: "
        "memory.hierarchical, memory.window, memory.full, or memory.none"
    )
