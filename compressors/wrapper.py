"""The base of compressors that wrap another one."""

from __future__ import annotations

from functools import cached_property

from pipeline.config import needs
from pipeline.contracts import Compressor
from pipeline.registry import Inner


class Wrapper:
    """A compressor around the one that its field `of` names.

    The inner compressor is built on first use. The wrapper has the same `needs`.
    """

    of: Inner

    @cached_property
    def compressor(self) -> Compressor:
        """The inner compressor."""
        inner: Compressor = self.of.build()
        return inner

    @property
    def needs(self) -> frozenset[str]:
        return needs(self.compressor)

    @property
    def why_not_kept(self) -> str:
        """The inner compressor's reason for what it drops."""
        return str(getattr(self.compressor, "why_dropped", "not kept"))

    @property
    def why_dropped(self) -> str:
        return self.why_not_kept
