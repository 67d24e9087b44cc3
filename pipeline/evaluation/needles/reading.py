"""The executor of the method memory. A memory reads each text once, in segments, and answers its questions."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.contracts import DocumentReader, Recollection
from pipeline.conversation.conversation import memory_of
from pipeline.errors import ConfigError
from pipeline.executors.tasks import Description, Outcome, Task
from pipeline.pipeline import Pipeline
from pipeline.records import TaskFault
from pipeline.types import Document


class ReadingExecutor:
    """Asks one question at a time. `texts` are the haystacks by name, and `folder` holds the memories."""

    def __init__(self, pipeline: Pipeline, texts: Mapping[str, str], folder: Path) -> None:
        self.pipeline = pipeline
        self.texts = texts
        self.folder = folder
        self._open: tuple[str, Recollection] | None = None

    def start(self) -> Description:
        self.pipeline.window  # noqa: B018 - loads the model
        return {"kind": "local", "max_in_flight": 1}

    def run(self, tasks: Iterator[Task], retry: int, on_tokens: Callable[[int], None]) -> Iterator[Outcome]:
        for task in tasks:
            task.begin()
            try:
                self._read(str(task.sample.fields["haystack"]))
                yield Outcome.of(task, self.pipeline.ask(task.sample.question))
            except Exception as error:
                yield Outcome.of(task, None, TaskFault.of(error, "memory"))

    def _read(self, name: str) -> None:
        """Opens the memory of this text, and lets it read the text if it is not the open one."""
        if self._open is not None and self._open[0] == name:
            return
        self._close_memory()
        folder = self.folder / Path(name).stem
        memory = memory_of(self.pipeline).open(folder, self.pipeline)
        self._open = name, memory
        if not isinstance(memory, DocumentReader):
            raise ConfigError(
                f"{self.pipeline.config.path}: its memory cannot read documents: take memory.hierarchical"
            )
        self.pipeline.recollection = memory
        memory.read(
            self.pipeline.chunk(Document(name, self.texts[name])), self.pipeline, self.pipeline.listener.progress
        )

    def _close_memory(self) -> None:
        if self._open is not None:
            self.pipeline.recollection = None
            self._open[1].close()
            self._open = None

    def close(self) -> None:
        """Deletes the memories: the texts can make them again."""
        self._close_memory()
        self.pipeline.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
