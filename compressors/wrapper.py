"""What the compressors around another one have in common."""

from __future__ import annotations

from functools import cached_property

from pipeline.config import needs
from pipeline.contracts import Compressor
from pipeline.registry import Inner


class Wrapper:
    """A compressor whose field `of` names the one inside: that one is built when first asked for, and what it needs is
    needed.
    """

    of: Inner

    @cached_property
    def compressor(self) -> Compressor:
        """The one inside."""
        found: Compressor = self.of.build()
        return found

    @property
    def needs(self) -> frozenset[str]:
        return needs(self.compressor)

    @property
    def why_not_kept(self) -> str:
        """What the one inside says of what it dropped."""
        return str(getattr(self.compressor, "why_dropped", "not kept"))

    @property
    def why_dropped(self) -> str:
        return self.why_not_kept
