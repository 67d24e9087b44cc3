"""The generate stage over several questions at a time: the engine's sequences are kept full.

Streams are read in turn, one piece each. With the engine that is one call of llama.cpp for all of them: the first that
has no piece ready drives the batch, and then the others have theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from pipeline.answers.judging import Judged, is_asked_again, judge, second_sampling
from pipeline.contracts import Generator, Runtime, Stream
from pipeline.errors import ModelError
from pipeline.stages import answered, is_formal, sampling_for
from pipeline.types import State


@dataclass(eq=False)
class _Answer:
    ticket: object
    state: State
    stream: Stream
    pieces: Iterator[str]
    started: float
    on_text: Callable[[str], None] | None
    first: Judged | None = None


class Answering:
    """Answers under way. A ticket is whatever the caller knows a question by."""

    def __init__(self, generator: Generator, runtime: Runtime) -> None:
        self.generator = generator
        self.runtime = runtime
        self.reader = runtime.reader
        self._active: list[_Answer] = []

    def __len__(self) -> int:
        return len(self._active)

    def add(self, ticket: object, state: State, on_text: Callable[[str], None] | None = None) -> None:
        """Lets a question in, whose prompt is laid out. Raises ModelError for a prompt that the model cannot hold."""
        started = perf_counter()
        (stream,) = self.reader.generate([state.prompt], sampling_for(self.generator, state))
        self._active.append(_Answer(ticket, state, stream, iter(stream), started, on_text))

    def turn(self) -> tuple[list[tuple[Any, State | Exception]], int]:
        """One piece of every answer: those that ended or failed with it, and the number of pieces that were read."""
        ended: list[tuple[Any, State | Exception]] = []
        n_pieces = 0
        for one in list(self._active):
            try:
                piece = next(one.pieces, None)
                if piece is not None:
                    n_pieces += 1
                    if one.on_text is not None:
                        one.on_text(piece)
                    continue
                found: State | Exception | None = self._state(one)
                if found is None:
                    continue
            except Exception as error:
                one.stream.cancel()
                found = error
            self._active.remove(one)
            ended.append((one.ticket, found))
        return ended, n_pieces

    def cancel(self) -> None:
        """Ends all of them."""
        while self._active:
            self._active.pop().stream.cancel()

    def _state(self, one: _Answer) -> State | None:
        """The state with the answer; None where the model is asked once more."""
        generation = one.stream.result()
        if generation.finish == "cancelled":
            raise ModelError("the answer was cut short, because another one under way failed")
        judged = judge(one.state, generation, is_formal(sampling_for(self.generator, one.state)))
        if one.first is None and is_asked_again(one.state, judged):
            one.first = judged
            sampling = second_sampling(sampling_for(self.generator, one.state))
            (one.stream,) = self.reader.generate([one.state.second_prompt], sampling)
            one.pieces = iter(one.stream)
            return None
        first, second = (judged, None) if one.first is None else (one.first, judged)
        return answered(self.generator, one.state, first, second, self.runtime, one.started)
