"""Cards: what was measured or fitted of a model, as JSON files that are validated when they are read.

A card is a frozen dataclass. Calibrations, effective windows, trials, tuned files, classifiers and trained weights are
cards. Most have a `key`, the hash of the model's file that they belong to (pipeline/models/identity.py), so that a
file's name and place do not matter.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from pipeline.errors import ModelError
from pipeline.storage.files import write_json

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")
_N_FAULTS = 3


@dataclass(frozen=True)
class Cards(Generic[T]):
    """The cards of one kind.

    :param kind: their dataclass.
    :param what: names such a card in messages: `a calibration`.
    :param remedy: what helps against a damaged one: `delete it and calibrate again`.
    """

    kind: type[T]
    what: str
    remedy: str

    def read(self, path: Path) -> T:
        """Reads a card. Raises ModelError with the faults and the remedy for a missing, damaged or foreign file."""
        data = self._bytes(path)
        from pydantic import ValidationError

        try:
            return self._adapter.validate_json(data, strict=True, extra="forbid")
        except ValidationError as error:
            raise ModelError(f"{path} is not {self.what} of this version: {_faults(error)}; {self.remedy}") from None

    def find(
        self, key: str, paths: Iterable[Path], is_usable: Callable[[dict[str, object]], bool] = lambda value: True
    ) -> T | None:
        """Reads the first card that belongs to this key; None if there is none.

        Paths without a file, and cards whose JSON is not usable, are passed over. Only the card that is returned is
        validated. Raises ModelError like `read`.
        """
        for path in paths:
            if path.is_file() and self._value(path).get("key") == key and is_usable(self._value(path)):
                return self.read(path)
        return None

    @cached_property
    def _adapter(self) -> TypeAdapter[T]:
        from pydantic import TypeAdapter

        return TypeAdapter(self.kind)

    def _value(self, path: Path) -> dict[str, object]:
        try:
            stat = path.stat()
            value = _json(path, stat.st_size, stat.st_mtime_ns, stat.st_ino)
        except (OSError, ValueError, RecursionError) as error:
            raise ModelError(f"{path} cannot be read as {self.what}: {error}; {self.remedy}") from None
        if not isinstance(value, dict) or not isinstance(value.get("key"), str):
            raise ModelError(f"{path} is not {self.what}: it has no key; {self.remedy}")
        return value

    def _bytes(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise ModelError(f"{path} cannot be read: {error.strerror or error}; {self.remedy}") from None


def write_card(path: Path, card: DataclassInstance) -> Path:
    """Writes a card, completely or not at all, and creates its folder; returns the file. Raises ModelError."""
    write_json(path, asdict(card))
    return path


@lru_cache(256)
def _json(path: Path, *stamps: int) -> object:
    """The value in a file. Cards are looked up for each question, and most of them belong to other models."""
    value: object = json.loads(path.read_text("utf-8"))
    return value


def _faults(error: ValidationError) -> str:
    faults = [f"{'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg']}" for fault in error.errors()]
    more = f"; and {len(faults) - _N_FAULTS} more" if len(faults) > _N_FAULTS else ""
    return "; ".join(faults[:_N_FAULTS]) + more
