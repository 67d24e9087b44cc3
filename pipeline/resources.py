"""What pipelines share while settings change: the reader, the embedder and the index, each kept with its settings.

The settings decide alone: asked for with others, a thing is closed and loaded again. So nothing has to be told to
forget what it loaded, and two models are never in memory at once because one of them was about to be replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pipeline.contracts import Embedder, Index, Model, Ranker
from pipeline.models.settings import EngineSettings

T = TypeVar("T")


class Slot(Generic[T]):
    """Room for one thing at a time."""

    def __init__(self) -> None:
        self._settings: object = None
        self._value: T | None = None

    def get(self, settings: object, load: Callable[[], T]) -> T:
        """What was loaded with equal settings; else what is there is closed, and `load` is called."""
        if self._value is None or settings != self._settings:
            self.close()
            self._value, self._settings = load(), settings
        return self._value

    def put(self, settings: object, value: T) -> None:
        """Keeps a value for these settings in the place of what `load` would give. What was there is not closed."""
        self._value, self._settings = value, settings

    def peek(self) -> T | None:
        """What is loaded, whatever its settings."""
        return self._value

    def drop_if(self, is_stale: Callable[[T], bool]) -> None:
        """Closes what is loaded where it is stale, so that `get` loads it again."""
        if self._value is not None and is_stale(self._value):
            self.close()

    def close(self) -> None:
        value, self._value = self._value, None
        if value is not None and hasattr(value, "close"):
            value.close()


@dataclass
class Resources:
    """Everything that was loaded. `models` are those beside the reader."""

    reader: Slot[Model] = field(default_factory=Slot)
    embedder: Slot[Embedder] = field(default_factory=Slot)
    index: Slot[Index] = field(default_factory=Slot)
    models: dict[EngineSettings, Model] = field(default_factory=dict)
    rankers: dict[Hashable, Ranker] = field(default_factory=dict)

    def close(self) -> None:
        self.reader.close()
        while self.models:
            self.models.popitem()[1].close()
        while self.rankers:
            self.rankers.popitem()[1].close()
        self.index.close()
