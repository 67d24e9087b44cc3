"""The executor of the memory arm: each text is read into a memory once, in segments, and its questions asked of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline.build import Pipeline
from pipeline.contracts import DocumentReader, Recollection
from pipeline.conversation import memory_of
from pipeline.errors import ConfigError
from pipeline.executors.tasks import Fault, Outcome, Task
from pipeline.types import Document


class ReadingExecutor:
    """Asks one question after the other. `texts` are the haystacks by their names; memories lie in `folder`."""

    def __init__(self, pipeline: Pipeline, texts: Mapping[str, str], folder: Path) -> None:
        self.pipeline = pipeline
        self.texts = texts
        self.folder = folder
        self._open: tuple[str, Recollection] | None = None

    def start(self) -> dict[str, Any]:
        self.pipeline.window  # noqa: B018 - loads the model
        return {"kind": "local", "max_in_flight": 1}

    def run(self, tasks: Iterator[Task], retry: int, on_tokens: Callable[[int], None]) -> Iterator[Outcome]:
        for task in tasks:
            task.begin()
            try:
                self._read(str(task.sample.fields["haystack"]))
                yield Outcome.of(task, self.pipeline.ask(task.sample.question))
            except Exception as error:
                yield Outcome.of(task, None, Fault.of(error, "memory"))

    def _read(self, name: str) -> None:
        """Opens the memory that has read this text; it reads it now, if it did not before."""
        if self._open is not None and self._open[0] == name:
            return
        self._put_away()
        folder = self.folder / Path(name).stem
        memory = memory_of(self.pipeline).open(folder, self.pipeline)
        self._open = name, memory
        if not isinstance(memory, DocumentReader):
            raise ConfigError(
                f"{self.pipeline.config.path}: its memory cannot read documents: take memory.hierarchical"
            )
        self.pipeline.recollection = memory
        memory.read(self.pipeline.chunk(Document(name, self.texts[name])), self.pipeline, self.pipeline.progress)

    def _put_away(self) -> None:
        if self._open is not None:
            self.pipeline.recollection = None
            self._open[1].close()
            self._open = None

    def close(self) -> None:
        """The memories go: they are made from the texts again."""
        self._put_away()
        self.pipeline.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
