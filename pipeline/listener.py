"""Who hears about the work on questions: its progress, the answer as it is written, and second attempts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.contracts import Progress


def silent(what: str, done: int, total: int) -> None:
    """Shows no progress."""


def ignore(_: object) -> None:
    """Listens to nothing."""


@dataclass(frozen=True)
class Listener:
    """Callbacks of a pipeline. They are called in the thread that asks.

    :param progress: called as work goes on: what is done, how much is done, of how much (0: unknown).
    :param on_text: called with each piece of an answer as it is written.
    :param on_retry: called with the reason when the pieces so far are no answer and the model is asked once more.
    """

    progress: Progress = silent
    on_text: Callable[[str], None] = ignore
    on_retry: Callable[[str], None] = ignore
