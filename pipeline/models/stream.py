"""Streams one answer: converts tokens' bytes to text until a stop string, a limit, a cancel or the model's end."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pipeline.errors import ModelError

if TYPE_CHECKING:
    from pipeline.types import Generation


class TextOut:
    """Converts bytes to text piece by piece, without half characters and without parts of a stop string."""

    def __init__(self, stop: tuple[str, ...] = ()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stop = tuple(string for string in stop if string)
        self._held = ""
        self.is_stopped = False

    def push(self, data: bytes) -> str:
        """Returns the text that is certain so far. Sets `is_stopped` at a stop string; no text follows it."""
        return self._emit(self._decoder.decode(data), is_last=False)

    def end(self) -> str:
        """Returns the rest, after the last bytes."""
        return self._emit(self._decoder.decode(b"", final=True), is_last=True)

    def _emit(self, text: str, is_last: bool) -> str:
        if self.is_stopped:
            return ""
        self._held += text
        offsets = [offset for string in self._stop if (offset := self._held.find(string)) >= 0]
        if offsets:
            self.is_stopped = True
            ready, self._held = self._held[: min(offsets)], ""
            return ready
        keep = 0 if is_last else max((_overlap(self._held, string) for string in self._stop), default=0)
        ready, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return ready


def _overlap(text: str, stop: str) -> int:
    """Returns the number of final characters of the text that begin the stop string."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-n:])), 0)


class EngineStream:
    """An answer of the engine. Iterating advances the whole batch, one llama.cpp call at a time.

    `answer_tokens` counts the answer's tokens so far, `thoughts` holds the thoughts so far, in `thought_tokens` tokens.
    `generation` is None until the answer has ended.
    """

    def __init__(self, drive: Callable[[], None], on_cancel: Callable[[], None]) -> None:
        self._drive = drive
        self._on_cancel = on_cancel
        self._pieces: list[str] = []
        self._n_given = 0
        self._error: ModelError | None = None
        self.generation: Generation | None = None
        self.answer_tokens = 0
        self.thought_tokens = 0
        self._thoughts: list[str] = []

    def __iter__(self) -> Iterator[str]:
        while True:
            while self._n_given < len(self._pieces):
                self._n_given += 1
                yield self._pieces[self._n_given - 1]
            if self._error is not None:
                raise self._error
            if self.generation is not None:
                return
            self._drive()

    def cancel(self) -> None:
        """Ends the answer, keeps its text so far, and frees its cells; does nothing once it has ended."""
        if not self.is_over:
            self._on_cancel()

    def result(self) -> Generation:
        """Waits for the end. Pieces that were not iterated yet remain available."""
        while self.generation is None:
            if self._error is not None:
                raise self._error
            self._drive()
        return self.generation

    # ---------------------------------------------------------------------------------------- for the scheduler only
    def put(self, text: str, n_tokens: int = 0) -> None:
        self.answer_tokens += n_tokens
        if text:
            self._pieces.append(text)

    def put_thought(self, text: str, n_tokens: int) -> None:
        self.thought_tokens = n_tokens
        if text:
            self._thoughts.append(text)

    @property
    def thoughts(self) -> str:
        return "".join(self._thoughts)

    @property
    def is_over(self) -> bool:
        return self.generation is not None or self._error is not None

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    def finish(self, generation: Generation) -> None:
        self.generation = generation

    def fail(self, error: ModelError) -> None:
        self._error = error
