"""Random draws that are the same on every machine and version: SHA-256 in counter mode.

Python promises stable results only for `random.random`, and numpy for no distribution. Not for secrets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar
from uuid import UUID

T = TypeVar("T")


class Draws:
    """A random stream, decided by a seed and a label. Different labels give independent streams."""

    def __init__(self, seed: int, label: str = "") -> None:
        self._key = f"longthread needles {label} {seed} ".encode()
        self._block = 0
        self._bits = 0
        self._n_bits = 0

    def bits(self, n: int) -> int:
        """A uniform number in [0, 2^n)."""
        while self._n_bits < n:
            digest = hashlib.sha256(self._key + str(self._block).encode()).digest()
            self._bits |= int.from_bytes(digest, "big") << self._n_bits
            self._n_bits += 256
            self._block += 1
        value = self._bits & ((1 << n) - 1)
        self._bits >>= n
        self._n_bits -= n
        return value

    def below(self, n: int) -> int:
        """A uniform number in [0, n)."""
        if n < 1:
            raise ValueError(f"n must be at least 1, was: {n}")
        while True:  # rejection sampling: a remainder would favour small numbers
            value = self.bits((n - 1).bit_length())
            if value < n:
                return value

    def choice(self, items: Sequence[T]) -> T:
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """The items in random order (Fisher and Yates)."""
        result = list(items)
        for n in range(len(result) - 1, 0, -1):
            other = self.below(n + 1)
            result[n], result[other] = result[other], result[n]
        return result

    def sample(self, items: Sequence[T], n: int) -> list[T]:
        """`n` different items in random order."""
        if not 0 <= n <= len(items):
            raise ValueError(f"n must be in [0, {len(items)}], was: {n}")
        return self.shuffled(items)[:n]

    def uuid(self) -> str:
        """A random UUID (version 4): 36 characters."""
        return str(UUID(int=self.bits(128), version=4))
