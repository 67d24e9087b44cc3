"""Checks a scope against an index before it is searched: only its manifest is opened, without vectors and embedder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.retrieval.generations import MANIFEST
from pipeline.retrieval.manifest import READABLE, Manifest
from pipeline.retrieval.metadata import Metadata
from pipeline.retrieval.scope import Scope, check_scope
from pipeline.retrieval.store_errors import translate_errors


def check_index_scope(folder: Path, scope: Scope | None) -> None:
    """Raises DataError, with what there is, where a scope leaves nothing of the generation of an index in a folder."""
    if scope is None:
        return
    with translate_errors(folder):
        manifest = Manifest(folder / MANIFEST)
        try:
            settings = manifest.settings()
            if settings is not None and settings.format in READABLE:  # else opening the index says what is wrong
                check_scope(_Listed(manifest), scope)
        finally:
            manifest.close()


@dataclass(frozen=True)
class _Listed:
    """An index as its manifest lists it."""

    manifest: Manifest

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(self.manifest.sources())

    @property
    def n_chunks(self) -> int:
        return self.manifest.n_chunks

    @property
    def counts(self) -> dict[str, int]:
        return self.manifest.counts()

    @property
    def metadata(self) -> dict[str, Metadata]:
        return self.manifest.metadata()

    def pages(self, source: str) -> tuple[int, ...]:
        return self.manifest.pages(source)
