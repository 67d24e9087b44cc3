"""JSON objects with a checksum, which reveals changed bytes when they are read.

The checksum covers the values: the same object in another layout still agrees.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CHECKSUM = "checksum"


def with_checksum(value: Mapping[str, object]) -> dict[str, object]:
    """The object with its checksum as the last member."""
    members = json.loads(json.dumps({name: member for name, member in value.items() if name != CHECKSUM}))
    return {**members, CHECKSUM: _checksum(members)}


def parse_object(data: bytes | str, needs_checksum: bool = False) -> dict[str, object]:
    """The object in `data`, without its checksum.

    Raises ValueError for anything but one JSON object, and for a checksum that does not agree. An object without a
    checksum passes unless `needs_checksum`: files of older versions have none.
    """
    try:
        value = json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("it must hold one JSON object")
    checksum = value.pop(CHECKSUM, None)
    if checksum is None and not needs_checksum:
        return value
    if checksum != _checksum(value):
        raise ValueError("its checksum does not agree: a part of it was changed")
    return value


def read_object(path: Path, needs_checksum: bool = False) -> dict[str, Any]:
    """The object in a file. Raises OSError, and ValueError as `parse_object` does."""
    return parse_object(path.read_bytes(), needs_checksum)


def _checksum(members: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(members, sort_keys=True).encode()).hexdigest()[:16]
