"""What the last prompt of a conversation, or of questions on documents that were read, leaves for the next day.

Which passages it showed (`shown.json`: places, no text), so that the next prompt has them in the same places, and the
reader's cells, as a snapshot: the next prompt goes on from what the two have in common, which is exact.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from pipeline.contracts import Model
from pipeline.errors import ModelError
from pipeline.models.capabilities import Resumes
from pipeline.pipeline import Pipeline
from pipeline.storage.whole import write_whole
from pipeline.types import Passage, Prompt, Question, State

SHOWN = "shown.json"


class LastPrompt:
    """The last prompt that a pipeline answered in a folder; `shown` are the passages that it showed.

    `is_resumed`: the reader has nothing to look for on disk, because the folder is new.
    """

    def __init__(self, folder: Path, is_resumed: bool = False) -> None:
        self.folder = folder
        self.shown = read_shown(folder)
        self._is_resumed = is_resumed
        self._last: tuple[Model, Prompt] | None = None

    def ask(self, question: Question, pipeline: Pipeline) -> State:
        """The pipeline's answer to a question; the first one goes on from what is on disk."""
        reader = pipeline.reader
        if not self._is_resumed and isinstance(reader, Resumes):
            reader.resume()
        self._is_resumed = True
        return pipeline.ask(question, self.shown)

    def answered(self, state: State, pipeline: Pipeline) -> None:
        """Takes an answered question as the last one, unless it was answered without a prompt."""
        if state.prompt:
            self.shown, self._last = state.shown, (pipeline.reader, state.prompt)

    def drop(self) -> None:
        """Keeps nothing of the last prompt: what it held is to be forgotten."""
        self._last = None

    def keep(self, pipeline: Pipeline) -> None:
        """Writes the places and the cells of the last prompt. What cannot be written costs time, and nothing else."""
        last, self._last = self._last, None
        if last is None:
            return
        with suppress(OSError):
            spans = [(passage.source, passage.start, passage.end) for passage in self.shown]
            write_whole(self.folder / SHOWN, json.dumps(spans), private=True)
        reader, prompt = last
        if reader is pipeline.resources.reader.peek() and isinstance(reader, Resumes):
            with suppress(ModelError):  # a closed model
                reader.keep(prompt)


def read_shown(folder: Path) -> tuple[Passage, ...]:
    """Where the passages stand that the last prompt in a folder showed, in its order, without their texts."""
    try:
        spans = json.loads((folder / SHOWN).read_text("utf-8"))
        return tuple(Passage(str(source), int(start), int(end), "") for source, start, end in spans)
    except (OSError, ValueError, TypeError):
        return ()


def shown_in(folders: Iterable[Path]) -> tuple[Passage, ...]:
    """What the last prompts in several folders showed, the newest first, without their texts."""
    times: list[tuple[float, Path]] = []
    for folder in folders:
        with suppress(OSError):
            times.append(((folder / SHOWN).stat().st_mtime, folder))
    return tuple(passage for _, folder in sorted(times, reverse=True) for passage in read_shown(folder))
