"""The generate stage over several questions at a time, which keeps the engine's sequences full.

Streams are read in turn, one piece each. In the engine that is one llama.cpp call for all of them: the first stream
without a piece decodes a batch, which gives the others their pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Generic, TypeVar

from pipeline.answers.judging import Judged, is_asked_again, judge, second_sampling
from pipeline.answers.writing import Writing
from pipeline.contracts import Generator, Runtime, Stream
from pipeline.errors import ModelError
from pipeline.stages import answered, is_formal, sampling_for
from pipeline.types import Prompt, Sampling, State

T = TypeVar("T")
"""The caller's handle for a question."""


@dataclass(eq=False)
class _Answer(Generic[T]):
    ticket: T
    writing: Writing
    stream: Stream
    pieces: Iterator[str]
    started: float
    on_text: Callable[[str], None] | None
    first: Judged | None = None
    is_waiting: bool = False
    """Whether its next part waits for cells that other answers hold."""


class Answering(Generic[T]):
    """The answers in flight. A ticket is the caller's handle for a question."""

    def __init__(self, generator: Generator, runtime: Runtime) -> None:
        self.generator = generator
        self.runtime = runtime
        self.reader = runtime.reader
        self._active: list[_Answer[T]] = []

    def __len__(self) -> int:
        return len(self._active)

    def add(self, ticket: T, state: State, on_text: Callable[[str], None] | None = None) -> None:
        """Starts the answer to an assembled prompt. Raises ModelError for a prompt that the model cannot hold."""
        started = perf_counter()
        writing = Writing(state, sampling_for(self.generator, state), self.runtime)
        (stream,) = self.reader.generate([writing.prompt], writing.sampling)
        self._active.append(_Answer(ticket, writing, stream, iter(stream), started, on_text))

    def turn(self) -> tuple[list[tuple[T, State | Exception]], int]:
        """Reads one piece of every answer; returns those that ended or failed, and the number of pieces."""
        ended: list[tuple[T, State | Exception]] = []
        n_pieces = 0
        for answer in list(self._active):
            try:
                if answer.is_waiting:
                    if all(other.is_waiting for other in self._active):
                        self._go_on(answer)
                    continue
                piece = next(answer.pieces, None)
                if piece is not None:
                    n_pieces += 1
                    if answer.on_text is not None:
                        answer.on_text(piece)
                    continue
                result: State | Exception | None = self._state(answer)
                if result is None:
                    continue
            except Exception as error:
                answer.stream.cancel()
                result = error
            self._active.remove(answer)
            ended.append((answer.ticket, result))
        return ended, n_pieces

    def cancel(self) -> None:
        """Cancels all answers."""
        while self._active:
            self._active.pop().stream.cancel()

    def _state(self, answer: _Answer[T]) -> State | None:
        """Returns the state with the answer; None if another part of it, or a second attempt, begins."""
        generation = answer.stream.result()
        if generation.finish == "cancelled":
            raise ModelError("the answer was cut short, because another one under way failed")
        writing = answer.writing
        if answer.first is None:
            writing.take(generation)
            if not writing.is_over:
                self._go_on(answer)
                return None
            generation = writing.generation
        sampling = sampling_for(self.generator, writing.state)
        judged = judge(writing.state, generation, is_formal(sampling))
        if answer.first is None and is_asked_again(writing.state, judged):
            answer.first = judged
            self._begin(answer, writing.state.second_prompt, second_sampling(sampling))
            return None
        first, second = (judged, None) if answer.first is None else (answer.first, judged)
        return answered(self.generator, writing, first, second, self.runtime, answer.started)

    def _go_on(self, answer: _Answer[T]) -> None:
        """Begins the next part, or waits until no other answer holds the cells that it takes."""
        is_alone = all(other is answer or other.is_waiting for other in self._active)
        answer.is_waiting = False
        try:
            answer.writing.choose_again(is_alone)
            self._begin(answer, answer.writing.prompt, answer.writing.sampling)
        except ModelError:
            if is_alone:
                raise
            answer.is_waiting = True

    def _begin(self, answer: _Answer[T], prompt: Prompt, sampling: Sampling) -> None:
        (answer.stream,) = self.reader.generate([prompt], sampling)
        answer.pieces = iter(answer.stream)
