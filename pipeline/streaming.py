"""An answer piece by piece: the pipeline works in a thread of its own, and whoever iterates hears what it writes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.pipeline import Pipeline
from pipeline.types import Question, State


@dataclass(frozen=True)
class Retry:
    """The model is asked again, in another layout: the pieces so far are no answer."""

    why: str


class _NobodyListens(Exception):
    """Whoever read the stream went away."""


def stream(pipeline: Pipeline, question: Question, lock: threading.Lock) -> Iterator[str | Retry | State]:
    """The pieces as the model writes them, and at the end the state that they led to.

    The state has the last word: a refusal, or a sentence in the place of an unusable answer, stands there alone. The
    lock is held while the pipeline works. An iterator that is closed before its end stops the answer. Raises what
    `Pipeline.ask` raises.
    """
    heard: queue.SimpleQueue[str | Retry | State | BaseException] = queue.SimpleQueue()
    is_gone = threading.Event()

    def hear(text: str) -> None:
        if is_gone.is_set():
            raise _NobodyListens
        heard.put(text)

    def work() -> None:
        with lock:
            before = pipeline.on_text, pipeline.on_retry
            pipeline.on_text, pipeline.on_retry = hear, lambda why: heard.put(Retry(why))
            try:
                heard.put(pipeline.ask(question))
            except BaseException as error:
                heard.put(error)
            finally:
                pipeline.on_text, pipeline.on_retry = before

    thread = threading.Thread(target=work, name="longthread answers", daemon=True)
    thread.start()
    try:
        yield from _until_state(heard)
    finally:
        is_gone.set()
        thread.join()


def _until_state(heard: queue.SimpleQueue[str | Retry | State | BaseException]) -> Iterator[str | Retry | State]:
    while True:
        one = heard.get()
        if isinstance(one, BaseException):
            raise one
        yield one
        if isinstance(one, State):
            return
