"""Streams an answer piece by piece: the pipeline works in its own thread while the caller iterates."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pipeline.pipeline import Pipeline
from pipeline.types import Question, State


@dataclass(frozen=True)
class Retry:
    """The model is asked again, in another layout; the pieces so far are void."""

    why: str


class _NobodyListens(Exception):
    """The caller closed the stream."""


def stream(pipeline: Pipeline, question: Question, lock: threading.Lock) -> Iterator[str | Retry | State]:
    """Yields the pieces as the model writes them, then the final state.

    The state is authoritative: only it has a refusal, or a sentence that replaces an unusable answer. The lock is held
    while the pipeline works. Closing the iterator early stops the answer. Raises what `Pipeline.ask` raises.
    """
    heard: queue.SimpleQueue[str | Retry | State | BaseException] = queue.SimpleQueue()
    is_gone = threading.Event()

    def hear(text: str) -> None:
        if is_gone.is_set():
            raise _NobodyListens
        heard.put(text)

    def work() -> None:
        with lock:
            before = pipeline.listener
            pipeline.listener = replace(before, on_text=hear, on_retry=lambda why: heard.put(Retry(why)))
            try:
                heard.put(pipeline.ask(question))
            except BaseException as error:
                heard.put(error)
            finally:
                pipeline.listener = before

    thread = threading.Thread(target=work, name="longthread answers", daemon=True)
    thread.start()
    try:
        yield from _until_state(heard)
    finally:
        is_gone.set()
        thread.join()


def _until_state(heard: queue.SimpleQueue[str | Retry | State | BaseException]) -> Iterator[str | Retry | State]:
    while True:
        event = heard.get()
        if isinstance(event, BaseException):
            raise event
        yield event
        if isinstance(event, State):
            return
