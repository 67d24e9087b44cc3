"""The base of compressors that wrap another one."""

from __future__ import annotations

from compressors.alone import WorksAlone
from pipeline.contracts import Compressor, Explains, NeedsEmbedder
from pipeline.registry import Inner


class Wrapper(WorksAlone):
    """A compressor around the one in its field `of`, with the same `needs_embedder`."""

    of: Inner

    @property
    def needs_embedder(self) -> bool:
        return needs_embedder(self.of)

    @property
    def why_not_kept(self) -> str:
        """The inner compressor's reason for what it drops."""
        return why_dropped(self.of)

    @property
    def why_dropped(self) -> str:
        return self.why_not_kept


def needs_embedder(compressor: Compressor) -> bool:
    return isinstance(compressor, NeedsEmbedder) and compressor.needs_embedder


def why_dropped(compressor: Compressor) -> str:
    """A compressor's reason for what it drops; a general one if it gives none."""
    return compressor.why_dropped if isinstance(compressor, Explains) else "not kept"
