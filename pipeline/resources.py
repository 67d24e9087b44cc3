"""The resources that pipelines share while settings change: reader, embedder and index, each keyed by its settings.

A request with other settings closes the old resource first and loads a new one. So no cache has to be invalidated, and
a model that is about to be replaced never shares the memory with its successor.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pipeline.contracts import Embedder, Index, Model, Ranker
from pipeline.models.settings import EngineSettings

T = TypeVar("T")


class Slot(Generic[T]):
    """Holds at most one resource."""

    def __init__(self) -> None:
        self._settings: object = None
        self._value: T | None = None

    def get(self, settings: object, load: Callable[[], T]) -> T:
        """Returns the resource if its settings are equal; otherwise closes it and calls `load`."""
        if self._value is None or settings != self._settings:
            self.close()
            self._value, self._settings = load(), settings
        return self._value

    def put(self, settings: object, value: T) -> None:
        """Stores a resource for these settings, instead of loading one. The old one is not closed."""
        self._value, self._settings = value, settings

    def peek(self) -> T | None:
        """Returns the loaded resource, whatever its settings."""
        return self._value

    def drop_if(self, is_stale: Callable[[T], bool]) -> None:
        """Closes the resource if it is stale, so that `get` loads it again."""
        if self._value is not None and is_stale(self._value):
            self.close()

    def close(self) -> None:
        value, self._value = self._value, None
        if value is not None and hasattr(value, "close"):
            value.close()


@dataclass
class Resources:
    """All loaded resources. `models` are models other than the reader."""

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
